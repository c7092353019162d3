"""Pictures cut into patches: the projection, and the grid of a config's ``image_size`` and ``patch_size``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from tl_jax.backbones import hf_config, product


class Patches(nnx.Module):
    """Pictures (B, H, W, channels) → patches projected to a map (B, H // ph, W // pw, width).

    ``kernel`` (ph, pw, channels, width) is that of a convolution whose stride is its size, which is a
    reshape and a matrix product. Pixels beyond the last whole patch are left out.
    """

    def __init__(self, patch: tuple[int, int], channels: int, width: int, *, scale: float, rngs: nnx.Rngs):
        self.kernel = nnx.Param(hf_config.normal(scale)(rngs.params(), (*patch, channels, width)))
        self.bias = nnx.Param(jnp.zeros((width,)))

    def __call__(self, images: jax.Array) -> jax.Array:
        kernel = self.kernel[...]
        ph, pw, channels, width = kernel.shape
        h, w = images.shape[1] // ph, images.shape[2] // pw
        cells = images[:, : h * ph, : w * pw].reshape(-1, h, ph, w, pw, channels)
        cells = cells.transpose(0, 1, 3, 2, 4, 5).reshape(-1, h, w, ph * pw * channels)
        return product.times(cells, kernel.reshape(-1, width)) + self.bias[...].reshape(1, 1, 1, -1)


def grid(config: Mapping[str, Any]) -> tuple[int, int]:
    """Patches down and across."""
    (height, width), (ph, pw) = (hf_config.pair(config[name]) for name in ("image_size", "patch_size"))
    return height // ph, width // pw


def lost_edge(config: Mapping[str, Any]) -> str:
    """A sentence where patches do not cover the picture, or nothing."""
    sides = zip(hf_config.pair(config["image_size"]), hf_config.pair(config["patch_size"]), strict=True)
    near = [(side // patch * patch, (side // patch + 1) * patch) for side, patch in sides if side % patch]
    if not near or not near[0][0]:  # below one patch is another problem
        return ""
    return (
        f"image_size={config['image_size']} is no multiple of patch_size={config['patch_size']}, so "
        f"pixels beyond the last patch would not be seen; choose {near[0][0]} or {near[0][1]}"
    )


def problems(config: Mapping[str, Any], *, given: Any) -> list[str]:
    """What is wrong with a completed config's patches. What its file says, ``image_size`` of ``given``, is
    done as transformers does it; what somebody asks for can be mended."""
    found = []
    if config["image_size"] != given and (lost := lost_edge(config)):
        found.append(lost)
    if min(grid(config)) < 1:
        found.append(f"image_size={config['image_size']} is below patch_size={config['patch_size']}")
    return found


def refuse_others(images: jax.Array, size: tuple[int, int], channels: int) -> None:
    """Raises ValueError where pictures (B, H, W, channels) are of another size, or have other channels,
    than the positions are for."""
    if images.shape[1:] != (*size, channels):
        raise ValueError(
            f"this network takes pictures of (height, width, channels) {(*size, channels)}, "
            f"not {images.shape[1:]}: resize them, or build it with another image_size"
        )
