"""Dropout and stochastic depth, with the key given at the call.

Srivastava et al. 2014 (JMLR 15:1929) and Huang et al. 2016, arXiv:1603.09382. Both are `nnx.Dropout` without
a generator of its own, so that `set_mode` turns both off: in inference mode, and in blocks where nothing
trains.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx


def drop_path(rate: float, axes: int) -> nnx.Dropout:
    """Stochastic depth for x of so many axes: a picture's residual is dropped whole, with probability
    ``rate``, and divided by 1 - rate where it stays."""
    return nnx.Dropout(rate, broadcast_dims=tuple(range(1, axes)))


def dropped(dropout: nnx.Dropout, x: jax.Array, key: jax.Array | None) -> jax.Array:
    """``x`` with dropout, of the module's own rate and mode; unchanged without a key."""
    if key is None or dropout.deterministic or dropout.rate == 0:
        return x
    kept = 1 - dropout.rate
    if kept == 0:
        return jnp.zeros_like(x)
    shape = tuple(1 if axis in dropout.broadcast_dims else size for axis, size in enumerate(x.shape))
    return jnp.where(_drawn(key, kept, shape), x / kept, 0)


def _drawn(key: jax.Array, kept: float, shape: tuple[int, ...]) -> jax.Array:
    """True with probability ``kept``, to the nearest 65536th. Each random word of 32 bits decides for two
    places: on a CPU drawing them takes longer than all else that dropout does."""
    *rows, columns = shape
    words = jax.random.bits(key, (*rows, -(-columns // 2)))
    halves = jnp.concatenate([words & 0xFFFF, words >> 16], axis=-1)[..., :columns]
    return halves < round(kept * 65536)
