"""Dropout and stochastic depth, with the key given at the call.

Srivastava et al. 2014 (JMLR 15:1929) and Huang et al. 2016, arXiv:1603.09382. Both are `nnx.Dropout` without
a generator of its own, so that `set_mode` turns both off: in inference mode, and in blocks where nothing
trains.
"""

from __future__ import annotations

import jax
from flax import nnx


def drop_path(rate: float, axes: int) -> nnx.Dropout:
    """Stochastic depth for x of so many axes: a picture's residual is dropped whole, with probability
    ``rate``, and divided by 1 - rate where it stays."""
    return nnx.Dropout(rate, broadcast_dims=tuple(range(1, axes)))


def dropped(dropout: nnx.Dropout, x: jax.Array, key: jax.Array | None) -> jax.Array:
    """``x`` with dropout, of the module's own rate and mode; unchanged without a key."""
    return x if key is None else dropout(x, rngs=key)
