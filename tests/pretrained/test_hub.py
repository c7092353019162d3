"""Names to folders, with the real hub client against a small server of the hub's protocol."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pretrained import folders, hub_server
from tl_jax import pretrained
from tl_jax.pretrained import PretrainedError, hub


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hub_server.Hub]:
    root = tmp_path_factory.mktemp("hub")
    main, other = folders.copy("vit", root / "main"), folders.copy("vit", root / "other")
    arrays = folders.arrays_of("vit")
    arrays["vit.layernorm.bias"] += 1
    folders.rewrite(other, arrays)
    sharded = folders.reshard(folders.copy("vit", root / "sharded"))
    (sharded / "preprocessor_config.json").unlink()
    flax = folders.to_flax_msgpack(folders.copy("resnet-basic", root / "flax"))
    pickled = folders.copy("vit", root / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    for name in ("modeling_own.py", "pytorch_model.bin", "tf_model.h5"):
        (main / name).write_bytes(b"never to be fetched")
    bare = root / "bare"
    bare.mkdir()
    (bare / "README.md").write_text("nothing")
    repos = {
        "lab/vit": {"main": main, "v2": other},
        "lab/sharded": {"main": sharded},
        "lab/flax": {"main": flax},
        "lab/pickled": {"main": pickled},
        "lab/bare": {"main": bare},
        "single": {"main": main},
    }
    with hub_server.running(repos) as running:
        yield running


@pytest.fixture(autouse=True)
def _endpoint(server: hub_server.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.requests.clear()
    server.broken.clear()


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def test_a_fresh_download_and_a_second_run_from_the_cache(server: hub_server.Hub, tmp_path: Path) -> None:
    expected, first = pretrained.load(folders.FIXTURES / "vit")
    model, report = pretrained.load("lab/vit", cache_dir=tmp_path)
    folders.assert_same(model, expected)
    assert report.identity == first.identity
    assert report.source == f"lab/vit@{server.commit('lab/vit', 'main')[:12]}"
    fetched = {key.removeprefix("GET ") for key in server.requests if key.startswith("GET ")}
    assert fetched == {"config.json", "preprocessor_config.json", "model.safetensors"}
    server.requests.clear()
    again, _ = pretrained.load("lab/vit", cache_dir=tmp_path)
    folders.assert_same(again, expected)
    assert not [key for key in server.requests if key.startswith("GET ")]


def test_a_folder_in_the_cache_keeps_its_name(server: hub_server.Hub, tmp_path: Path) -> None:
    facts = pretrained.inspect("lab/vit", cache_dir=tmp_path)
    _, report = pretrained.load(facts.folder)
    assert report.source == facts.source == f"lab/vit@{server.commit('lab/vit', 'main')[:12]}"


def test_an_id_without_an_owner(tmp_path: Path) -> None:
    assert hub.locate("single", cache_dir=tmp_path).folder.is_dir()


def test_revisions(server: hub_server.Hub, tmp_path: Path) -> None:
    _, first = pretrained.load("lab/vit@main", cache_dir=tmp_path)
    other, second = pretrained.load("lab/vit@v2", cache_dir=tmp_path)
    assert first.identity != second.identity
    commit = server.commit("lab/vit", "v2")
    same, third = pretrained.load(f"lab/vit@{commit}", cache_dir=tmp_path)
    folders.assert_same(other, same)
    assert third.source == second.source == f"lab/vit@{commit[:12]}"
    with pytest.raises(PretrainedError, match=r"lab/vit on http.*has no revision 'v3'"):
        pretrained.load("lab/vit@v3", cache_dir=tmp_path)


def test_offline_with_and_without_cache(server: hub_server.Hub, tmp_path: Path) -> None:
    with pytest.raises(PretrainedError, match=r"lab/vit: config\.json is not in .*offline is on"):
        pretrained.load("lab/vit", cache_dir=tmp_path, offline=True)
    online, _ = pretrained.load("lab/vit", cache_dir=tmp_path)
    server.requests.clear()
    offline, _ = pretrained.load("lab/vit", cache_dir=tmp_path, offline=True)
    folders.assert_same(offline, online)
    assert not server.requests
    with pytest.raises(PretrainedError, match=r"lab/vit@v2: config\.json is not in .*offline is on"):
        pretrained.load("lab/vit@v2", cache_dir=tmp_path, offline=True)


def test_offline_with_half_a_cache(tmp_path: Path) -> None:
    folder = hub.locate("lab/vit", cache_dir=tmp_path).folder
    (folder / "model.safetensors").unlink()
    with pytest.raises(PretrainedError, match="without its weights"):
        pretrained.load("lab/vit", cache_dir=tmp_path, offline=True)


@pytest.mark.parametrize("repo", ["lab/vit", "lab/sharded", "lab/flax"])
def test_without_a_network_the_cache_serves(repo: str, tmp_path: Path, monkeypatch, request) -> None:
    first, _ = pretrained.load(repo, cache_dir=tmp_path)
    request.getfixturevalue("unreachable")
    second, _ = pretrained.load(repo, cache_dir=tmp_path)
    folders.assert_same(first, second)


@pytest.mark.slow  # the client tries for twenty seconds
@pytest.mark.usefixtures("unreachable")
def test_without_a_network_or_cache(tmp_path: Path) -> None:
    with pytest.raises(PretrainedError, match=r"config\.json could not be fetched.*check the network"):
        pretrained.load("lab/vit", cache_dir=tmp_path)


def test_shards_and_their_index(server: hub_server.Hub, tmp_path: Path) -> None:
    expected, _ = pretrained.load(folders.FIXTURES / "vit")
    model, report = pretrained.load("lab/sharded", cache_dir=tmp_path)
    folders.assert_same(model, expected)
    assert any("no preprocessor_config.json" in note for note in report.notes)
    assert server.requests["GET model-00002-of-00003.safetensors"] == 1


def test_flax_weights(tmp_path: Path) -> None:
    expected, _ = pretrained.load(folders.FIXTURES / "resnet-basic")
    model, _ = pretrained.load("lab/flax", cache_dir=tmp_path)
    folders.assert_same(model, expected)


def test_unknown_repositories(server: hub_server.Hub, tmp_path: Path) -> None:
    with pytest.raises(
        PretrainedError, match=r"'lab/vitt' is neither a folder .* nor a public repository on"
    ):
        pretrained.load("lab/vitt", cache_dir=tmp_path)
    with pytest.raises(PretrainedError, match="neither a folder"):
        pretrained.load("lab/bad--name..git", cache_dir=tmp_path)


def test_repositories_of_no_use(server: hub_server.Hub, tmp_path: Path) -> None:
    with pytest.raises(
        PretrainedError, match=r"(?s)pytorch_model\.bin.*never read.*'lab/pickled'.*refs/pr/1"
    ):
        pretrained.load("lab/pickled", cache_dir=tmp_path)
    assert not server.requests["GET pytorch_model.bin"]
    with pytest.raises(PretrainedError, match=r"lab/bare on http.* has no config\.json"):
        pretrained.load("lab/bare", cache_dir=tmp_path)


def test_a_download_that_breaks_off_leaves_nothing_false(server: hub_server.Hub, tmp_path: Path) -> None:
    server.broken.add("model.safetensors")
    with pytest.raises(PretrainedError, match=r"(?s)model\.safetensors"):
        pretrained.load("lab/vit", cache_dir=tmp_path)
    server.broken.clear()
    model, _ = pretrained.load("lab/vit", cache_dir=tmp_path)
    folders.assert_same(model, pretrained.load(folders.FIXTURES / "vit")[0])


def test_the_environment_a_user_sets(server: hub_server.Hub, tmp_path: Path) -> None:
    """In a process of its own: HF_ENDPOINT, HF_HOME, then HF_HUB_OFFLINE."""
    code = "from tl_jax.pretrained import hub; print(hub.locate('lab/vit').folder)"
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_ENDPOINT": server.url}
    root = Path(__file__).resolve().parents[2]

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code], env=environment | more, cwd=root, capture_output=True, text=True
        )

    first = run()
    assert first.returncode == 0, first.stderr
    assert Path(first.stdout.strip()).is_relative_to(tmp_path)
    server.requests.clear()
    assert run(HF_HUB_OFFLINE="1").stdout == first.stdout
    assert not server.requests


def test_a_workdir_stands_for_its_model(tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    (workdir / "checkpoints").mkdir(parents=True)
    (workdir / "config.json").write_text("{}")  # a run's own, not a model's
    with pytest.raises(PretrainedError, match="has not finished: there is no model/"):
        pretrained.load(workdir)
    folders.copy("vit", workdir / "model")
    _, report = pretrained.load(workdir)
    assert report.source == str(workdir / "model")


def test_names_that_are_neither_folder_nor_hub_id(tmp_path: Path) -> None:
    with pytest.raises(PretrainedError, match="no such folder"):
        pretrained.load(tmp_path / "absent")
    with pytest.raises(PretrainedError, match="is a file: give the folder"):
        pretrained.load(folders.FIXTURES / "vit" / "model.safetensors")
    with pytest.raises(PretrainedError, match=r"no config\.json"):
        pretrained.load(tmp_path)
