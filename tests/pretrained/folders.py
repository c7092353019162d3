"""Small Hugging Face folders for the tests, and comparing what was loaded from them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import serialization
from safetensors.numpy import load_file, save_file

from tl_jax.backbones.anatomy import Backbone, split

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
"""Folders that torch transformers wrote, with random weights."""


def copy(name: str, folder: Path) -> Path:
    """A fixture's folder to change at will, without its reference outputs."""
    shutil.copytree(FIXTURES / name, folder, ignore=shutil.ignore_patterns("*.npz"))
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    return folder


def arrays_of(name: str) -> dict[str, np.ndarray]:
    return load_file(FIXTURES / name / "model.safetensors")


def rewrite(folder: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Gives a folder other weights."""
    save_file(dict(arrays), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def edit(path: Path, **keys: Any) -> None:
    """Sets keys of a JSON file; None takes a key out."""
    value = json.loads(path.read_text())
    value.update(keys)
    path.write_text(json.dumps({key: item for key, item in value.items() if item is not None}))


def reshard(folder: Path, count: int = 3) -> Path:
    """Cuts a folder's weights into shards with an index, as transformers does."""
    arrays = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for part in range(count):
        name = f"model-{part + 1:05}-of-{count:05}.safetensors"
        names = sorted(arrays)[part::count]
        save_file({key: arrays[key] for key in names}, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names, name)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def to_flax_msgpack(folder: Path) -> Path:
    """Replaces a folder's weights by the ``flax_model.msgpack`` that transformers 4 wrote for them."""
    arrays = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    params: dict[str, Any] = {}
    statistics: dict[str, Any] = {}
    for name, array in arrays.items():
        *path, last = name.split(".")
        if last == "num_batches_tracked":
            continue
        tree, key = params, last
        if last in ("running_mean", "running_var"):
            tree, key = statistics, last.removeprefix("running_")
        elif last == "weight" and array.ndim == 1:
            key = "scale"
        elif last == "weight":
            key = "kernel"
            array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        for part in path:
            tree = tree.setdefault(part, {})
        tree[key] = np.ascontiguousarray(array)
    whole = {"params": params, "batch_stats": statistics} if statistics else params
    (folder / "flax_model.msgpack").write_bytes(serialization.msgpack_serialize(whole))
    return folder


def leaves(model: Backbone) -> dict[str, np.ndarray]:
    _, params, stats = split(model)
    return {path: np.asarray(leaf) for path, leaf in {**params, **stats}.items()}


def assert_same(first: Backbone, second: Backbone) -> None:
    """Two models agree in every bit of every leaf."""
    ours, theirs = leaves(first), leaves(second)
    assert ours.keys() == theirs.keys()
    different = [path for path in ours if not np.array_equal(ours[path], theirs[path])]
    assert not different
