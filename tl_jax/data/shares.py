"""The pictures of a table, divided among the processes of one job: each decodes some and is sent the others.

Decoding is the slow part of preparing a data set; what comes of it is small, and every host needs all of it,
since a batch may hold any picture.
"""

from __future__ import annotations

from itertools import pairwise

import jax
import numpy as np

from tl_jax import processes

_AT_ONCE = 2**24  # bytes that a process sends in one go


def own(n: int) -> range:
    """The rows of n that this process decodes."""
    return _shares(n)[jax.process_index()]


def exchange(array: np.ndarray) -> None:
    """Fills in the rows of an array (n, …) that are not this process's `own`."""
    shares = _shares(len(array))
    if len(shares) == 1:
        return
    step = max(1, _AT_ONCE // max(1, array[:1].nbytes))
    for start in range(0, max(map(len, shares)), step):
        parts = [share[start : start + step] for share in shares]
        mine = array[_slice(parts[jax.process_index()])]
        sent = np.zeros((step, *array.shape[1:]), array.dtype)
        sent[: len(mine)] = mine
        for part, found in zip(parts, processes.gather(sent), strict=True):
            array[_slice(part)] = found[: len(part)]


def merged(facts: dict[int, str]) -> dict[int, str]:
    """What each process knows of its own rows, put together in the order of rows."""
    every = {int(row): text for some in processes.gather_values(facts) for row, text in some.items()}
    return dict(sorted(every.items()))


def _shares(n: int) -> list[range]:
    bounds = np.linspace(0, n, jax.process_count() + 1).astype(int).tolist()
    return [range(a, b) for a, b in pairwise(bounds)]


def _slice(rows: range) -> slice:
    return slice(rows.start, rows.stop)
