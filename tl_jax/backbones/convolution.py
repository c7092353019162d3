"""Convolution and max-pooling, padded as PyTorch pads them: the one place they are called from.

Everything that convolves goes through `conv`, so that a faster path on some device is a change here.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

_KAIMING = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")


def conv(x: jax.Array, kernel: jax.Array, *, stride: int = 1) -> jax.Array:
    """Convolves x (B, h, w, in) with a kernel (k, k, in, out), k odd, padding k // 2 on every side.

    Returns (B, ceil(h / stride), ceil(w / stride), out).
    """
    height, width = kernel.shape[:2]
    padding = ((height // 2, height // 2), (width // 2, width // 2))
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def max_pool(x: jax.Array) -> jax.Array:
    """Maximum over 3×3 windows in steps of 2: (B, h, w, c) → (B, ceil(h / 2), ceil(w / 2), c)."""
    padding = ((0, 0), (1, 1), (1, 1), (0, 0))
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), padding)


class Conv(nnx.Module):
    """A convolution without bias; ``kernel`` (size, size, inputs, outputs), He et al. 2015, fan-out."""

    def __init__(self, inputs: int, outputs: int, size: int, *, stride: int = 1, rngs: nnx.Rngs):
        self.stride = stride
        self.kernel = nnx.Param(_KAIMING(rngs.params(), (size, size, inputs, outputs)))

    def __call__(self, x: jax.Array) -> jax.Array:
        return conv(x, self.kernel[...], stride=self.stride)
