"""Necks over a map: the mean over the picture, or all of the map in one row.

A family whose last block makes a map may leave the choice to the config; it says so by ``NECKS``.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import jax
import jax.numpy as jnp
from flax import nnx

from tl_jax.backbones.anatomy import Carry, Spec
from tl_jax.backbones.hf_config import ConfigError

NECK = "tl_jax_neck"
"""The key of a ``config.json`` that chooses one, our own; without it a network has the neck of its paper."""

POOLED, FLATTEN = "pooled", "flatten"
OF_A_MAP = (POOLED, FLATTEN)
"""What the key may say where there is a map."""


class Pooled(nnx.Module):
    """The mean over the picture: x (B, h, w, c) → (B, c)."""

    def __call__(self, carry: Carry, *, key: jax.Array | None = None) -> jax.Array:
        return jnp.mean(carry["x"], axis=(1, 2))


class Flattened(nnx.Module):
    """All of the map, row by row: x (B, h, w, c) → (B, h·w·c). ``shape`` is (h, w, c).

    Raises ValueError where pictures of another size make another map.
    """

    def __init__(self, shape: tuple[int, int, int]):
        self.shape = shape

    def __call__(self, carry: Carry, *, key: jax.Array | None = None) -> jax.Array:
        x = carry["x"]
        if x.shape[1:] != self.shape:
            raise ValueError(
                f"this network flattens maps of (height, width, channels) {self.shape}, not {x.shape[1:]}: "
                "resize the pictures, or build it with another image_size"
            )
        return x.reshape(x.shape[0], -1)


def of_map(spec: Spec) -> Pooled | Flattened:
    """The neck that the spec's config chooses, the mean unless it says otherwise; without parameters."""
    return Flattened(_shape(spec)) if spec.config.get(NECK) == FLATTEN else Pooled()


def fitted(spec: Spec) -> Spec:
    """The spec with the number of features that `of_map` makes. Where it depends on the size of the pictures
    the config notes that size, so that a network built from it is the same one.

    Raises:
      ConfigError: if the pictures are too small to leave a map.
    """
    height, width, channels = shape = _shape(spec)
    if not height * width:
        size = spec.preprocess.size
        raise ConfigError(spec.family, [f"pictures of {size} (height, width) leave no map; take larger ones"])
    if spec.config.get(NECK) != FLATTEN:
        return replace(spec, features=channels)
    tall, wide = spec.preprocess.size
    noted = {**spec.config, "image_size": tall if tall == wide else (tall, wide)}
    return replace(spec, features=prod(shape), config=noted)


def _shape(spec: Spec) -> tuple[int, int, int]:
    """Height, width and channels of the map after the last block."""
    height, width = (spec.cells(side, spec.levels[-1]) for side in spec.preprocess.size)
    return height, width, spec.widths[-1]
