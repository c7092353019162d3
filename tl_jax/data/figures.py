"""A source task without photographs: figures on textures, 80 classes of gray pictures, drawn on demand.

Each picture is one of 8 textures with one of 9 figures, or none, laid over it with random contrast,
softness, size, place and turn, then lit unevenly and made noisy. The class is texture and figure
together, so a network must tell apart spectra, edges and orientations, and find faint outlines in
clutter: what early vision needs anywhere. Nothing here is shared with the chest phantom, neither code
nor shapes: figures are polygons, stars, crosses, rings, bars and striped patches.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.data.table import Table

SIZE = 96
"""Side of a picture in pixels."""
TEXTURES = ("rough", "clouds", "waves", "checks", "rings", "cells", "leaves", "strokes")
FIGURES = ("none", "triangle", "square", "pentagon", "star", "cross", "ring", "corner", "bars", "stripes")
CLASSES = tuple(f"{texture}+{figure}" for texture in TEXTURES for figure in FIGURES)
"""Class texture · 10 + figure."""
_CHUNK = 256

_Y, _X = np.meshgrid(*(np.linspace(-1, 1, SIZE, dtype=np.float32),) * 2, indexing="ij")
_FREQUENCY = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None]).astype(np.float32)


def source(config: Any) -> Table:
    """A table of ``config.name`` = "N" pictures, all different, with 5 % for validation and for test.

    Picture i is a pure function of i and ``config.split_seed``.
    """
    n, seed = int(config.name), config.split_seed
    kinds = _kinds(n, seed)
    part = np.arange(n) % 20
    return Table(
        ids=np.array([f"figure-{i:07d}" for i in range(n)]),
        labels=np.array(CLASSES)[kinds],
        groups=np.array([f"figure-{i:07d}" for i in range(n)]),
        splits=np.where(part == 0, "val", np.where(part == 1, "test", "train")),
        read=lambda i, at_least: _chunk(seed, n, i // _CHUNK)[i % _CHUNK],
        stamp=lambda i: f"{seed}/{i}",
        caveat="these pictures are drawn by a program",
    )


def _kinds(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, len(CLASSES), n)


@lru_cache(maxsize=8)
def _chunk(seed: int, n: int, number: int) -> np.ndarray:
    rows = np.arange(number * _CHUNK, (number + 1) * _CHUNK)
    kinds = np.resize(_kinds(n, seed)[rows[rows < n]], _CHUNK)
    return np.asarray(_draw_all(jax.random.key(seed), rows, kinds))


@jax.jit
def _draw_all(key: jax.Array, rows: jax.Array, kinds: jax.Array) -> jax.Array:
    return jax.vmap(lambda row, kind: draw(jax.random.fold_in(key, row), kind))(rows, kinds)


def draw(key: jax.Array, kind: jax.Array) -> jax.Array:
    """One picture (96, 96, 1) uint8 of class ``kind`` = texture · 10 + figure."""
    ground, other, haze, front, light, noise, much = jax.random.split(key, 7)
    a = jax.random.uniform(much, (8,))
    texture = _standard(jax.lax.switch(kind // len(FIGURES), _TEXTURES, ground))
    # A second, fainter texture and a haze: clutter that says nothing about the class.
    clutter = _standard(jax.lax.switch((8 * a[6]).astype(int), _TEXTURES, other))
    x = 0.5 + (0.02 + 0.12 * a[0] ** 2) * (texture + 0.6 * a[7] ** 2 * clutter)
    x = x + 0.12 * a[5] ** 2 * _standard(_power(haze, 2.2, 3.0))
    strength = jnp.exp(jnp.log(0.08) + a[1] * jnp.log(8.0)) * jnp.where(a[2] < 0.5, -1, 1)
    x = x + strength * _figure(front, kind % len(FIGURES))
    slope = jax.random.uniform(light, (3,), minval=-0.2, maxval=0.2)
    x = x * (1 + slope[0] * _X + slope[1] * _Y) + slope[2]
    x = jnp.clip(x, 0.01, 1) ** jnp.exp(0.8 * a[3] - 0.4)
    x = x + 0.06 * a[4] ** 2 * jax.random.normal(noise, x.shape)
    return jnp.round(255 * jnp.clip(x, 0, 1)).astype(jnp.uint8)[..., None]


def _standard(texture: jax.Array) -> jax.Array:
    return jnp.clip((texture - texture.mean()) / (texture.std() + 1e-3), -2.5, 2.5)


def _power(key: jax.Array, low: float, high: float) -> jax.Array:
    """Noise with a power-law spectrum."""
    phase, slope = jax.random.split(key)
    white = jax.random.normal(phase, (2, *_FREQUENCY.shape))
    fall = jnp.maximum(_FREQUENCY, 1 / SIZE) ** -jax.random.uniform(slope, minval=low, maxval=high)
    return jnp.fft.irfft2((white[0] + 1j * white[1]) * fall, (SIZE, SIZE))


def _wave(key: jax.Array) -> jax.Array:
    a = jax.random.uniform(key, (3,))
    angle, rate = np.pi * a[0], 6 + 34 * a[1]
    return jnp.sin(rate * (_X * jnp.cos(angle) + _Y * jnp.sin(angle)) + 2 * np.pi * a[2])


def _waves(key: jax.Array) -> jax.Array:
    first, second = jax.random.split(key)
    return _wave(first) + 0.3 * _wave(second)


def _checks(key: jax.Array) -> jax.Array:
    first, second = jax.random.split(key)
    return jnp.tanh(6 * _wave(first) * _wave(second))


def _rings(key: jax.Array) -> jax.Array:
    a = jax.random.uniform(key, (4,))
    centre = 3 * a[:2] - 1.5
    return jnp.sin((8 + 30 * a[2]) * jnp.hypot(_X - centre[0], _Y - centre[1]) + 6 * a[3])


def _cells(key: jax.Array) -> jax.Array:
    """Distance to the border between the nearest of some points."""
    x, y = jax.random.uniform(key, (20, 2), minval=-1.1, maxval=1.1).T[:, None, None]
    distance = jnp.hypot(_X[..., None] - x, _Y[..., None] - y)
    nearest = -jax.lax.top_k(-distance, 2)[0]
    return jnp.minimum(nearest[..., 1] - nearest[..., 0], 0.15)


def _leaves(key: jax.Array) -> jax.Array:
    """Rectangles that cover one another."""
    place, size, shade = jax.random.split(key, 3)
    x, y = jax.random.uniform(place, (2, 1, 1, 40), minval=-1.1, maxval=1.1)
    width, height = 0.08 + 0.5 * jax.random.uniform(size, (2, 1, 1, 40)) ** 2
    inside = (jnp.abs(_X[..., None] - x) < width) & (jnp.abs(_Y[..., None] - y) < height)
    top = jnp.argmax(inside * jnp.arange(1, 41)[None, None], axis=-1)
    return jax.random.normal(shade, (40,))[top]


def _strokes(key: jax.Array) -> jax.Array:
    """Thin straight lines."""
    turn, offset, width = jax.random.uniform(key, (3, 1, 1, 14))
    angle = np.pi * turn
    away = jnp.abs(_X[..., None] * jnp.cos(angle) + _Y[..., None] * jnp.sin(angle) - 2 * offset + 1)
    return jnp.sum(jnp.exp(-((away / (0.02 + 0.04 * width)) ** 2)), axis=-1)


_TEXTURES = (
    partial(_power, low=0.2, high=1.0),
    partial(_power, low=1.6, high=2.6),
    _waves,
    _checks,
    _rings,
    _cells,
    _leaves,
    _strokes,
)


def _figure(key: jax.Array, kind: jax.Array) -> jax.Array:
    """A figure's mask (96, 96) in 0…1, with a random place, turn, size and softness of its edge."""
    a = jax.random.uniform(key, (6,))
    size, angle = 0.25 + 0.3 * a[0], 2 * np.pi * a[1]
    x, y = jnp.asarray(_X) - 1.2 * (a[2] - 0.5), jnp.asarray(_Y) - 1.2 * (a[3] - 0.5)
    u, v = x * jnp.cos(angle) + y * jnp.sin(angle), y * jnp.cos(angle) - x * jnp.sin(angle)
    u, v = u / size, v / size
    radius, turn = jnp.hypot(u, v), jnp.arctan2(v, u)

    def polygon(sides: int) -> jax.Array:
        wedge = jnp.mod(turn, 2 * np.pi / sides) - np.pi / sides
        return radius * jnp.cos(wedge) - np.cos(np.pi / sides)

    def bar(p: jax.Array, q: jax.Array, length: float, width: float) -> jax.Array:
        return jnp.maximum(jnp.abs(p) - length, jnp.abs(q) - width)

    edges = jnp.stack(
        [
            jnp.ones_like(u),
            polygon(3),
            polygon(4),
            polygon(5),
            radius - 0.6 - 0.35 * jnp.cos(5 * turn),
            jnp.minimum(bar(u, v, 1.0, 0.25), bar(v, u, 1.0, 0.25)),
            jnp.abs(radius - 0.75) - 0.2,
            jnp.minimum(bar(u, v + 0.75, 1.0, 0.25), bar(v, u + 0.75, 1.0, 0.25)),
            jnp.minimum(bar(u, v - 0.5, 1.0, 0.22), bar(u, v + 0.5, 1.0, 0.22)),
            radius - 1,
        ]
    )
    soft = 0.02 + 0.4 * a[4] ** 2
    mask = jax.nn.sigmoid(-edges[kind] / soft)
    mask = jnp.where(kind == 9, mask * (0.5 + 0.5 * jnp.sin(10 * u + 6 * a[5])), mask)
    return jnp.where(kind == 0, 0.0, mask)
