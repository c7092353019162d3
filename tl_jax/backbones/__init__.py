"""Backbone families: one file each, found by the ``model_type`` of a Hugging Face config."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from tl_jax.backbones import resnet, vit

FAMILIES: dict[str, ModuleType] = {"resnet": resnet, "vit": vit, "deit": vit}
"""The one place to enter a new family."""


def family(config: Mapping[str, Any]) -> ModuleType:
    """The family of a config. Raises ValueError naming the known ones, and the nearest."""
    kind = config.get("model_type")
    if kind in FAMILIES:
        return FAMILIES[kind]
    near = difflib.get_close_matches(str(kind), FAMILIES, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"model_type={kind!r} is not known here; known: {', '.join(FAMILIES)}{hint}")
