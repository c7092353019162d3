"""Which examples make up batch t: a pure function of the seed and t."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def indices(seed: int, step: int, batch_size: int, n: int, views: int = 1) -> np.ndarray:
    """Rows (batch_size,) int32 of batch ``step`` of an endless concatenation of permutations of n rows,
    one an epoch. A batch may begin in one epoch and end in the next, so every epoch is whole.

    With several ``views`` of each of the n, of which view v of i is row v·n + i, epoch e takes view e mod
    ``views`` of all: any ``views`` epochs in a row see each view of each of the n once.
    """
    positions = np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int64)
    epochs, places = np.divmod(positions, n)
    rows = np.empty(batch_size, np.int32)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        rows[here] = _permutation(seed, int(epoch), n)[places[here]] + n * int(epoch % views)
    return rows


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, n: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(n).astype(np.int32)
