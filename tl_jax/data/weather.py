"""Corruptions by weather and the dark: fog, rain, snow, night. See `tl_jax.data.corruptions`.

Fog and snow have the levels of ImageNet-C; its fractal is drawn here as a sum of octaves, which needs no loop
over pixels. Rain and night are not in ImageNet-C: streaks that fall at one slant, and a dark curve with the
noise of few photons.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from tl_jax.data.optics import SIDE, along, compiled


@compiled
def fog(image: jax.Array, severity: int, key: jax.Array) -> jax.Array:
    """A bright cloud added, and all brought back into range: far from white, near to gray."""
    thick, decay = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[severity - 1]
    top = jnp.max(image)
    height, width, _ = image.shape
    cloud = _plasma(key, (height, width), decay)[..., None]
    return jnp.clip((image + thick * cloud) * top / (top + thick), 0, 1)


@compiled
def snow(image: jax.Array, severity: int, key: jax.Array) -> jax.Array:
    """Flakes, drawn out as they fall, before a picture that has lost its colours to the white air."""
    mean, spread, size, least, length, sharp, left = (
        (0.1, 0.3, 3.0, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2.0, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4.0, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[severity - 1]
    drawn, turned = jax.random.split(key)
    height, width = image.shape[:2]
    flakes = mean + spread * jax.random.normal(drawn, _grid(image, size))
    # What passes the threshold depends on how the grid is enlarged, so that is done alike for every canvas.
    flakes = jax.image.resize(flakes, _grid(image), "linear")
    flakes = jnp.clip(jnp.where(flakes < least, 0, flakes), 0, 1)
    flakes = jax.image.resize(flakes, (height, width), "linear")[..., None]
    angle = jnp.deg2rad(jax.random.uniform(turned, minval=45.0, maxval=135.0))
    flakes = along(flakes, angle, length / SIDE, sharp / SIDE)
    gray = image.mean(axis=-1, keepdims=True)
    image = left * image + (1 - left) * jnp.maximum(image, gray * 1.5 + 0.5)
    return jnp.clip(image + flakes + flakes[::-1, ::-1], 0, 1)


@compiled
def rain(image: jax.Array, severity: int, key: jax.Array) -> jax.Array:
    """Bright streaks that fall at one slant, in air that is darker and grayer for it."""
    share, length, strength, dim = (
        (0.004, 12, 0.6, 0.95),
        (0.007, 16, 0.7, 0.9),
        (0.010, 20, 0.8, 0.85),
        (0.014, 24, 0.9, 0.8),
        (0.020, 30, 1.0, 0.72),
    )[severity - 1]
    drawn, turned = jax.random.split(key)
    height, width = image.shape[:2]
    drops = jax.random.bernoulli(drawn, share, _grid(image)).astype(jnp.float32)
    drops = jax.image.resize(drops, (height, width), "linear")[..., None]
    angle = jnp.deg2rad(jax.random.uniform(turned, minval=70.0, maxval=110.0))
    streaks = along(drops, angle, length / SIDE, length / SIDE)
    streaks = strength * jnp.clip(streaks * length / 2, 0, 1)
    gray = image.mean(axis=-1, keepdims=True)
    dull = dim * (dim * image + (1 - dim) * gray)
    return jnp.clip(dull + (1 - dull) * streaks, 0, 1)


@compiled
def night(image: jax.Array, severity: int, key: jax.Array) -> jax.Array:
    """Little light: a gamma that darkens the middle, and noise, of photons (which goes with the root of what
    is left) and of the sensor."""
    gamma, photons = ((1.5, 400.0), (2.0, 200.0), (2.6, 100.0), (3.3, 50.0), (4.2, 25.0))[severity - 1]
    dark = image**gamma
    shot, read = jax.random.normal(key, (2, *image.shape))
    return jnp.clip(dark + (jnp.sqrt(dark) * shot + 0.08 * read) / photons**0.5, 0, 1)


def _grid(image: jax.Array, size: float = 1) -> tuple[int, int]:
    """The shape of a grid over a picture whose cells are ``size`` pixels of one with a side of 224."""
    height, width = (max(2, round(SIDE / size * n / max(image.shape[:2]))) for n in image.shape[:2])
    return height, width


def _plasma(key: jax.Array, shape: tuple[int, int], decay: float) -> jax.Array:
    """A cloud (h, w) in 0…1: noise on ever finer grids, each weaker by ``decay`` than the one before."""
    total, weight, cells = jnp.zeros(shape), 1.0, 2
    while cells < 2 * max(shape):
        grid = jax.random.uniform(jax.random.fold_in(key, cells), (cells + 1, cells + 1), minval=-1.0)
        total = total + weight * jax.image.resize(grid, shape, "linear", antialias=False)
        weight, cells = weight / decay, 2 * cells
    total = total - total.min()
    return total / total.max()
