"""What a split of a data set is once its pictures are decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
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
    def dtype(self) -> np.dtype:
        return self.array.dtype

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
    """Examples: ``ids`` and ``groups`` (n,) str, ``labels`` (n,) int32 or whatever else a task learns (n, …),
    ``images`` (n, h, w, c) uint8 or texts, tokens (n, longest) int32 padded with -1; ``columns`` of further
    facts (n,) by name.

    ``lengths`` (n,) are those of texts, and ``widths`` the few lengths, rising, to which batches of them are
    padded, so that no more programs are compiled than there are widths. ``lengths`` is None for what is all
    of one size. ``padded``: the second axis of ``images`` is that of tokens; it is not where vectors have
    taken their place, whose batches are still those of the texts.
    """

    ids: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    images: np.ndarray | Rows
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    lengths: np.ndarray | None = None
    widths: tuple[int, ...] = ()
    padded: bool = True

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def sizes(self) -> np.ndarray | None:
        """Which of the ``widths`` each text needs, (n,) int; None for what is all of one size."""
        return None if self.lengths is None else np.searchsorted(self.widths, self.lengths)

    def width(self, rows: np.ndarray | slice) -> slice:
        """What to take of the second axis of ``images`` for a batch of these rows."""
        if self.sizes is None or not self.padded:
            return slice(None)
        return slice(self.widths[self.sizes[rows].max(initial=0)])
