"""``flax_model.msgpack`` of transformers 4 in PyTorch's names and layouts, so that one table serves both.

The Flax classes of transformers named their modules after the PyTorch ones, so what differs is the
same for every family: ``kernel`` (transposed), ``scale`` and ``embedding`` are ``weight``; ``mean``
and ``var`` are ``running_mean`` and ``running_var``; the items of a list may be ``layer_0`` for
``layer.0``. (transformers 4, ``modeling_flax_pytorch_utils.py``.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tl_jax.pretrained.errors import PretrainedError, listed
from tl_jax.pretrained.files import Arrays, to_float32

_COLLECTIONS = ("params", "batch_stats")
_NAMES = {
    "kernel": "weight",
    "scale": "weight",
    "embedding": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
_KERNEL_AXES = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}
_ITEM = re.compile(r"(layers?|blocks?|stages?)_(\d+)")


def read_msgpack(path: Path) -> Arrays:
    """The file's arrays, float32, under PyTorch's names and in its layouts.

    Raises:
      PretrainedError: if the file is truncated, corrupt, or holds something else than arrays.
    """
    import msgpack
    from flax.serialization import msgpack_restore

    try:
        tree = msgpack_restore(path.read_bytes())
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        size = path.stat().st_size
        raise PretrainedError(f"{path.name} ({size:,} bytes) is truncated or corrupt: {error!r}") from error
    if not isinstance(tree, Mapping):
        raise PretrainedError(f"{path.name} holds a {type(tree).__name__}, not a tree of parameters")
    return translate(tree)


def translate(tree: Mapping[str, Any]) -> Arrays:
    """A tree of Flax parameters (with or without its ``params`` and ``batch_stats``) as PyTorch arrays."""
    arrays: Arrays = {}
    problems: list[str] = []
    for keys, value in _walk(tree):
        if not isinstance(value, np.ndarray | np.generic):
            problems.append(f"{'/'.join(keys)} is a {type(value).__name__}, not an array")
            continue
        name = _name(keys)
        if name in arrays:
            problems.append(f"{'/'.join(keys)} would be a second {name!r}")
            continue
        array = to_float32(np.asarray(value))
        axes = _KERNEL_AXES.get(array.ndim) if keys[-1] == "kernel" else None
        arrays[name] = array.transpose(axes) if axes else array
    if problems:
        raise listed("the Flax parameters cannot be translated:", problems)
    return arrays


def _walk(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _walk(value, (*above, str(key)))
        else:
            yield (*above, str(key)), value


def _name(keys: tuple[str, ...]) -> str:
    """``("params", "resnet", …, "layer", "layer_0", "convolution", "kernel")`` → ``"resnet.….weight"``."""
    if keys[0] in _COLLECTIONS:
        keys = keys[1:]
    parts: list[str] = []
    for key in keys[:-1]:
        item = _ITEM.fullmatch(key)
        if item is None:
            parts.append(key)
        else:  # the list's own name is sometimes a module of its own, one step up
            parts += [item[2]] if parts[-1:] == [item[1]] else [item[1], item[2]]
    return ".".join([*parts, _NAMES.get(keys[-1], keys[-1])])
