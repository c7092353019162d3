"""Another neck or head over pretrained blocks: entries of a ``config.json`` in the place of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tl_jax.backbones import heads, necks
from tl_jax.backbones.anatomy import Spec
from tl_jax.pretrained import labels
from tl_jax.pretrained.facts import Facts


def entries(neck: str, head: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that `model.neck` and `model.head` of a config ask for; of what is to be the weights' own
    there is none, and None is for the linear head.

    ``neck``: "" or one of `necks.OF_A_MAP`; ``head``: as `heads.described` takes it, or with the name "".
    """
    found: dict[str, Any] = {necks.NECK: neck} if neck else {}
    if head["name"]:
        found[heads.HEAD] = heads.described(**head)
    return found


def wanted(
    found: Facts, top: Mapping[str, Any], num_classes: int | None, classes: Sequence[str] | None
) -> tuple[dict[str, Any], str]:
    """The config of the network with these classes over weights, and why its head is made anew ("" to keep
    the checkpoint's). Where it is and ``top`` does not name one, its kind stays but for the one sigmoid unit:
    what was made for two classes gets a unit a class.

    Raises:
      PretrainedError: if the two arguments contradict each other.
    """
    names, why = labels.wanted(found.config, num_classes, classes)
    own = found.config.get(heads.HEAD) or {}
    if why and found.folder is not None and own.get("output") == heads.SIGMOID:
        top = {heads.HEAD: {**own, "output": heads.SOFTMAX} if own.get("sizes") else None, **top}
    return put(top, labels.renamed(found.config, names)), why


def put(top: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with these entries; those that are None are taken out."""
    return {key: value for key, value in {**config, **top}.items() if key not in top or value is not None}


def are_said(*configs: Mapping[str, Any]) -> bool:
    """Whether there is such an entry in any of the configs."""
    return any(config.get(key) for config in configs for key in (necks.NECK, heads.HEAD))


def why_anew(own: Spec, wanted: Spec) -> str:
    """Why the head of the network ``own`` cannot stand in ``wanted``, "" where it can."""
    if own.config.get(heads.HEAD) != wanted.config.get(heads.HEAD):
        return "the checkpoint's head is another one (model.head)"
    if own.features != wanted.features:
        return f"the checkpoint's head reads {own.features} features, the neck gives {wanted.features}"
    return ""
