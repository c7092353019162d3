"""Pooling by windows of two or three pixels, as PyTorch does it: the one place it is called from.

XLA:CPU's own windows, and their gradients above all, are slow. There maxima are comparisons of whole
pictures, which it joins into one loop, and so is what goes back. Elsewhere they are `jax.lax.reduce_window`.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.backbones import onednn
from tl_jax.backbones.convolution import dealt


def max_pool(x: jax.Array, size: int = 3, *, border: int | None = None) -> jax.Array:
    """Maximum over windows of ``size`` 2 or 3 in steps of 2: (B, h, w, c) → (B, h', w', c).

    Windows reach beyond the picture by ``border`` pixels on each side, by default 1 of size 3 and none of
    size 2; h' is (h + 2 · border - size) // 2 + 1. The gradient goes to the first of equal maxima, as in
    `jax.lax` and PyTorch.
    """
    border = size // 3 if border is None else border
    if onednn.available():
        return fast_max_pool(x, size, border)
    padding = ((0, 0), (border, border), (border, border), (0, 0))
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, size, size, 1), (1, 2, 2, 1), padding)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def fast_max_pool(x: jax.Array, size: int, border: int) -> jax.Array:
    """`max_pool` as comparisons of whole pictures."""
    return _pool(x, size, border)[0]


def _pool(x: jax.Array, size: int, border: int) -> tuple[jax.Array, jax.Array]:
    """Maxima, and which of the window's places each came from, row by row, int8."""
    tall, wide = ((side + 2 * border - size) // 2 + 1 for side in x.shape[1:3])
    if border:
        ends = (2 * tall - 2 + size - border - x.shape[1], 2 * wide - 2 + size - border - x.shape[2])
        edges = ((border, max(0, end)) for end in ends)
        x = jnp.pad(x, ((0, 0), *edges, (0, 0)), constant_values=-jnp.inf)
    best = x[:, : 2 * tall - 1 : 2, : 2 * wide - 1 : 2]
    place = jnp.zeros(best.shape, jnp.int8)
    for number in range(1, size * size):
        i, j = divmod(number, size)
        other = x[:, i : i + 2 * tall - 1 : 2, j : j + 2 * wide - 1 : 2]
        better = (other > best) | jnp.isnan(other)
        best, place = jnp.where(better, other, best), jnp.where(better, jnp.int8(number), place)
    return best, place


def _pool_forward(x: jax.Array, size: int, border: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    best, place = _pool(x, size, border)
    return best, (place, jnp.zeros((*x.shape[:3], 0), x.dtype))  # the second for its shape alone


def _pool_backward(
    size: int, border: int, kept: tuple[jax.Array, jax.Array], grad: jax.Array
) -> tuple[jax.Array]:
    """Pixel 2m + r is met by window m + d at its place r + border - 2d, for each d where that is a place."""
    place, like = kept
    (_, height, width, _), (_, tall, wide, _) = like.shape, grad.shape
    met = [[(d, i) for d in (-1, 0, 1) if 0 <= (i := r + border - 2 * d) < size] for r in range(2)]
    first = min(d for pairs in met for d, _ in pairs)
    rows, columns = -(-height // 2), -(-width // 2)
    edges = [(-first, max(0, n + 1 - have)) for n, have in ((rows, tall), (columns, wide))]
    place = jnp.pad(place, ((0, 0), *edges, (0, 0)), constant_values=-1)
    grad = jnp.pad(grad, ((0, 0), *edges, (0, 0)))

    def share(down: int, i: int, right: int, j: int) -> jax.Array:
        down, right = down - first, right - first
        windows = (slice(None), slice(down, down + rows), slice(right, right + columns))
        return jnp.where(place[windows] == size * i + j, grad[windows], 0)

    parts = [
        [sum(share(*vertical, *horizontal) for vertical in met[y] for horizontal in met[x]) for x in range(2)]
        for y in range(2)
    ]
    return (dealt(parts)[:, :height, :width],)


fast_max_pool.defvjp(_pool_forward, _pool_backward)


def average_pool(x: jax.Array) -> jax.Array:
    """Mean over 3×3 windows in steps of 1, in which what lies beyond the border counts as 0: (B, h, w, c) →
    the same shape."""
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = x[:, :-2] + x[:, 1:-1] + x[:, 2:]
    return (x[:, :, :-2] + x[:, :, 1:-1] + x[:, :, 2:]) / 9
