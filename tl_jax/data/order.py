"""Which examples make up batch t: a pure function of the seed and t."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

WINDOW = 16
"""Batches among which texts change places, so that those of one batch are about as long."""


def indices(
    seed: int, step: int, batch_size: int, n: int, views: int = 1, sizes: np.ndarray | None = None
) -> np.ndarray:
    """Rows (batch_size,) int32 of batch ``step`` of an endless concatenation of permutations of n rows,
    one an epoch. A batch may begin in one epoch and end in the next, so every epoch is whole.

    With several ``views`` of each of the n, of which view v of i is row v·n + i, epoch e takes view e mod
    ``views`` of all: any ``views`` epochs in a row see each view of each of the n once.

    ``sizes`` (n,) int: rows of one size come together where they can. In every window of `WINDOW` batches an
    epoch's rows are sorted by it, and the batches then take their turns at random. Each epoch stays a
    permutation.
    """
    positions = np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int64)
    epochs, places = np.divmod(positions, n)
    rows = np.empty(batch_size, np.int32)
    for epoch in np.unique(epochs):
        here, number = epochs == epoch, int(epoch)
        if sizes is None:
            order = _permutation(seed, number, n)
        else:
            order = _alike(seed, number, n, batch_size, sizes.astype(np.int32).tobytes())
        rows[here] = order[places[here]] + n * (number % views)
    return rows


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, n: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(n).astype(np.int32)


@lru_cache(maxsize=4)
def _alike(seed: int, epoch: int, n: int, batch_size: int, sizes: bytes) -> np.ndarray:
    """The epoch's permutation with its windows sorted. What is left of a batch that the epoch before began
    stays where it is, as does a batch that the epoch does not fill."""
    order, size_of = _permutation(seed, epoch, n).copy(), np.frombuffer(sizes, np.int32)
    turns = np.random.default_rng([seed, epoch, 1])
    begun = -epoch * n % batch_size
    whole = (n - begun) // batch_size
    for first in range(0, whole, WINDOW):
        batches = min(WINDOW, whole - first)
        start = begun + first * batch_size
        window = order[start : start + batches * batch_size]
        window = window[np.argsort(size_of[window], kind="stable")]
        window = window.reshape(batches, batch_size)[turns.permutation(batches)]
        order[start : start + window.size] = window.ravel()
    return order
