"""Matrix products of linear layers and of attention: the one place they are called from.

Like `convolution`, they are `onednn`'s where that is available, with gradients of their own, and XLA's
elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from tl_jax.backbones import hf_config, onednn


def times(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x (…, in) times kernel (in, out)."""
    if not onednn.available(x, kernel):
        return x @ kernel
    return _product(x.reshape(-1, x.shape[-1]), kernel).reshape(*x.shape[:-1], kernel.shape[1])


def linear(x: jax.Array, kernel: jax.Array, dimension_numbers: Any, **options: Any) -> jax.Array:
    """`times`, as the ``dot_general`` of an `nnx.Linear`."""
    if not onednn.available(x, kernel):
        return lax.dot_general(x, kernel, dimension_numbers, **options)
    return times(x, kernel)


class Linear(nnx.Linear):
    """`nnx.Linear`, which multiplies by way of `linear`, and to which a low-rank update may be added: with
    ``lora_a`` (in, r) and ``lora_b`` (r, out) it gives x·kernel + bias + ``lora_scale`` · x·a·b (Hu et al.
    2021, arXiv:2106.09685). See `tl_jax.lora`."""

    def __init__(self, inputs: int, outputs: int, **options: Any) -> None:
        super().__init__(inputs, outputs, dot_general=linear, **options)
        self.lora_a: nnx.Param | None = nnx.data(None)
        self.lora_b: nnx.Param | None = nnx.data(None)
        self.lora_scale = 1.0

    def adapt(self, rank: int, scale: float, key: jax.Array) -> None:
        """Adds an update that is nothing yet: a is drawn, b is 0."""
        inputs, outputs = self.kernel.shape
        self.lora_a = nnx.Param(jax.random.normal(key, (inputs, rank)) * inputs**-0.5)
        self.lora_b = nnx.Param(jnp.zeros((rank, outputs)))
        self.lora_scale = scale

    def __call__(self, inputs: jax.Array) -> jax.Array:
        return updated(self, inputs, super().__call__(inputs))


def updated(layer: nnx.Linear, x: jax.Array, made: jax.Array) -> jax.Array:
    """``made`` of x by the layer's kernel, with its low-rank update, if it has one."""
    if not isinstance(layer, Linear) or layer.lora_a is None or layer.lora_b is None:
        return made
    return made + layer.lora_scale * times(times(x, layer.lora_a[...]), layer.lora_b[...])


def together(layers: Sequence[nnx.Linear], x: jax.Array) -> list[jax.Array]:
    """What each layer makes of x (…, in). With oneDNN by one product, as wide ones are faster."""
    kernels = [layer.kernel[...] for layer in layers]
    if not onednn.available(x, *kernels):
        return [layer(x) for layer in layers]
    ends = list(accumulate(kernel.shape[1] for kernel in kernels))[:-1]
    made = jnp.split(times(x, jnp.concatenate(kernels, axis=1)), ends, axis=-1)
    return [
        updated(layer, x, part if layer.bias is None else part + layer.bias[...])
        for layer, part in zip(layers, made, strict=True)
    ]


def activated(layer: nnx.Linear, act: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """``act(layer(x))`` of x (…, in). oneDNN applies the exact GELU as it writes the product, where no
    gradient asks for what came before it."""
    kernel = layer.kernel[...]
    adapted = isinstance(layer, Linear) and layer.lora_a is not None
    if act is not hf_config.gelu or layer.bias is None or adapted or not onednn.available(x, kernel):
        return act(layer(x))
    made = cast(jax.Array, _gelu_product(x.reshape(-1, x.shape[-1]), kernel, layer.bias[...]))
    return made.reshape(*x.shape[:-1], -1)


@jax.custom_vjp
def _gelu_product(a: jax.Array, b: jax.Array, bias: jax.Array) -> jax.Array:
    return onednn.layer(a, b, bias, gelu=True)


def _gelu_forward(a: jax.Array, b: jax.Array, bias: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    before = onednn.layer(a, b, bias)
    return hf_config.gelu(before), (a, b, before)


def _gelu_backward(kept: tuple[jax.Array, ...], grad: jax.Array) -> tuple[jax.Array, ...]:
    a, b, before = kept
    # Without the barrier XLA keeps all error functions from the forward pass, which takes longer than anew.
    _, backward = jax.vjp(hf_config.gelu, lax.optimization_barrier(before))
    (grad,) = backward(grad)
    return product(grad, b, False, True), product(a, grad, True, False), grad.sum(0)


_gelu_product.defvjp(_gelu_forward, _gelu_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def product(a: jax.Array, b: jax.Array, transpose_a: bool, transpose_b: bool) -> jax.Array:
    """`onednn.matmul`, with gradients that are such products too."""
    return onednn.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)


def _forward(
    a: jax.Array, b: jax.Array, transpose_a: bool, transpose_b: bool
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return product(a, b, transpose_a, transpose_b), (a, b)


def _backward(
    transpose_a: bool, transpose_b: bool, kept: tuple[jax.Array, jax.Array], grad: jax.Array
) -> tuple[jax.Array, jax.Array]:
    a, b = kept
    by_a = (b, grad, transpose_b, True) if transpose_a else (grad, b, False, not transpose_b)
    by_b = (grad, a, True, transpose_a) if transpose_b else (a, grad, not transpose_a, False)
    return product(*by_a), product(*by_b)


product.defvjp(_forward, _backward)


def _product(a: jax.Array, b: jax.Array, *, transpose_b: bool = False) -> jax.Array:
    return cast(jax.Array, product(a, b, False, transpose_b))


def attention(
    query: jax.Array, keys: jax.Array, values: jax.Array, seen: jax.Array | None = None
) -> jax.Array:
    """Scaled dot-product attention (Vaswani et al. 2017, eq. 1): (B, n, heads, d) each → (B, n, heads, d).
    ``seen``, which broadcasts to (B, heads, n, n), says which query looks at which key; None: all at all."""
    if not onednn.available(query, keys, values):
        return jax.nn.dot_product_attention(query, keys, values, mask=seen)
    query, keys, values = (x.swapaxes(1, 2) for x in (query * query.shape[-1] ** -0.5, keys, values))
    weights = jax.nn.softmax(masked(_product(query, keys, transpose_b=True), seen))
    return _product(weights, values).swapaxes(1, 2)


def masked(scores: jax.Array, seen: jax.Array | None) -> jax.Array:
    """Scores of which those that are not seen become so low that their weight is 0."""
    return scores if seen is None else jnp.where(seen, scores, jnp.finfo(scores.dtype).min)
