"""Small tables whose pictures lie in memory, and the config to load them with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ml_collections import ConfigDict

from tests.data.sources.settings import config as settings
from tl_jax.data.table import BadImageError, Table


def gray(seed: int, side: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 1), dtype=np.uint8)


def colour(seed: int, side: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


@dataclass
class Shelf:
    """Pictures by row; None is one that cannot be read. ``read`` holds the rows that were."""

    pictures: list[np.ndarray | None]
    rows_read: list[int] = field(default_factory=list)

    def read(self, i: int, at_least: tuple[int, int] | None) -> np.ndarray:
        self.rows_read.append(i)
        picture = self.pictures[i]
        if picture is None:
            raise BadImageError(f"picture {i}: broken")
        return picture

    def stamp(self, i: int) -> str:
        picture = self.pictures[i]
        return "none" if picture is None else hashlib.sha256(picture.tobytes()).hexdigest()


def table(
    labels: Sequence[str],
    *,
    groups: Sequence[str] = (),
    splits: Sequence[str] = (),
    pictures: Sequence[np.ndarray | None] = (),
    **more,
) -> Table:
    """Ids are p000, p001, …; pictures differ unless given."""
    n = len(labels)
    ids = np.array([f"p{i:03}" for i in range(n)], dtype=str)
    shelf = Shelf(list(pictures) or [gray(i) for i in range(n)])
    return Table(
        ids=ids,
        labels=np.array(labels, dtype=str),
        groups=np.array(groups, dtype=str) if len(groups) else ids,
        splits=np.array(splits, dtype=str) if len(splits) else np.full(n, "", dtype="U5"),
        read=shelf.read,
        stamp=shelf.stamp,
        grouped=bool(len(groups)),
        **more,
    )


def config(rows: Table, **changes) -> ConfigDict:
    """A config whose source is a function that returns the table; nothing is cached."""
    return settings(source=lambda data: rows, **{"cache": "", "min_val": 1, **changes})
