"""Corruptions by the camera and the file: motion, defocus, JPEG, low resolution. See
`tl_jax.data.corruptions`.

Levels are those of ImageNet-C. JPEG is its lossy part (ITU-T T.81): the colours' means over 2 × 2 pixels, the
cosine transform of 8 × 8 pixels, and rounding to the standard's tables. What follows in a file loses nothing.
Colours are enlarged linearly, as libjpeg does it where it is not told otherwise.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates

SIDE = 224
"""Pixels, of the pictures that the levels of ImageNet-C were made for."""

compiled = partial(jax.jit, static_argnames="severity")
"""For a corruption: one program for each shape and severity."""


@compiled
def motion(image: jax.Array, severity: int, key: jax.Array) -> jax.Array:
    """The camera moves, up to 45 degrees from level."""
    length, spread = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[severity - 1]
    angle = jnp.deg2rad(jax.random.uniform(key, minval=-45.0, maxval=45.0))
    return jnp.clip(along(image, angle, length / SIDE, spread / SIDE), 0, 1)


@compiled
def defocus(image: jax.Array, severity: int, key: jax.Array) -> jax.Array:
    """Every point a disc, with a soft edge. Beyond the border the edge's value continues."""
    radius, soft = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[severity - 1]
    disc = _disc(radius / SIDE * max(image.shape[:2]), soft)
    reach = disc.shape[0] // 2
    padded = jnp.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    blurred = [
        jax.scipy.signal.fftconvolve(plane, disc, mode="valid") for plane in jnp.moveaxis(padded, -1, 0)
    ]
    return jnp.clip(jnp.stack(blurred, axis=-1), 0, 1)


@compiled
def resolution(image: jax.Array, severity: int, key: jax.Array) -> jax.Array:
    """A share of the picture's own pixels, each the mean of what it covers, enlarged to the old size as
    squares."""
    left = (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1]
    height, width, channels = image.shape
    rows, columns = (_means(n, max(1, round(n * left))) for n in (height, width))
    few = jnp.einsum("ij,jkc,lk->ilc", rows, image, columns, precision="highest")
    return jnp.clip(jax.image.resize(few, (height, width, channels), "nearest"), 0, 1)


@compiled
def jpeg(image: jax.Array, severity: int, key: jax.Array) -> jax.Array:
    """Kept as JPEG of quality 25, 18, 15, 10 or 7."""
    quality = (25, 18, 15, 10, 7)[severity - 1]
    height, width, channels = image.shape
    step = 8 if channels == 1 else 16
    below, right = -height % step, -width % step
    pixels = jnp.pad(jnp.round(image * 255), ((0, below), (0, right), (0, 0)), mode="edge")
    if channels == 1:
        found = _coded(pixels[..., 0] - 128, _LUMINANCE, quality)[..., None] + 128
    else:
        luminance, *colours = jnp.moveaxis(jnp.round(pixels @ _TO_YCC.T), -1, 0)
        planes = [_coded(luminance - 128, _LUMINANCE, quality) + 128]
        for plane in colours:
            half = plane.reshape(plane.shape[0] // 2, 2, plane.shape[1] // 2, 2).mean(axis=(1, 3))
            planes.append(jax.image.resize(_coded(half, _CHROMINANCE, quality), plane.shape, "linear"))
        found = jnp.stack(planes, axis=-1) @ np.linalg.inv(_TO_YCC).astype(np.float32).T
    return jnp.clip(jnp.round(found[:height, :width]) / 255, 0, 1)


def along(image: jax.Array, angle: jax.Array, length: float, spread: float) -> jax.Array:
    """A blur of (h, w, c) along one direction: weights of a normal distribution with standard deviation
    ``spread``, up to ``length`` either way, both shares of the longer side. Beyond the border the edge's
    value continues."""
    height, width, _ = image.shape
    side = max(height, width)
    reach = max(1, round(length * side))
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / max(spread * side, 1e-6)) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    rows, columns = jnp.mgrid[:height, :width]

    def moved(offset: jax.Array) -> jax.Array:
        where = [rows + offset * jnp.sin(angle), columns + offset * jnp.cos(angle)]
        planes = [
            map_coordinates(plane, where, order=1, mode="nearest") for plane in jnp.moveaxis(image, -1, 0)
        ]
        return jnp.stack(planes, axis=-1)

    def add(total: jax.Array, one: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        offset, weight = one
        return total + weight * moved(offset), None

    blurred, _ = jax.lax.scan(
        add, jnp.zeros_like(image), (jnp.asarray(offsets, jnp.float32), jnp.asarray(weights))
    )
    return blurred


def _disc(radius: float, soft: float) -> np.ndarray:
    """A disc (k, k) float32 whose sum is 1; ``radius`` and the width of its edge, ``soft``, in pixels. Of a
    pixel that the edge crosses, the covered share counts."""
    reach = int(np.ceil(radius + 3 * soft)) + 1
    fine = 8  # parts of a pixel
    at = (np.arange((2 * reach + 1) * fine) + 0.5) / fine - reach - 0.5
    away = np.hypot(at[:, None], at[None, :])
    inside = np.clip((radius - away) / max(soft, 1 / fine) + 0.5, 0, 1)
    disc = inside.reshape(2 * reach + 1, fine, 2 * reach + 1, fine).mean(axis=(1, 3))
    return (disc / disc.sum()).astype(np.float32)


def _means(old: int, new: int) -> np.ndarray:
    """The means (new, old) float32 over what each of ``new`` equal parts of a line covers."""
    edges = np.arange(new + 1) * old / new
    starts, ends = (
        np.maximum(edges[:-1, None], np.arange(old)),
        np.minimum(edges[1:, None], np.arange(old) + 1),
    )
    return (np.clip(ends - starts, 0, None) * new / old).astype(np.float32)


def _coded(plane: jax.Array, table: np.ndarray, quality: int) -> jax.Array:
    """A plane (h, w), both multiples of 8, of values in -128…127, as decoding finds it again; whole numbers,
    as files are of."""
    # libjpeg's scale, in whole numbers, of qualities below 50.
    steps = np.clip((table * (5000 // quality) + 50) // 100, 1, 255).astype(np.float32)
    height, width = plane.shape
    blocks = jnp.round(plane).reshape(height // 8, 8, width // 8, 8)
    waves = jnp.einsum("ui,aibj,vj->aubv", _COSINES, blocks, _COSINES, precision="highest")
    waves = jnp.round(waves / steps[None, :, None, :]) * steps[None, :, None, :]
    found = jnp.einsum("ui,aubv,vj->aibj", _COSINES, waves, _COSINES, precision="highest")
    return jnp.clip(jnp.round(found), -128, 127).reshape(height, width)


_COSINES = (
    np.where(np.arange(8) == 0, 1 / np.sqrt(8), 0.5)[:, None]
    * np.cos((2 * np.arange(8) + 1) * np.arange(8)[:, None] * np.pi / 16)
).astype(np.float32)
"""The cosine transform of eight pixels, rows by frequency."""

_TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
"""RGB → luminance and two differences of colour (JFIF), without the offset of the latter."""

_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
_CHROMINANCE = np.array(
    [
        [17, 18, 24, 47, 99, 99, 99, 99],
        [18, 21, 26, 66, 99, 99, 99, 99],
        [24, 26, 56, 99, 99, 99, 99, 99],
        [47, 66, 99, 99, 99, 99, 99, 99],
        *[[99] * 8] * 4,
    ]
)
"""Steps of rounding at quality 50, by frequency (T.81, annex K)."""
