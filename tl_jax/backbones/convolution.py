"""Convolution and max-pooling, padded as PyTorch pads them: the one place they are called from.

XLA:CPU's own convolutions, and their gradients above all, are slow. There `conv` has a gradient of its own,
made of what is fast: forward convolutions and matrix products of `onednn`. Elsewhere, and inside of `plain`,
it is `jax.lax.conv_general_dilated` and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from tl_jax.backbones import onednn

_KAIMING = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
_NHWC = ("NHWC", "HWIO", "NHWC")
_FEW = 16
"""Channels below which a line of the kernel is taken at once: a product with so few columns is slow."""

_plain: ContextVar[bool] = ContextVar("plain", default=False)


@contextmanager
def plain() -> Iterator[None]:
    """Whatever is traced inside convolves with XLA's own operations, whose work XLA can count."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def conv(x: jax.Array, kernel: jax.Array, *, stride: int = 1) -> jax.Array:
    """Convolves x (B, h, w, in) with a kernel (k, k, in, out), k odd, padding k // 2 on every side.

    Returns (B, ceil(h / stride), ceil(w / stride), out).
    """
    if x.dtype == kernel.dtype == jnp.float32 and not _plain.get() and onednn.available():
        return fast(x, kernel, stride)
    return _lax(x, kernel, stride)


def _lax(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), _padding(kernel.shape[0]), dimension_numbers=_NHWC
    )


def _padding(size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return ((size // 2, size // 2), (size // 2, size // 2))


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def fast(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """`conv` by way of `onednn`, which must be available; ``stride`` 1 or 2."""
    if kernel.shape[0] > 1:
        return onednn.convolve(x, kernel, stride=stride, padding=_padding(kernel.shape[0]))
    x = x[:, ::stride, ::stride]
    return onednn.matmul(_rows(x), kernel[0, 0]).reshape(*x.shape[:3], -1)


def _forward(x: jax.Array, kernel: jax.Array, stride: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return fast(x, kernel, stride), (x, kernel)


def _backward(stride: int, kept: tuple[jax.Array, jax.Array], grad: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Gradients of both; XLA drops the one that nobody uses."""
    x, kernel = kept
    return _input_gradient(x.shape, kernel, grad, stride), _kernel_gradient(x, kernel.shape, grad, stride)


fast.defvjp(_forward, _backward)


def _kernel_gradient(x: jax.Array, shape: tuple[int, ...], grad: jax.Array, stride: int) -> jax.Array:
    """For each tap of the kernel, the pixels that it met, transposed, times the gradient of what it made."""
    size, (height, width) = shape[0], grad.shape[1:3]
    (before, _), _ = _padding(size)
    reach_y, reach_x = (height - 1) * stride + 1, (width - 1) * stride + 1
    after_y = max(0, size - 1 + reach_y - before - x.shape[1])
    after_x = max(0, size - 1 + reach_x - before - x.shape[2])
    x = jnp.pad(x, ((0, 0), (before, after_y), (before, after_x), (0, 0)))
    lines = [
        [x[:, i : i + reach_y : stride, j : j + reach_x : stride] for j in range(size)] for i in range(size)
    ]
    if shape[2] < _FEW:
        lines = [[jnp.concatenate(line, axis=3)] for line in lines]
    met = [pixels for line in lines for pixels in line]
    taps = [onednn.matmul(_rows(pixels), _rows(grad), transpose_a=True) for pixels in met]
    return jnp.stack(taps).reshape(shape)


def _input_gradient(shape: tuple[int, ...], kernel: jax.Array, grad: jax.Array, stride: int) -> jax.Array:
    """The transposed convolution. Pixels whose places leave the same remainders by ``stride`` met the same
    taps; each such picture is a convolution of ``grad``, and together they are dealt out like cards."""
    size = kernel.shape[0]
    if size == 1:
        dx = onednn.matmul(_rows(grad), kernel[0, 0], transpose_b=True).reshape(*grad.shape[:3], -1)
        ends = [length - 1 - (n - 1) * stride for length, n in zip(shape[1:3], grad.shape[1:3], strict=True)]
        return lax.pad(dx, 0.0, ((0, 0, 0), *((0, end, stride - 1) for end in ends), (0, 0, 0)))
    if stride == 1:
        return onednn.convolve(grad, _turned(kernel), stride=1, padding=_padding(size))
    most = tuple(-(-length // stride) for length in shape[1:3])
    parts = [
        [_phase(shape, kernel, grad, stride, (i, j), most) for j in range(stride)] for i in range(stride)
    ]
    return _dealt(parts)[:, : shape[1], : shape[2]]


def _phase(
    shape: tuple[int, ...],
    kernel: jax.Array,
    grad: jax.Array,
    stride: int,
    remainders: tuple[int, int],
    most: tuple[int, ...],
) -> jax.Array:
    """The input's gradient at the places stride·m + remainder, m < ``most`` (B, most, most, in)."""
    firsts, padding = [], []
    for axis, remainder in enumerate(remainders):
        size = kernel.shape[axis]
        first = (remainder + size // 2) % stride
        taps = len(range(first, size, stride))
        before = taps - 1 - (remainder + size // 2 - first) // stride
        firsts.append(first)
        padding.append((before, most[axis] + taps - 1 - before - grad.shape[1 + axis]))
    met = kernel[firsts[0] :: stride, firsts[1] :: stride]
    if 0 in met.shape[:2]:
        return jnp.zeros((shape[0], *most, shape[3]), grad.dtype)
    return onednn.convolve(grad, _turned(met), stride=1, padding=(padding[0], padding[1]))


def _turned(kernel: jax.Array) -> jax.Array:
    """The kernel that goes back: turned by half a circle, from outputs to inputs."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def _rows(x: jax.Array) -> jax.Array:
    return x.reshape(-1, x.shape[-1])


def max_pool(x: jax.Array) -> jax.Array:
    """Maximum over 3×3 windows in steps of 2: (B, h, w, c) → (B, ceil(h / 2), ceil(w / 2), c).

    The gradient goes to the first of equal maxima, as in `jax.lax` and PyTorch.
    """
    if not _plain.get() and onednn.available():
        return fast_max_pool(x)
    padding = ((0, 0), (1, 1), (1, 1), (0, 0))
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), padding)


@jax.custom_vjp
def fast_max_pool(x: jax.Array) -> jax.Array:
    """`max_pool` as comparisons of whole pictures, which XLA:CPU joins into one loop."""
    return _pool(x)[0]


def _pool(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Maxima, and which of the nine places each came from, int8."""
    _, height, width, _ = x.shape
    tall, wide = -(-height // 2), -(-width // 2)
    edge = ((0, 0), (1, 2 * tall - height), (1, 2 * wide - width), (0, 0))
    x = jnp.pad(x, edge, constant_values=-jnp.inf)
    best = x[:, : 2 * tall : 2, : 2 * wide : 2]
    place = jnp.zeros(best.shape, jnp.int8)
    for number in range(1, 9):
        i, j = divmod(number, 3)
        other = x[:, i : i + 2 * tall - 1 : 2, j : j + 2 * wide - 1 : 2]
        better = (other > best) | jnp.isnan(other)
        best, place = jnp.where(better, other, best), jnp.where(better, jnp.int8(number), place)
    return best, place


def _pool_forward(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    best, place = _pool(x)
    return best, (place, jnp.zeros((*x.shape[:3], 0), x.dtype))  # the second for its shape alone


def _pool_backward(kept: tuple[jax.Array, jax.Array], grad: jax.Array) -> tuple[jax.Array]:
    """A pixel on an even line is the middle of one window; on an odd line it ends one and begins the next."""
    place, like = kept
    _, tall, wide, _ = grad.shape
    after = ((0, 0), (0, 1), (0, 1), (0, 0))
    place, grad = jnp.pad(place, after, constant_values=-1), jnp.pad(grad, after)
    met = (((0, 1),), ((0, 2), (1, 0)))  # for even and odd lines: windows further, and place in that window

    def share(down: int, i: int, right: int, j: int) -> jax.Array:
        windows = (slice(None), slice(down, down + tall), slice(right, right + wide))
        return jnp.where(place[windows] == 3 * i + j, grad[windows], 0)

    parts = [
        [sum(share(*vertical, *horizontal) for vertical in met[y] for horizontal in met[x]) for x in range(2)]
        for y in range(2)
    ]
    return (_dealt(parts)[:, : like.shape[1], : like.shape[2]],)


fast_max_pool.defvjp(_pool_forward, _pool_backward)


def _dealt(parts: Sequence[Sequence[Any]]) -> jax.Array:
    """One picture of s·s pictures (B, h, w, c): line y of part (i, j) becomes line s·y + i; so do columns."""
    steps = len(parts)
    batch, height, width, channels = parts[0][0].shape
    lines = jnp.stack([jnp.stack(row, axis=3) for row in parts], axis=2)
    return lines.reshape(batch, height * steps, width * steps, channels)


class Conv(nnx.Module):
    """A convolution without bias; ``kernel`` (size, size, inputs, outputs), He et al. 2015, fan-out."""

    def __init__(self, inputs: int, outputs: int, size: int, *, stride: int = 1, rngs: nnx.Rngs):
        self.stride = stride
        self.kernel = nnx.Param(_KAIMING(rngs.params(), (size, size, inputs, outputs)))

    def __call__(self, x: jax.Array) -> jax.Array:
        return conv(x, self.kernel[...], stride=self.stride)
