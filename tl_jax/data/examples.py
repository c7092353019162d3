"""What a split of a data set is once its pictures are decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tl_jax.data.mapped import release


@dataclass(frozen=True)
class Rows:
    """Some rows of an array (N, h, w, c) that stays on disk: an array (n, h, w, c) to index, which reads.

    Any index of the first axis is taken: a number, a slice, an array of rows. It gives a copy in memory.
    """

    array: np.ndarray
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.array.shape[1:])

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * self.array.itemsize

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        found = np.array(self.array[self.rows[index]])
        release(self.array)
        return found


@dataclass(frozen=True)
class Split:
    """Examples: ``ids`` and ``groups`` (n,) str, ``labels`` (n,) int32, ``images`` (n, h, w, c) uint8,
    ``columns`` of further facts (n,) by name."""

    ids: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    images: np.ndarray | Rows
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)
