"""A folder's weights as numpy arrays under the names that PyTorch would give them.

Norms that a checkpoint of 2018 calls ``LayerNorm.gamma`` and ``.beta`` are ``.weight`` and ``.bias``, as in
transformers. Reads ``model.safetensors``, shards with an index, or ``flax_model.msgpack``, the first that is
there. Half-precision arrays become float32. Nothing here can run code from a file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tl_jax.pretrained.errors import PretrainedError, listed

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
SAFETENSORS = "model.safetensors"
INDEX = "model.safetensors.index.json"
MSGPACK = "flax_model.msgpack"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5")

Arrays = dict[str, np.ndarray]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that must hold one object.

    Raises:
      PretrainedError: if it is missing or malformed.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PretrainedError(
            f"there is no {path.name} in {path.parent}, where a model must have one"
        ) from None
    except ValueError as error:
        raise PretrainedError(f"{path} is not valid JSON (cut short?): {error}") from error
    if not isinstance(value, Mapping):
        raise PretrainedError(f"{path} must hold one JSON object, not a {type(value).__name__}")
    return dict(value)


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the folder's weights, all present; empty if it has none in a safe format."""
    if (folder / SAFETENSORS).is_file():
        return [folder / SAFETENSORS]
    if (folder / INDEX).is_file():
        names = shards(folder / INDEX)
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise listed(
                f"{folder / INDEX} names {len(names)} shards, of which {len(missing)} are missing:",
                missing,
                "Download or copy them again, beside the index.",
            )
        return [folder / name for name in names]
    return [folder / MSGPACK] if (folder / MSGPACK).is_file() else []


def read(folder: Path) -> Arrays:
    """All arrays of a folder, by their PyTorch names; float16, bfloat16 and float64 become float32.

    Raises:
      PretrainedError: listing every file that is truncated or corrupt, and every array that the index
        names and its shard lacks.
    """
    files = weight_files(folder)
    arrays: Arrays = {}
    problems: list[str] = []
    for path in files:
        try:
            if path.name == MSGPACK:
                from tl_jax.pretrained.msgpack import read_msgpack

                arrays.update(read_msgpack(path))
            else:
                arrays.update(_read_safetensors(path))
        except PretrainedError as error:
            problems.append(str(error))
    if not problems and not (folder / SAFETENSORS).is_file() and (folder / INDEX).is_file():
        promised = read_json(folder / INDEX)["weight_map"]
        problems = [
            f"array {name!r} is not in {shard}" for name, shard in promised.items() if name not in arrays
        ]
    if problems:
        raise listed(
            f"the weights in {folder} cannot be read:", problems, "Download or copy these files again."
        )
    return {_renamed(name): array for name, array in arrays.items()}


def _renamed(name: str) -> str:
    for old, new in (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")):
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def shards(index: Path) -> list[str]:
    """The shard files that an index names, sorted.

    Raises:
      PretrainedError: if it is malformed, or names a file outside its folder.
    """
    names = read_json(index).get("weight_map")
    if (
        not isinstance(names, Mapping)
        or not names
        or not all(isinstance(name, str) for name in names.values())
    ):
        raise PretrainedError(f"{index} has no 'weight_map' from array names to shard files")
    if outside := sorted({name for name in names.values() if os.path.basename(name) != name}):
        raise PretrainedError(f"{index} names files outside its folder, which are not read: {outside}")
    if unsafe := sorted({name for name in names.values() if not name.endswith(".safetensors")}):
        raise PretrainedError(f"{index} names shards that are not safetensors, which are not read: {unsafe}")
    return sorted(set(names.values()))


def to_float32(array: np.ndarray) -> np.ndarray:
    """Floating-point arrays of any width as float32; all else as it is."""
    import ml_dtypes  # gives numpy bfloat16 and the float8 kinds

    if array.dtype == np.float32 or not (
        np.issubdtype(array.dtype, np.floating) or array.dtype == ml_dtypes.bfloat16
    ):
        return array
    return array.astype(np.float32)


def _read_safetensors(path: Path) -> Arrays:
    import ml_dtypes  # noqa: F401  # registers bfloat16 with numpy, before safetensors asks for it
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            return {name: to_float32(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        size = path.stat().st_size if path.exists() else 0
        if 0 < size < 1000 and path.read_bytes().startswith(b"version https://git-lfs"):
            text = "is a pointer of git-lfs and not the file itself: fetch it with git lfs pull"
            raise PretrainedError(f"{path.name} {text}") from error
        raise PretrainedError(f"{path.name} ({size:,} bytes) is truncated or corrupt: {error}") from error
