"""Layer normalisation (Ba et al. 2016, arXiv:1607.06450), over the last axis.

XLA:CPU computes what a norm gives anew for everything that reads it. Where norms come last, as in BERT, each
residual is the output of a norm, so that every block would repeat all norms and residuals below it. And it
writes out every mean as wide as what it is subtracted from. Where `onednn` is available (on one CPU device)
the norm is oneDNN's, whose result XLA must keep; in its gradient sums over the last axis are products with a
vector. Elsewhere this is `nnx.LayerNorm`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from tl_jax.backbones import onednn


class LayerNorm(nnx.LayerNorm):
    """x (…, c) to mean 0 and variance 1 over the last axis, times ``scale`` (c,) plus ``bias`` (c,)."""

    def __init__(self, features: int, *, epsilon: float, rngs: nnx.Rngs):
        super().__init__(features, epsilon=epsilon, use_fast_variance=False, rngs=rngs)

    def __call__(self, x: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
        assert self.scale is not None
        assert self.bias is not None
        scale, bias = self.scale[...], self.bias[...]
        if mask is not None or not onednn.available(x, scale, bias):
            return super().__call__(x, mask=mask)
        rows = cast(jax.Array, normalised(x.reshape(-1, x.shape[-1]), scale, bias, self.epsilon))
        return rows.reshape(x.shape)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalised(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> jax.Array:
    """Each row of x (n, c), normalised, times scale (c,) plus bias (c,), all float32."""
    return onednn.layer_norm(x, scale, bias, epsilon)


def _forward(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> tuple[jax.Array, Any]:
    return onednn.layer_norm(x, scale, bias, epsilon), (x, scale)


def _backward(epsilon: float, kept: Any, grad: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, scale = kept
    share = jnp.full(x.shape[1], 1 / x.shape[1], x.dtype)
    # Behind the barriers, what follows cannot be drawn into the sums.
    mean = lax.optimization_barrier(x @ share)
    centred = x - mean[:, None]
    inverse = lax.optimization_barrier(lax.rsqrt(centred * centred @ share + epsilon))
    hat = centred * inverse[:, None]
    along = lax.optimization_barrier(grad * hat)
    share = scale / x.shape[1]
    level, slope = lax.optimization_barrier((grad @ share, along @ share))
    by_x = inverse[:, None] * (grad * scale - level[:, None] - hat * slope[:, None])
    return by_x, along.sum(0), grad.sum(0)


normalised.defvjp(_forward, _backward)
