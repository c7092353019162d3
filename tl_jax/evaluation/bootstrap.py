"""Resampling of whole groups (patients), and intervals from the replicates.

Pictures of one patient are alike; drawing them one by one would pretend to more evidence than there
is. So groups are drawn with replacement, each with all its pictures (the cluster bootstrap: Davison
and Hinkley 1997, section 3.8), and an interval is cut from the replicates' percentiles (Efron 1979).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.evaluation.metrics import Floats

CHUNK = 2**18
"""Weights (examples × replicates) held at a time: 2 MB, about what a core's cache takes."""


class Resampling:
    """Draws of groups with replacement, as weights of examples.

    ``groups`` (n,): anything that `numpy.unique` can tell apart. The draws depend on the set of groups,
    ``replicates`` and ``seed`` only, not on how they are cut into chunks.
    """

    def __init__(self, groups: ArrayLike, *, replicates: int, seed: int, chunk: int = CHUNK) -> None:
        names, self.index = np.unique(np.asarray(groups), return_inverse=True)
        self.groups, self.replicates, self.seed = len(names), replicates, seed
        self.chunk = max(1, min(replicates, chunk // max(1, len(self.index))))

    def __iter__(self) -> Iterator[Floats]:
        """Weights (n, r), a chunk of replicates at a time: how often each example was drawn."""
        random = np.random.default_rng(self.seed)
        for start in range(0, self.replicates, self.chunk):
            size = min(self.chunk, self.replicates - start)
            drawn = random.integers(0, self.groups, (size, self.groups), dtype=np.int32)
            times = np.stack([np.bincount(row, minlength=self.groups) for row in drawn], axis=1)
            yield times.astype(np.float64)[self.index]


def percentiles(values: ArrayLike, level: float = 0.95) -> tuple[Floats, Floats, Floats]:
    """Intervals of replicates (R, m): (low (m,), high (m,), how many are undefined (m,)).

    Undefined replicates (NaN) are left out; an all-undefined column gives NaN.
    """
    values = np.sort(np.asarray(values, np.float64), axis=0)  # NaN goes last
    undefined = np.isnan(values).sum(axis=0)
    last = len(values) - undefined - 1
    ends = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        at = np.maximum(share * last, 0)
        lower = np.floor(at).astype(int)
        upper = np.minimum(lower + 1, np.maximum(last, 0))
        columns = np.arange(values.shape[1])
        a, b = values[lower, columns], values[upper, columns]
        ends.append(np.where(a == b, a, a + (b - a) * (at - lower)))
    return ends[0], ends[1], undefined


def reflected(low: Floats, high: Floats, value: Floats) -> tuple[Floats, Floats]:
    """The basic bootstrap interval of measures that cannot be negative and that noise only raises.

    Resampling adds noise once more, so that percentiles of such a measure (ECE) lie too high, often above
    the value itself. Mirrored at the value (Davison and Hinkley 1997, eq. 5.6) they lie where the bias puts
    the truth; the value is kept inside.
    """
    return np.clip(2 * value - high, 0, None), np.maximum(2 * value - low, value)
