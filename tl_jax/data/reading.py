"""How the rows of a table become arrays: what differs between pictures and texts when a data set is read.

Pictures are here; texts in `tl_jax.data.texts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from tl_jax.data import store
from tl_jax.data.shift import Shift
from tl_jax.data.sources.errors import SourceError
from tl_jax.data.table import Table

Say = Callable[[str], None]
"""Gets lines about progress."""


@dataclass(frozen=True)
class Read:
    """What a reader makes of a table's rows. ``arrays``: of all rows, by the split that they would be in;
    ``digests`` (n,) str and ``bad`` {row: why} as in `decoder.Pictures`; ``facts``: what else decides the
    arrays; ``lengths`` and ``widths`` as in `Split`; ``notes``: lines to print. ``labels`` (n, …): what is
    to be learned, None where the table has it; ``columns``: further facts (n,) by name."""

    arrays: Mapping[str, np.ndarray]
    digests: np.ndarray
    bad: Mapping[int, str]
    facts: tuple[Any, ...]
    channels: int = 0
    at_least: int = 0
    lengths: np.ndarray | None = None
    widths: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    labels: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)


class Reader(Protocol):
    """Turns the rows of a table into arrays. ``noun``: what a row is. `check` says what is wrong with the
    config before anything is read, and gives lines to print. Both raise SourceError."""

    noun: str

    def check(self, config: Any) -> list[str]: ...

    def read(self, table: Table, config: Any, say: Say) -> Read: ...


class PictureReader:
    """Decodes pictures: those of val and test as the network sees them, those of train on a canvas that is
    larger where pixels will be moved (``augmented``). The arguments are those of `load`; ``at_least``: the
    side in pixels that decoding keeps, 0: as training chooses it."""

    noun = "picture"

    def __init__(
        self, image_size: int, channels: int, resample: str, *, augmented: bool = False, at_least: int = 0
    ) -> None:
        self.image_size, self.channels, self.resample = image_size, channels, resample
        self.augmented, self.at_least = augmented, at_least

    def check(self, config: Any) -> list[str]:
        """Whether the canvas is large enough; a line where it is too large."""
        size, canvas = self.image_size, self._canvas(config)
        if canvas < size:
            raise SourceError(f"data.canvas={canvas} is below the {size} pixels that the network sees")
        if canvas <= 1.5 * size:
            return []
        return [
            f"data.canvas={canvas} is far above the {size} pixels that the network sees: "
            "training pictures are sampled without antialiasing and look sharper than those measured"
        ]

    def read(self, table: Table, config: Any, say: Say) -> Read:
        """All pictures of a table, from the cache or decoded."""
        canvas = self._canvas(config)
        side = {"train": canvas, "val": self.image_size, "test": self.image_size}
        sizes = sorted(set(side.values()))
        at_least = self.at_least or max(2 * self.image_size, canvas)
        pictures = store.load(
            table,
            sizes,
            fit=config.fit,
            resample=self.resample,
            gray=self.channels == 1,
            workers=config.workers,
            cache=config.cache,
            host_budget=config.host_budget,
            max_pixels=config.max_pixels,
            at_least=at_least,
            shift=Shift.of(config.shift),
            say=say,
        )
        array_of = dict(zip(sizes, pictures.arrays, strict=True))
        return Read(
            {name: array_of[length] for name, length in side.items()},
            pictures.digests,
            pictures.bad,
            (side, config.fit, self.resample, pictures.channels),
            channels=pictures.channels,
            at_least=at_least,
        )

    def _canvas(self, config: Any) -> int:
        if not self.augmented:
            return self.image_size
        return config.canvas or -(-self.image_size * 8 // 7)
