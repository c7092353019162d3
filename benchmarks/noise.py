"""A source of random pictures, for benchmarks that ask only how long something takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tl_jax.data.table import Table


def source(train: int, val: int, test: int, size: int) -> Callable[[Any], Table]:
    """A `data.source` of so many pictures (size, size, 3) a split, in two classes."""
    names = np.array([f"{i:06d}" for i in range(train + val + test)])

    def table(config: Any) -> Table:
        del config
        return Table(
            ids=names,
            labels=np.where(np.arange(len(names)) % 2 == 0, "even", "odd"),
            groups=names,
            splits=np.repeat(np.array(["train", "val", "test"]), [train, val, test]),
            read=lambda i, at_least: np.random.default_rng(i).integers(0, 256, (size, size, 3), np.uint8),
            stamp=str,
        )

    return table
