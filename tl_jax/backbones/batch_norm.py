"""Batch normalisation (Ioffe and Szegedy 2015, arXiv:1502.03167), over all axes but the last.

XLA:CPU keeps every centred picture of the forward pass for the gradient. Where `onednn` is available (on one
CPU device) training has a gradient of its own, which needs nothing but the input and two sums of a channel.
Elsewhere, and with running statistics, this is `nnx.BatchNorm`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from tl_jax.backbones import onednn
from tl_jax.pretrained.rules import Ignore, Rule

Statistics = tuple[jax.Array, jax.Array]


class BatchNorm(nnx.BatchNorm):
    """Normalises x (…, c) by the batch, or running statistics; times ``scale`` (c,) plus ``bias`` (c,).

    PyTorch's momentum of 0.1 is the weight of the new value; 0.9 here is that of the old one.
    """

    def __init__(self, features: int, *, epsilon: float = 1e-5, rngs: nnx.Rngs):
        super().__init__(features, momentum=0.9, epsilon=epsilon, rngs=rngs)

    def __call__(
        self, x: jax.Array, use_running_average: bool | None = None, *, mask: jax.Array | None = None
    ) -> jax.Array:
        running = self.use_running_average if use_running_average is None else use_running_average
        if running or mask is not None or not onednn.available(x):
            return super().__call__(x, use_running_average, mask=mask)
        assert self.scale is not None
        assert self.bias is not None
        rows, statistics = cast(
            tuple[jax.Array, Statistics],
            normalised(x.reshape(-1, x.shape[-1]), self.scale[...], self.bias[...], self.epsilon),
        )
        for kept, new in zip((self.mean, self.var), statistics, strict=True):
            kept[...] = self.momentum * kept[...] + (1 - self.momentum) * new
        return rows.reshape(x.shape)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalised(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> tuple[jax.Array, Statistics]:
    """Each column of x (n, c), normalised, times scale (c,) plus bias (c,); and the columns' means and
    variances, which have no gradient. All float32.

    The variance is that of Flax, the mean square less the squared mean: of a column whose mean is m standard
    deviations, its relative error is about m² roundings.
    """
    return _forward(x, scale, bias, epsilon)[0]


def _forward(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> tuple[Any, Any]:
    mean = x.mean(0)
    var = jnp.maximum(0, (x * x).mean(0) - mean * mean)
    inverse = lax.rsqrt(var + epsilon)
    factor = scale * inverse
    return (x * factor + (bias - mean * factor), (mean, var)), (x, scale, mean, inverse)


def _backward(epsilon: float, kept: Any, grads: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    (x, scale, mean, inverse), (grad, _) = kept, grads
    by_bias = grad.sum(0)
    by_scale = inverse * ((grad * x).sum(0) - mean * by_bias)
    slope = inverse * by_scale / x.shape[0]
    level = by_bias / x.shape[0] - mean * slope
    return scale * inverse * (grad - level - x * slope), by_scale, by_bias


normalised.defvjp(_forward, _backward)


def rules(theirs: str, ours: str) -> list[Rule | Ignore]:
    """How the arrays of a PyTorch BatchNorm become the leaves of a `BatchNorm`, and back."""
    return [
        Rule(f"{theirs}.weight", f"{ours}/scale"),
        Rule(f"{theirs}.bias", f"{ours}/bias"),
        Rule(f"{theirs}.running_mean", f"{ours}/mean"),
        Rule(f"{theirs}.running_var", f"{ours}/var"),
        Ignore(
            f"{theirs}.num_batches_tracked",
            "PyTorch counts batches here; it acts only without momentum",
            np.zeros((), np.int64),
        ),
    ]
