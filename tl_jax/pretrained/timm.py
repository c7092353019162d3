"""timm's ``config.json``, read as Hugging Face's, and written so that timm reads an exported network.

timm names a network by its ``architecture``, such as ``"vgg16_bn"``, where other configs have a
``model_type`` and sizes. Here it is a named size of a family in `tl_jax.backbones.TIMM`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tl_jax import backbones
from tl_jax.backbones import heads
from tl_jax.backbones.anatomy import Preprocess, Spec

ARCHITECTURE = "architecture"
_PREPROCESS = "pretrained_cfg"


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with ``model_type``, sizes, channels and labels where it is timm's; any other as it is.

    Raises:
      ValueError: if the architecture is none that is read in timm's layout, naming those that are.
    """
    name = config.get(ARCHITECTURE)
    if config.get("model_type") or name is None:
        return dict(config)
    known = {size: facts for family in backbones.TIMM for size, facts in family.sizes.items()}
    if name not in known:
        raise ValueError(
            f"timm's layout is read of {', '.join(known)}, not of architecture {name!r}: look for the same "
            "weights in the layout of transformers"
        )
    source = config.get(_PREPROCESS) or {}
    found: dict[str, Any] = {**known[name], ARCHITECTURE: name, _PREPROCESS: source}
    if shape := source.get("input_size"):
        found["num_channels"] = shape[0]
    if names := config.get("label_names") or source.get("label_names"):
        numbered = names if isinstance(names, Mapping) else dict(enumerate(names))
        found["id2label"] = {str(number): str(text) for number, text in numbered.items()}
    else:
        found["num_labels"] = config.get("num_classes", source.get("num_classes"))
    return found


def written(spec: Spec, classes: Sequence[str]) -> dict[str, Any]:
    """Entries of a ``config.json`` by which timm knows the network; none where timm has none such."""
    if ARCHITECTURE not in spec.config or spec.config.get(heads.HEAD):
        return {}
    return {
        "num_classes": len(classes),
        "num_features": spec.features,
        "label_names": list(classes),
        _PREPROCESS: to_timm(spec.preprocess, spec.channels),
    }


def from_timm(facts: Mapping[str, Any]) -> Preprocess:
    """A ``pretrained_cfg`` as `Preprocess`."""
    height, width = tuple(facts.get("input_size", (3, 224, 224)))[1:]
    standard = Preprocess()
    return Preprocess(
        size=(int(height), int(width)),
        mean=tuple(map(float, facts.get("mean", standard.mean))),
        std=tuple(map(float, facts.get("std", standard.std))),
        resample=str(facts.get("interpolation", "bicubic")),
        crop=float(facts.get("crop_pct") or 1.0),
    )


def to_timm(preprocess: Preprocess, channels: int) -> dict[str, Any]:
    """The ``pretrained_cfg`` that says the same."""
    return {
        "input_size": [channels, *preprocess.size],
        "interpolation": preprocess.resample,
        "crop_pct": preprocess.crop,
        "crop_mode": "center" if preprocess.crop < 1 or preprocess.fit == "crop" else "squash",
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
    }
