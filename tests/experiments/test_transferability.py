"""Kept blocks as a command, on a small network and real pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from experiments import transferability
from tests import tiny
from tests.commands import pictures
from tl_jax import pretrained
from tl_jax.completion import ConfigError
from tl_jax.config import complete
from tl_jax.freeze import plan
from tl_jax.lab import arms, network
from tl_jax.lab.grid import patched

STAGES = [dict(name="all", duration="4 steps", lr=1e-3, layer_decay=0.5)]


def made(root, arch):
    model, _ = pretrained.scratch(arch, num_classes=3)
    pretrained.export(model, root / "weights", classes=["x", "y", "z"])
    folder = tiny.make_folder(root / "pictures")
    return tiny.config(folder, stages=STAGES, model=dict(pretrained=str(root / "weights")), augment={})


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    return made(tmp_path_factory.mktemp("resnet"), tiny.ARCH)


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    return made(tmp_path_factory.mktemp("vit"), tiny.VIT)


def command(config, root, *flags):
    root.mkdir(exist_ok=True)
    file = pictures.write_config(root / "small.py", config)
    return transferability.main(["transferability", f"--config={file}", f"--workdir={root / 'out'}", *flags])


@pytest.mark.slow
def test_cuts_frozen_and_fine_tuned(resnet, tmp_path, capsys):
    assert command(resnet, tmp_path, "--seeds=1", "--cuts=2,1") == 0
    printed, root = capsys.readouterr().out, tmp_path / "out"
    found = json.loads((root / "transferability.json").read_text())
    assert found["verdict"] in printed
    assert "The published direction (Yosinski et al. 2014" in found["verdict"]
    assert [row["kept"] for row in found["tables"][0]] == ["nothing", "first 1", "first 2"]
    trained = {(row["kept"], row["how"]): row["trained"] for row in found["tables"][1]}
    assert (
        trained["nothing", "nothing"] == trained["first 1", "fine-tuned"] == trained["first 2", "fine-tuned"]
    )
    assert trained["first 2", "frozen"] < trained["first 1", "frozen"] < trained["nothing", "nothing"]
    assert (root / "transferability.png").stat().st_size > 10_000

    # What was kept and frozen is in the finished network to the bit, BatchNorm's statistics too.
    before = load_file(f"{resnet['model']['pretrained']}/model.safetensors")
    after = load_file(root / "keep-01-frozen-lr-0.001" / "seed-0" / "model" / "model.safetensors")
    same = {
        name
        for name, array in after.items()
        if before[name].shape == array.shape and (before[name] == array).all()
    }
    kept = {name for name in after if ".embedder." in name or "stages.0" in name}
    assert kept <= same
    moved = {name for name in after if "stages.1" in name and name.endswith(("weight", "running_mean"))}
    assert moved
    assert not moved & same


@pytest.mark.parametrize("name", ["resnet", "vit"])
def test_what_is_drawn_anew_trains_and_what_is_kept_does_not(name, request):
    config = complete(request.getfixturevalue(name))
    model, limit = network.outline(config), arms.budget(config, 24)
    n = len(model.blocks)
    found = transferability.variations(config, model, range(n + 1), [1e-3], limit)
    assert [one.facts["kept"] for one in found] == [-1, *np.repeat(range(n + 1), 2)]
    for one in found:
        (stage,) = patched(config, one.patch).stages
        labels = plan(model, stage).labels
        trained = {path for path in labels if labels[path] != "frozen"}
        cut = one.facts["kept"] if one.facts["how"] == "frozen" else -1
        assert trained == {path for path in labels if model.depth(path) > cut}
        assert stage.layer_decay == 1


def test_mistakes_are_told_at_once_and_before_anything_is_read(vit, tmp_path):
    with pytest.raises(ConfigError) as caught:
        command(vit, tmp_path, "--cuts=2,5,x", "--lrs=1e-3,0", "--budget=soon")
    assert [one.partition(":")[0] for one in caught.value.problems] == ["--budget", "--lrs", "--cuts"]
    assert "found 5, x; the network has 4 blocks: give numbers from 0 to 4, such as --cuts=0,2,4" in str(
        caught.value
    )
    with pytest.raises(ConfigError, match="there are no features to transfer"):
        command({**vit, "model": dict(arch=tiny.VIT)}, tmp_path)
    assert not (tmp_path / "out").exists()
