"""What can be known of weights before they are read: enough to prepare the data for them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tl_jax import backbones
from tl_jax.backbones import heads
from tl_jax.backbones.anatomy import Preprocess
from tl_jax.pretrained import hub, timm
from tl_jax.pretrained.errors import PretrainedError
from tl_jax.pretrained.files import CONFIG, read_json, weight_files
from tl_jax.pretrained.preprocess import fit_channels, read_preprocess, resized


@dataclass(frozen=True)
class Facts:
    """``folder`` is None for a network from scratch; ``channels`` is what the stem was made for, which says
    nothing where the network reads texts."""

    folder: Path | None
    source: str
    config: Mapping[str, Any]
    preprocess: Preprocess
    channels: int
    notes: tuple[str, ...] = ()


def inspect(
    name_or_folder: str | os.PathLike[str],
    *,
    arch: Mapping[str, Any] | None = None,
    pooling: str = "",
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
) -> Facts:
    """Finds weights (downloading them if need be) and reads all but the weights.

    Args:
      name_or_folder: as `load` takes it; "" means a network from scratch.
      arch: the Hugging Face config of a network from scratch.
      pooling: in the place of the config's own.

    Raises:
      PretrainedError: if there is nothing of that name, or no weights, or an architecture nobody knows.
    """
    if not os.fspath(name_or_folder):
        return from_scratch(pooled(arch or {}, pooling))
    located = hub.locate(name_or_folder, cache_dir=cache_dir, offline=offline)
    config = pooled(_described(read_json(located.folder / CONFIG), str(located.folder / CONFIG)), pooling)
    if not weight_files(located.folder):
        raise hub.no_weights(str(located.folder), [path.name for path in located.folder.iterdir()])
    if backbones.reads_text(config):
        return Facts(located.folder, located.source, config, Preprocess(), 3)
    channels = _channels(config, str(located.folder / CONFIG))
    fixed_size = backbones.family(config).FIXED_SIZE
    preprocess, notes = read_preprocess(located.folder, config, fixed_size=fixed_size)
    try:
        preprocess = fit_channels(preprocess, channels)
    except PretrainedError as error:
        raise PretrainedError(f"{located.folder}: {error}") from None
    return Facts(located.folder, located.source, config, preprocess, channels, notes)


def pooled(config: Mapping[str, Any], pooling: str) -> dict[str, Any]:
    """The config of a network whose tokens become one vector in another way; "": in its own. With "each" it
    is a language model, which has no other head than its own."""
    if not pooling or not config:
        return dict(config)
    rest = {key: value for key, value in config.items() if (key, pooling) != (heads.HEAD, "each")}
    return {**rest, "pooling": pooling}


def from_scratch(arch: Mapping[str, Any]) -> Facts:
    """The facts of a config without weights: ImageNet's mean and std, averaged for one channel."""
    if not arch:
        known = ", ".join(backbones.FAMILIES)
        raise PretrainedError(
            "neither weights nor an architecture: set model.pretrained to a hub id or a folder, or "
            f"model.arch to a Hugging Face config, such as {{'model_type': 'resnet', …}} (known: {known})"
        )
    arch = _described(arch, "model.arch")
    channels = _channels(arch, "model.arch")
    preprocess = resized(Preprocess(), arch.get("image_size"))
    return Facts(None, "from scratch", arch, fit_channels(preprocess, channels), channels)


def _channels(config: Mapping[str, Any], where: str) -> int:
    given = config.get("num_channels", 3)
    if not isinstance(given, int) or given < 1:
        raise PretrainedError(f"{where}: num_channels={given!r} is no number of channels")
    return given


def _described(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The config with the ``model_type`` of a family that there is."""
    try:
        config = timm.read(config)
        backbones.family(config)
    except ValueError as error:
        raise PretrainedError(f"{where}: {error}") from error
    return config
