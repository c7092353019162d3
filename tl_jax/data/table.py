"""What a source yields: a table with one row an example, nothing decoded yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

SPLITS = ("train", "val", "test")


class BadImageError(ValueError):
    """A picture that cannot be used; the message names the file and says why."""


@dataclass(frozen=True)
class Table:
    """Rows of a data set.

    ``ids`` (n,) are unique, stable names (for files: the path below the root, with forward slashes);
    ``labels`` (n,) class names; ``groups`` (n,) what must stay together, such as a patient (an
    example's own id where nothing is named); ``splits`` (n,) ``"train" | "val" | "test"``, or ``""``
    where the split is still to be cut. ``columns`` holds further facts about each row (site, sex).

    ``read(i, at_least)`` decodes picture i into uint8 (h, w, c), c = 1 or 3, EXIF orientation applied.
    ``at_least`` is None or (height, width) in pixels: a licence to decode smaller as long as both sides
    stay at least that long. It raises `BadImageError`. ``stamp(i)`` identifies the picture's content
    cheaply (size and modification time, or a digest), for cache keys. ``grouped`` says whether the
    source named groups at all. ``notes`` are lines to print: what was passed over, what was assumed.
    ``caveat`` is what must stand beside every number measured here, such as that nobody was ill.
    ``noun`` is what a row is: "picture", or "text", of which ``read(i, None)`` gives the words, or "pair", of
    which it gives the words of both sides, source and target.

    ``targets`` (n, T) float64, NaN where missing, hold what is learned where that is no single class: a
    column for each of ``names``; ``labels`` may then be empty words.
    """

    ids: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    splits: np.ndarray
    read: Callable[[int, tuple[int, int] | None], Any]
    stamp: Callable[[int], str]
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    grouped: bool = False
    notes: tuple[str, ...] = ()
    caveat: str = ""
    noun: str = "picture"
    targets: np.ndarray | None = None
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> Table:
        """Some of the rows (m,) int."""
        return replace(
            self,
            ids=self.ids[rows],
            labels=self.labels[rows],
            groups=self.groups[rows],
            splits=self.splits[rows],
            columns={key: column[rows] for key, column in self.columns.items()},
            read=lambda i, at_least: self.read(int(rows[i]), at_least),
            stamp=lambda i: self.stamp(int(rows[i])),
            targets=None if self.targets is None else self.targets[rows],
        )
