"""Backbones, one family a file, and the one dict that names them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from tl_jax.backbones import convnext, dinov2, resnet, vit

FAMILIES: dict[str, ModuleType] = {
    "resnet": resnet,
    "vit": vit,
    "deit": vit,
    "dinov2": dinov2,
    "dinov2_with_registers": dinov2,
    "convnext": convnext,
}
"""The module of each ``model_type`` of a Hugging Face ``config.json``."""


def family(config: Mapping[str, Any]) -> ModuleType:
    """The module that builds what a Hugging Face config describes.

    Raises:
      ValueError: naming the known families, and the nearest.
    """
    known = ", ".join(FAMILIES)
    name = config.get("model_type")
    if not isinstance(name, str) or not name:
        raise ValueError(f"the model's config has no 'model_type'; it must be one of {known}")
    if name not in FAMILIES:
        near = difflib.get_close_matches(name, FAMILIES, n=1, cutoff=0.0)[0]
        raise ValueError(f"model_type={name!r} is unknown; the nearest of {known} is {near!r}")
    return FAMILIES[name]
