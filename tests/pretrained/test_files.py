"""Files that are damaged, incomplete, or of a kind that is not opened."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.pretrained import folders
from tl_jax import pretrained
from tl_jax.pretrained import PretrainedError, files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folders.copy("vit", tmp_path / "copy")


@pytest.mark.parametrize("keep", [0, 5, 200, 30_000])
def test_a_truncated_file_is_named(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        PretrainedError, match=rf"model\.safetensors \({keep:,} bytes\) is truncated or corrupt"
    ):
        pretrained.load(folder)


def test_garbage_is_named(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x80\x04" + b"x" * 400)
    with pytest.raises(PretrainedError, match=r"model\.safetensors.*corrupt"):
        pretrained.load(folder)


@pytest.mark.parametrize("keep", [0, 5, 2000, -1])
def test_a_truncated_msgpack_is_named(folder: Path, keep: int) -> None:
    path = folders.to_flax_msgpack(folder) / "flax_model.msgpack"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(PretrainedError, match=r"flax_model\.msgpack \(.* bytes\) is truncated or corrupt"):
        pretrained.load(folder)


def test_all_missing_shards_are_listed(folder: Path) -> None:
    folders.reshard(folder, 4)
    for part in (2, 4):
        (folder / f"model-{part:05}-of-00004.safetensors").unlink()
    with pytest.raises(PretrainedError) as error:
        pretrained.load(folder)
    assert "2 are missing" in str(error.value)
    assert "model-00002-of-00004.safetensors" in str(error.value)
    assert "model-00004-of-00004.safetensors" in str(error.value)


def test_all_damaged_shards_are_listed(folder: Path) -> None:
    folders.reshard(folder)
    for part in (1, 3):
        (folder / f"model-{part:05}-of-00003.safetensors").write_bytes(b"short")
    with pytest.raises(PretrainedError) as error:
        pretrained.load(folder)
    assert "model-00001-of-00003.safetensors (5 bytes)" in str(error.value)
    assert "model-00003-of-00003.safetensors (5 bytes)" in str(error.value)


def test_an_array_that_the_index_promises_must_be_there(folder: Path) -> None:
    folders.reshard(folder)
    index = folder / files.INDEX
    promised = json.loads(index.read_text())["weight_map"]
    folders.edit(index, weight_map={**promised, "vit.more": "model-00001-of-00003.safetensors"})
    with pytest.raises(PretrainedError, match=r"'vit\.more' is not in model-00001"):
        pretrained.load(folder)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": "../../secret.safetensors"}, "outside its folder"),
        ({"a": "/etc/x.safetensors"}, "outside its folder"),
        ({"a": "pytorch_model.bin"}, "not safetensors"),
        ({"a": 3}, "no 'weight_map'"),
        ({}, "no 'weight_map'"),
    ],
)
def test_an_index_may_name_shards_beside_it_only(folder: Path, weight_map: dict, message: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / files.INDEX).write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(PretrainedError, match=message):
        pretrained.load(folder)


def test_pickles_are_never_opened(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(PretrainedError, match=r"(?s)pytorch_model\.bin.*never read.*save_pretrained"):
        pretrained.load(folder)


def test_a_folder_without_weights_lists_what_it_has(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.gguf")
    with pytest.raises(PretrainedError, match=r"no weights.*config\.json, model\.gguf"):
        pretrained.load(folder)


@pytest.mark.parametrize("text", ["", '{"model_type": "vit"', "[1, 2]"])
def test_a_damaged_config_is_named(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(PretrainedError, match=r"config\.json"):
        pretrained.load(folder)


def test_quantised_arrays_are_refused(folder: Path) -> None:
    arrays = folders.arrays_of("vit")
    arrays["vit.layernorm.bias"] = np.zeros(16, np.int8)
    with pytest.raises(PretrainedError, match=r"vit\.layernorm\.bias.*int8"):
        pretrained.load(folders.rewrite(folder, arrays))


def test_one_file_comes_before_shards_and_msgpack(folder: Path) -> None:
    arrays = {"a": np.ones(3, np.float32)}
    (folder / files.INDEX).write_text("{}")
    (folder / files.MSGPACK).write_bytes(b"")
    save_file(arrays, folder / "model.safetensors")
    assert files.read(folder).keys() == arrays.keys()
