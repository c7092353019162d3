"""Corruptions: what becomes of a picture that was taken or kept badly. One function each, the simplest here,
the others in `weather` and `optics`.

Names and levels are those of ImageNet-C (Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to
Common Corruptions and Perturbations", ICLR 2019), made for pictures of 224 pixels. What is a length there,
such as the width of a blur, is a share of the side here, so that it means the same on every canvas.

Each takes a picture (h, w, c) float32 in 0…1, a severity of 1 to 5 and a key, and gives a picture of the
same shape, in 0…1: a pure function, compiled once for each shape and severity. The channels stay as many as
they are. To add one, write it, and enter its name here and in `tl_jax.schema.CORRUPTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.data import optics, weather
from tl_jax.data.optics import SIDE, compiled

VERSION = 1
"""Part of every key of corrupted pictures; to be raised when a corruption changes."""

SEVERITIES = range(1, 6)


@compiled
def contrast(image: jax.Array, severity: int, key: jax.Array) -> jax.Array:
    """Each channel drawn towards its mean."""
    left = (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1]
    mean = jnp.mean(image, axis=(0, 1), keepdims=True)
    return jnp.clip((image - mean) * left + mean, 0, 1)


@compiled
def brightness(image: jax.Array, severity: int, key: jax.Array) -> jax.Array:
    """The value of HSV raised, hue and saturation as they are; black, which has neither, becomes gray."""
    more = (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1]
    value = jnp.max(image, axis=-1, keepdims=True)
    raised = jnp.clip(value + more, 0, 1)
    return jnp.where(value > 0, image / jnp.where(value > 0, value, 1) * raised, raised)


@compiled
def noise(image: jax.Array, severity: int, key: jax.Array) -> jax.Array:
    """Gaussian noise, for each pixel and channel its own."""
    deviation = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    return jnp.clip(image + deviation * jax.random.normal(key, image.shape), 0, 1)


@compiled
def blur(image: jax.Array, severity: int, key: jax.Array) -> jax.Array:
    """A Gaussian blur. Beyond the border the edge's value continues."""
    deviation = (1, 2, 3, 4, 6)[severity - 1] / SIDE
    rows, columns = (_gaussian(n, n * deviation) for n in image.shape[:2])
    blurred = jnp.einsum("ij,jkc,lk->ilc", rows, image, columns, precision="highest")
    return jnp.clip(blurred, 0, 1)


CORRUPTIONS: Mapping[str, Callable[[jax.Array, int, jax.Array], jax.Array]] = {
    "contrast": contrast,
    "brightness": brightness,
    "noise": noise,
    "blur": blur,
    "fog": weather.fog,
    "rain": weather.rain,
    "snow": weather.snow,
    "night": weather.night,
    "motion": optics.motion,
    "defocus": optics.defocus,
    "jpeg": optics.jpeg,
    "resolution": optics.resolution,
}


def several(image: jax.Array, names: tuple[str, ...], severity: int, key: jax.Array) -> jax.Array:
    """The corruptions one after the other, each with a key of its own. Raises ValueError as `check`."""
    check(names, severity)
    for number, name in enumerate(names):
        image = CORRUPTIONS[name](image, severity, jax.random.fold_in(key, number))
    return image


def check(names: Sequence[str], severity: int) -> None:
    """Raises ValueError, with what is wrong, for a name or a severity that there is not."""
    unknown = [name for name in names if name not in CORRUPTIONS]
    problems = [f"there is no corruption {', '.join(map(repr, unknown))}"] if unknown else []
    if severity not in SEVERITIES:
        problems.append(f"severity is {severity!r}, and goes from {SEVERITIES[0]} to {SEVERITIES[-1]}")
    if problems:
        raise ValueError(f"{'; '.join(problems)}. The corruptions are {', '.join(CORRUPTIONS)}")


def _gaussian(n: int, deviation: float) -> np.ndarray:
    """The blur of a line of n pixels as a matrix (n, n) float32; ``deviation`` in pixels."""
    reach = int(4 * deviation + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / deviation) ** 2)
    matrix = np.zeros((n, n))
    for offset, weight in zip(offsets, weights / weights.sum(), strict=True):
        taken = np.clip(np.arange(n) + offset, 0, n - 1)
        np.add.at(matrix, (np.arange(n), taken), weight)
    return matrix.astype(np.float32)
