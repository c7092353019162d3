"""Convolution, padded as PyTorch pads it: the one place it is called from.

XLA:CPU's own convolutions, and their gradients above all, are slow. There `conv` has a gradient of its own,
made of what is fast: forward convolutions and matrix products of `onednn`. Elsewhere it is
`jax.lax.conv_general_dilated` and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from tl_jax.backbones import onednn

KAIMING = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
"""He et al. 2015, arXiv:1502.01852, section 2.2, by the number of outputs."""

_NHWC = ("NHWC", "HWIO", "NHWC")
_FEW = 16
"""Channels below which a line of the kernel is taken at once: a product with so few columns is slow."""


def conv(x: jax.Array, kernel: jax.Array, *, stride: int = 1, pad: bool = True) -> jax.Array:
    """Convolves x (B, h, w, in) with a kernel (k, l, in, out), k and l odd, padding k // 2 above and below
    and l // 2 on the other sides, or nothing.

    Returns (B, ceil(h / stride), ceil(w / stride), out); without padding h less k - 1 and w less l - 1 count.
    """
    if onednn.available(x, kernel):
        return fast(x, kernel, stride, pad)
    return _lax(x, kernel, stride, pad)


def _lax(x: jax.Array, kernel: jax.Array, stride: int, pad: bool) -> jax.Array:
    padding = _padding(kernel.shape, pad)
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=_NHWC)


def _padding(shape: tuple[int, ...], pad: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    down, across = (size // 2 if pad else 0 for size in shape[:2])
    return (down, down), (across, across)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def fast(x: jax.Array, kernel: jax.Array, stride: int, pad: bool) -> jax.Array:
    """`conv` by way of `onednn`, which must be available; ``stride`` 1 or 2."""
    if kernel.shape[:2] != (1, 1):
        return onednn.convolve(x, kernel, stride=stride, padding=_padding(kernel.shape, pad))
    x = x[:, ::stride, ::stride]
    return onednn.matmul(_rows(x), kernel[0, 0]).reshape(*x.shape[:3], -1)


def _forward(
    x: jax.Array, kernel: jax.Array, stride: int, pad: bool
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return fast(x, kernel, stride, pad), (x, kernel)


def _backward(
    stride: int, pad: bool, kept: tuple[jax.Array, jax.Array], grad: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Gradients of both; XLA drops the one that nobody uses."""
    x, kernel = kept
    return (
        _input_gradient(x.shape, kernel, grad, stride, pad),
        _kernel_gradient(x, kernel.shape, grad, stride, pad),
    )


fast.defvjp(_forward, _backward)


def _kernel_gradient(
    x: jax.Array, shape: tuple[int, ...], grad: jax.Array, stride: int, pad: bool
) -> jax.Array:
    """For each tap of the kernel, the pixels that it met, transposed, times the gradient of what it made."""
    reaches, edges = [], []
    for size, (before, _), have, made in zip(
        shape, _padding(shape, pad), x.shape[1:3], grad.shape[1:3], strict=False
    ):
        reaches.append((made - 1) * stride + 1)
        edges.append((before, max(0, size - 1 + reaches[-1] - before - have)))
    x = jnp.pad(x, ((0, 0), *edges, (0, 0)))
    down, across = reaches
    lines = [
        [x[:, i : i + down : stride, j : j + across : stride] for j in range(shape[1])]
        for i in range(shape[0])
    ]
    if shape[2] < _FEW:
        lines = [[jnp.concatenate(line, axis=3)] for line in lines]
    met = [pixels for line in lines for pixels in line]
    taps = [onednn.matmul(_rows(pixels), _rows(grad), transpose_a=True) for pixels in met]
    return jnp.stack(taps).reshape(shape)


def _input_gradient(
    shape: tuple[int, ...], kernel: jax.Array, grad: jax.Array, stride: int, pad: bool
) -> jax.Array:
    """The transposed convolution. Pixels whose places leave the same remainders by ``stride`` met the same
    taps; each such picture is a convolution of ``grad``, and together they are dealt out like cards."""
    if kernel.shape[:2] == (1, 1):
        dx = onednn.matmul(_rows(grad), kernel[0, 0], transpose_b=True).reshape(*grad.shape[:3], -1)
        ends = [length - 1 - (n - 1) * stride for length, n in zip(shape[1:3], grad.shape[1:3], strict=True)]
        return lax.pad(
            dx, jnp.zeros((), dx.dtype), ((0, 0, 0), *((0, end, stride - 1) for end in ends), (0, 0, 0))
        )
    if stride == 1:
        (down, _), (across, _) = _padding(kernel.shape, pad)
        far_down, far_across = kernel.shape[0] - 1 - down, kernel.shape[1] - 1 - across
        padding = (far_down, far_down), (far_across, far_across)
        return onednn.convolve(grad, _turned(kernel), stride=1, padding=padding)
    most = tuple(-(-length // stride) for length in shape[1:3])
    parts = [
        [_phase(shape, kernel, grad, stride, pad, (i, j), most) for j in range(stride)] for i in range(stride)
    ]
    return dealt(parts)[:, : shape[1], : shape[2]]


def _phase(
    shape: tuple[int, ...],
    kernel: jax.Array,
    grad: jax.Array,
    stride: int,
    pad: bool,
    remainders: tuple[int, int],
    most: tuple[int, ...],
) -> jax.Array:
    """The input's gradient at the places stride·m + remainder, m < ``most`` (B, most, most, in)."""
    firsts, padding = [], []
    for axis, remainder in enumerate(remainders):
        size, (border, _) = kernel.shape[axis], _padding(kernel.shape, pad)[axis]
        first = (remainder + border) % stride
        taps = len(range(first, size, stride))
        before = taps - 1 - (remainder + border - first) // stride
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


def dealt(parts: Sequence[Sequence[Any]]) -> jax.Array:
    """One picture of s·s pictures (B, h, w, c): line y of part (i, j) becomes line s·y + i; so do columns."""
    steps = len(parts)
    batch, height, width, channels = parts[0][0].shape
    lines = jnp.stack([jnp.stack(row, axis=3) for row in parts], axis=2)
    return lines.reshape(batch, height * steps, width * steps, channels)


class Conv(nnx.Module):
    """A convolution as `conv` computes it; ``kernel`` (k, l, inputs, outputs), He et al. 2015, fan-out; with
    ``use_bias``, ``bias`` (outputs,), at first 0. ``size``: (k, l), or k for both."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int | tuple[int, int],
        *,
        stride: int = 1,
        pad: bool = True,
        use_bias: bool = False,
        rngs: nnx.Rngs,
    ):
        self.stride, self.pad = stride, pad
        shape = (size, size) if isinstance(size, int) else size
        self.kernel = nnx.Param(KAIMING(rngs.params(), (*shape, inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros((outputs,))) if use_bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        made = conv(x, self.kernel[...], stride=self.stride, pad=self.pad)
        return made if self.bias is None else made + self.bias[...].reshape(1, 1, 1, -1)
