"""Backbones, one family a file, and the one dict that names them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from flax import nnx

from tl_jax.backbones import (
    bert,
    convnext,
    dinov2,
    distilbert,
    gpt2,
    heads,
    hf_config,
    inception,
    necks,
    resnet,
    vgg,
    vit,
)
from tl_jax.backbones.anatomy import Backbone
from tl_jax.pretrained.rules import Ignore, Rule

FAMILIES: dict[str, ModuleType] = {
    "resnet": resnet,
    "vit": vit,
    "deit": vit,
    "dinov2": dinov2,
    "dinov2_with_registers": dinov2,
    "convnext": convnext,
    "vgg": vgg,
    "inception_v3": inception,
    "bert": bert,
    "roberta": bert,
    "xlm-roberta": bert,
    "camembert": bert,
    "distilbert": distilbert,
    "gpt2": gpt2,
}
"""The module of each ``model_type`` of a Hugging Face ``config.json``."""

TIMM: tuple[ModuleType, ...] = (vgg, inception)
"""Families in timm's layout, whose ``config.json`` names an ``architecture``: one of their ``sizes``."""


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


def reads_text(config: Mapping[str, Any]) -> bool:
    """Whether what a Hugging Face config describes reads texts, and not pictures. Raises as `family`."""
    return getattr(family(config), "READS_TEXT", False)


def writes(config: Mapping[str, Any]) -> bool:
    """Whether it can be a language model, by ``pooling="each"``. Raises as `family`."""
    return getattr(family(config), "WRITES", False)


def build(
    config: Mapping[str, Any],
    *,
    outputs: int | None = None,
    dropout: float = 0.0,
    rngs: nnx.Rngs,
    **options: Any,
) -> Backbone:
    """What the config's family builds, under the head that the config describes (`tl_jax.backbones.heads`).

    ``outputs``: of the head, if not as many as the config has labels; ``dropout``: probability, before the
    head; ``options``: further ones of the family's ``build``.

    Raises:
      ValueError: if nobody knows the family, or something in the config cannot be built.
    """
    module = family(config)
    allowed = getattr(module, "NECKS", ())
    if (neck := config.get(necks.NECK)) is not None and neck not in allowed:
        choice = (
            f"one of {', '.join(map(repr, allowed))}" if allowed else "none, as its neck cannot be chosen"
        )
        raise hf_config.ConfigError(config["model_type"], [f"{necks.NECK}={neck!r} must be {choice}"])
    model = module.build(config, outputs=outputs, dropout=dropout, rngs=rngs, **options)
    if facts := config.get(heads.HEAD):
        if model.spec.sequence:
            raise hf_config.ConfigError(
                "head", ["the head of a language model is its own: model.head.name='' or 'linear'"]
            )
        count = hf_config.outputs(config) if outputs is None else outputs
        model.head = heads.build(facts, model.spec.features, count, dropout=dropout, rngs=rngs)
    return model


def table(config: Mapping[str, Any]) -> tuple[Rule | Ignore, ...]:
    """How the arrays of a checkpoint become the leaves of what `build` builds."""
    return heads.over(family(config).table(config), config)
