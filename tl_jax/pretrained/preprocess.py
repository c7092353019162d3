"""How pictures were prepared when the weights were made, read from a folder and written to one.

``preprocessor_config.json`` has changed its form over the years; this reads all of them, and timm's
``pretrained_cfg``, into the facts of `Preprocess`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tl_jax.backbones.anatomy import Preprocess
from tl_jax.pretrained import timm
from tl_jax.pretrained.errors import PretrainedError
from tl_jax.pretrained.files import PREPROCESSOR, read_json

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_FIT = "tl_jax_fit"
_SIZES = ("size", "crop_size")
_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL.Image.Resampling
_DEFAULTS = {  # processor → mean and std, resample: what transformers assumes where the file is silent
    "vit": (_HALF, 2),
    "deit": (_HALF, 3),
    "convnext": (_IMAGENET, 2),
    "bit": (_IMAGENET, 3),
}


def read_preprocess(
    folder: Path, config: Mapping[str, Any], *, fixed_size: bool = True
) -> tuple[Preprocess, tuple[str, ...]]:
    """The folder's preprocessing, and notes on what it did not say.

    Args:
      folder: a local folder in Hugging Face layout.
      config: its ``config.json``, which may have an ``image_size``.
      fixed_size: whether the network takes pictures of that size alone, which then comes before the size
        that the file says; else it counts where the file says none.

    Raises:
      PretrainedError: if ``preprocessor_config.json`` is malformed.
    """
    notes: list[str] = []
    sized = False
    if (folder / PREPROCESSOR).is_file():
        where, facts = str(folder / PREPROCESSOR), read_json(folder / PREPROCESSOR)
        preprocess, sized = from_processor(facts, notes, where), not facts.keys().isdisjoint(_SIZES)
    elif isinstance(facts := config.get("pretrained_cfg"), Mapping):
        preprocess, sized = timm.from_timm(facts), "input_size" in facts
    else:
        preprocess = Preprocess()
        notes.append(
            f"no {PREPROCESSOR}: ImageNet's mean and std are assumed; the keys preprocess.mean and "
            "preprocess.std say otherwise"
        )
    return resized(preprocess, None if sized and not fixed_size else config.get("image_size")), tuple(notes)


def resized(preprocess: Preprocess, size: Any) -> Preprocess:
    """The same for pictures of another size: a number of pixels, (height, width), or None for no change."""
    return preprocess if size is None else dataclasses.replace(preprocess, size=_pair(size))


def fit_channels(preprocess: Preprocess, channels: int) -> Preprocess:
    """The same with one mean and std a channel: a single number is repeated, several are averaged into one.

    Raises:
      PretrainedError: if there are neither one nor ``channels`` numbers, nor is one channel wanted.
    """

    def fitted(values: tuple[float, ...]) -> tuple[float, ...]:
        if len(values) == channels:
            return values
        if channels == 1:
            return (sum(values) / len(values),) if len(set(values)) > 1 else values[:1]
        if len(values) == 1:
            return values * channels
        raise PretrainedError(f"mean and std have {len(values)} numbers, the network {channels} channels")

    return dataclasses.replace(preprocess, mean=fitted(preprocess.mean), std=fitted(preprocess.std))


def from_processor(facts: Mapping[str, Any], notes: list[str], where: str = PREPROCESSOR) -> Preprocess:
    """A ``preprocessor_config.json`` as `Preprocess`; what is silent or unusual is added to ``notes``."""
    kind = str(facts.get("image_processor_type") or facts.get("feature_extractor_type") or "")
    family = next((name for name in _DEFAULTS if kind.lower().startswith(name)), "convnext")
    (mean, std), resample = _DEFAULTS[family]
    if kind.lower().startswith("convnext"):
        facts = {"crop_pct": 224 / 256, **facts}
    try:
        size, crop = _size(facts, convnext=family == "convnext")
        mean, std = _normalisation(facts, mean, std)
        resample = facts.get("resample", resample)
        if resample not in _RESAMPLE:
            notes.append(f"{where}: resample={resample!r} is not supported; bilinear is used")
        squares = facts.get("do_center_crop") and "crop_size" in facts and crop == 1.0
        fit = "crop" if squares else str(facts.get(_FIT, "squash"))
        return Preprocess(size, mean, std, _RESAMPLE.get(resample, "bilinear"), crop, fit)
    except (TypeError, ValueError, ZeroDivisionError, KeyError) as error:
        raise PretrainedError(f"{where} cannot be understood: {error!r}") from error


def to_processor(preprocess: Preprocess) -> dict[str, Any]:
    """The ``preprocessor_config.json`` that says the same, for transformers and for `from_processor`.

    Without a crop that is a ViTImageProcessor (resize to the size, whatever the shape); with one, a
    BitImageProcessor (resize the short side, keep the centre). Of padding no processor knows: it is noted
    under a key of our own, and transformers will squash.
    """
    height, width = preprocess.size
    exact = {"height": height, "width": width}
    if preprocess.crop == 1.0 and preprocess.fit != "crop":
        geometry = {"image_processor_type": "ViTImageProcessor", "do_resize": True, "size": exact}
        if preprocess.fit != "squash":
            geometry[_FIT] = preprocess.fit
    else:
        geometry = {
            "image_processor_type": "BitImageProcessor",
            "do_resize": True,
            "size": {"shortest_edge": round(min(height, width) / preprocess.crop)},
            "do_center_crop": True,
            "crop_size": exact,
            "crop_pct": preprocess.crop,
        }
    return {
        **geometry,
        "resample": next(number for number, name in _RESAMPLE.items() if name == preprocess.resample),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
    }


def _size(facts: Mapping[str, Any], *, convnext: bool) -> tuple[tuple[int, int], float]:
    """What the network sees, in pixels, and the share of the resized picture that the crop kept."""
    edge = _pair(facts.get("size", facts.get("crop_size", 224)))
    crops = facts.get("do_center_crop", "crop_size" in facts and "crop_pct" not in facts)
    if crops and "crop_size" in facts:
        size = _pair(facts["crop_size"])
        return size, float(facts.get("crop_pct") or min(1.0, min(size) / min(edge)))
    crop = facts.get("crop_pct")
    if convnext and edge[0] >= 384:  # ConvNextImageProcessor squashes large pictures, and crops small ones
        crop = None
    return edge, float(crop or 1.0)


def _normalisation(
    facts: Mapping[str, Any], mean: Any, std: Any
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of values in 0…1, whatever range the file's own processor works in."""
    mean, std = _numbers(facts.get("image_mean", mean)), _numbers(facts.get("image_std", std))
    if not facts.get("do_normalize", True):
        mean, std = (0.0,) * len(mean), (1.0,) * len(std)
    factor = facts.get("rescale_factor", 1 / 255) if facts.get("do_rescale", True) else 1.0
    top = 255 * float(factor)  # what white becomes before the mean is taken off
    if abs(top - 1) > 1e-6:
        mean, std = tuple(m / top for m in mean), tuple(s / top for s in std)
    if len(mean) != len(std) or min(std) <= 0:
        raise ValueError(f"image_mean={mean} and image_std={std} do not go together")
    return mean, std


def _pair(size: Any) -> tuple[int, int]:
    """(height, width) in pixels of any of the forms in use."""
    if isinstance(size, Mapping):
        if "height" in size:
            return int(size["height"]), int(size["width"])
        if "shortest_edge" in size:
            return int(size["shortest_edge"]), int(size["shortest_edge"])
        raise ValueError(f"size {dict(size)} names neither height and width nor shortest_edge")
    if isinstance(size, int | float):
        return int(size), int(size)
    height, width = size
    return int(height), int(width)


def _numbers(values: Any) -> tuple[float, ...]:
    return (float(values),) if isinstance(values, int | float) else tuple(float(value) for value in values)
