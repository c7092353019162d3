"""Depthwise convolution: each channel with a kernel of its own (Chollet 2016, arXiv:1610.02357).

XLA:CPU takes twenty times as long for it as oneDNN, and for the gradient of its kernel up to sixty times as
long as the loop that is written here. So where `onednn` is available, `conv` is that and this; elsewhere it
is `jax.lax.conv_general_dilated`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from tl_jax.backbones import onednn
from tl_jax.backbones.hf_config import normal

_FEW, _MANY = 28, 64
"""Products that are summed at once: of fewer XLA:CPU makes a loop that takes four times as long, as it works
out for each number anew where in the picture it lies, and so it does of more than a hundred."""


def conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves x (B, h, w, c) with a kernel (k, k, 1, c), k odd, padding k // 2: (B, h, w, c)."""
    if onednn.available(x, kernel):
        return fast(x, kernel)
    padding, channels = _padding(kernel.shape[0]), x.shape[3]
    return lax.conv_general_dilated(
        x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=channels
    )


def _padding(size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return ((size // 2, size // 2), (size // 2, size // 2))


@jax.custom_vjp
def fast(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`conv` by way of `onednn`, which must be available."""
    return onednn.convolve(x, kernel, stride=1, padding=_padding(kernel.shape[0]), groups=x.shape[3])


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return fast(x, kernel), (x, kernel)


def _backward(kept: tuple[jax.Array, jax.Array], grad: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Gradients of both; XLA drops the one that nobody uses."""
    x, kernel = kept
    return fast(grad, kernel[::-1, ::-1]), _kernel_gradient(x, grad, kernel.shape[0])


fast.defvjp(_forward, _backward)


def _kernel_gradient(x: jax.Array, grad: jax.Array, size: int) -> jax.Array:
    """For each tap the sum, over all places, of the pixel that it met times the gradient of what it made.

    A few lines, or a part of one, at a time, for all taps at once: they are in the processor's cache then.
    Sums over whole pictures, one for each tap, read them 49 times from memory and take six times as long.
    """
    batch, height, width, channels = x.shape
    across = -(-width // _MANY)
    columns = -(-width // across)
    lines = min(height, -(-_FEW // columns))
    down = -(-height // lines)
    (before, after), beyond = _padding(size)[0], (down * lines - height, across * columns - width)
    x = jnp.pad(x, ((0, 0), *((before, after + more) for more in beyond), (0, 0)))
    grad = jnp.pad(grad, ((0, 0), *((0, more) for more in beyond), (0, 0)))

    def add(number: jax.Array, taps: jax.Array) -> jax.Array:
        line, part = number // across, number % across
        start = (line // down, line % down * lines, part * columns, 0)
        met = lax.dynamic_slice(x, start, (1, lines + size - 1, columns + size - 1, channels))[0]
        made = lax.dynamic_slice(grad, start, (1, lines, columns, channels))[0]
        places = [(i, j) for i in range(lines) for j in range(columns)]
        return taps + sum(met[i : i + size, j : j + size] * made[i : i + 1, j : j + 1] for i, j in places)

    taps = lax.fori_loop(0, batch * down * across, add, jnp.zeros((size, size, channels), x.dtype))
    return taps[:, :, None]


class DepthwiseConv(nnx.Module):
    """x (B, h, w, width) → (B, h, w, width); ``kernel`` (size, size, 1, width)."""

    def __init__(self, width: int, size: int, *, scale: float, rngs: nnx.Rngs):
        self.kernel = nnx.Param(normal(scale)(rngs.params(), (size, size, 1, width)))
        self.bias = nnx.Param(jnp.zeros((width,)))

    def __call__(self, x: jax.Array) -> jax.Array:
        return conv(x, self.kernel[...]) + self.bias[...].reshape(1, 1, 1, -1)
