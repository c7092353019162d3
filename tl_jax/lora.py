"""LoRA: linear layers that stay as they are and learn a small update beside them.

Hu et al. 2021, arXiv:2106.09685. A kernel W of (in, out) becomes W + (alpha / rank) · A·B with A (in, rank)
drawn and B (rank, out) zero, so that a network begins as it was. The preset ``train="lora"`` trains A, B and
the head and nothing else; a checkpoint then holds no more than these. What a finished run leaves in
``model/`` is merged: the network's own layout, which needs no tl_jax.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

import jax
from flax import nnx

from tl_jax.backbones.anatomy import Backbone, Leaves
from tl_jax.backbones.product import Linear

A, B = "lora_a", "lora_b"
"""The names of an update's leaves, beside ``kernel``."""


def is_update(path: str) -> bool:
    """Whether a parameter is part of an update."""
    return path.rpartition("/")[2] in (A, B)


def add(model: Backbone, settings: Mapping[str, Any], *, seed: int = 0) -> None:
    """Adds updates to a model, in place, where ``settings`` (`tl_jax.defaults.lora`) say so; a rank of 0 adds
    none. What is drawn is a function of ``seed`` and the layer's path.

    Raises ValueError where ``settings["on"]`` matches no linear layer of the blocks.
    """
    if not settings["rank"]:
        return
    layers = {path: module for path, module in _paths(model).items() if re.fullmatch(settings["on"], path)}
    if not layers:
        known = list(_paths(model))
        if not known:
            raise ValueError("model.lora: the blocks of this network have no linear layers")
        near = difflib.get_close_matches(settings["on"], known, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"model.lora.on={settings['on']!r} matches no linear layer (the whole path must match); the "
            f"nearest is {near!r}"
        )
    key = jax.random.fold_in(jax.random.key(seed), _FOLD)
    for number, layer in enumerate(layers.values()):
        layer.adapt(settings["rank"], settings["alpha"] / settings["rank"], jax.random.fold_in(key, number))


def merged(model: Backbone, leaves: Leaves) -> Leaves:
    """Parameters (and statistics) by path with every update taken into its kernel: those of the network that
    has none."""
    found = {path: leaf for path, leaf in leaves.items() if not is_update(path)}
    for path, layer in _paths(model).items():
        if f"{path}/{A}" in leaves:
            update = leaves[f"{path}/{A}"] @ leaves[f"{path}/{B}"]
            kernel = leaves[f"{path}/kernel"]
            found[f"{path}/kernel"] = (kernel + layer.lora_scale * update).astype(kernel.dtype)
    return found


_FOLD = 0x10A  # apart from other uses of the seed


def _paths(model: Backbone) -> dict[str, Linear]:
    """The linear layers of the blocks, by path, in order."""
    return {
        "/".join(map(str, path)): module
        for path, module in nnx.iter_modules(model)
        if isinstance(module, Linear) and path[:1] == ("blocks",)
    }
