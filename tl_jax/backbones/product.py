"""Matrix products of linear layers and of attention: the one place they are called from.

Like `convolution`, they are `onednn`'s where that is available, with gradients of their own, and XLA's
elsewhere.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import jax
from flax import nnx
from jax import lax

from tl_jax.backbones import onednn


def linear(x: jax.Array, kernel: jax.Array, dimension_numbers: Any, **options: Any) -> jax.Array:
    """x (…, in) times kernel (in, out), as the ``dot_general`` of an `nnx.Linear`."""
    if not onednn.available(x, kernel):
        return lax.dot_general(x, kernel, dimension_numbers, **options)
    rows = x.reshape(-1, x.shape[-1])
    return _product(rows, kernel).reshape(*x.shape[:-1], kernel.shape[1])


Linear = partial(nnx.Linear, dot_general=linear)
"""`nnx.Linear`, which multiplies by way of `linear`."""


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


def attention(query: jax.Array, keys: jax.Array, values: jax.Array) -> jax.Array:
    """Scaled dot-product attention (Vaswani et al. 2017, eq. 1): (B, n, heads, d) each → (B, n, heads, d)."""
    if not onednn.available(query, keys, values):
        return jax.nn.dot_product_attention(query, keys, values)
    query, keys, values = (x.swapaxes(1, 2) for x in (query * query.shape[-1] ** -0.5, keys, values))
    weights = jax.nn.softmax(_product(query, keys, transpose_b=True))
    return _product(weights, values).swapaxes(1, 2)
