"""Rows of pictures, as every source collects and checks them, and the table made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from tl_jax.data.sources import splits as given
from tl_jax.data.sources.errors import listed
from tl_jax.data.sources.files import Files
from tl_jax.data.sources.groups import by_pattern
from tl_jax.data.table import Table


@dataclass
class Rows:
    """Lists of equal length, one entry a picture; ``problems`` are what is wrong, ``notes`` what to tell.

    ``inner`` is what `groups.by_pattern` searches after the file's name. ``groups`` is None where the
    source names none. Where there are ``names``, ``targets`` has a number for each in every row, and labels
    are empty.
    """

    paths: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    inner: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    targets: list[list[float]] = field(default_factory=list)
    names: tuple[str, ...] = ()
    splits: list[str] = field(default_factory=list)
    groups: list[str] | None = None
    columns: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    caveat: str = ""

    def check(self, config: Any, head: str, advice: str = "", *, training: bool) -> None:
        """Raises SourceError with all problems; when ``training``, those of given splits too."""
        if training and not config.fold:
            self.problems += given.problems(self.labels, self.splits, config.classes)
        if self.problems:
            raise listed(head, self.problems, advice)

    def find_groups(self, pattern: str) -> None:
        """Fills ``groups`` by a regular expression, if there is one."""
        if pattern:
            self.groups, notes = by_pattern(self.ids, self.inner, pattern)
            self.notes += notes


def files(rows: Rows, config: Any, *, dicom: bool = False) -> Files:
    """The reader of rows that are files. ``dicom``: every one is DICOM, whatever it is called."""
    return Files(tuple(rows.paths), tuple(rows.ids), int(config.max_pixels), tuple(config.window), dicom)


class Source(Protocol):
    """What reads example i of a table, and says of which content it is (see `Table`)."""

    def read(self, i: int, at_least: tuple[int, int] | None = None) -> Any: ...

    def stamp(self, i: int) -> str: ...


def table(rows: Rows, source: Source) -> Table:
    """The table of checked rows whose examples ``source`` reads."""
    return Table(
        ids=_text(rows.ids),
        labels=_text(rows.labels),
        groups=_text(rows.ids if rows.groups is None else rows.groups),
        splits=_text(rows.splits),
        read=source.read,
        stamp=source.stamp,
        columns={name: _text(values) for name, values in rows.columns.items()},
        grouped=rows.groups is not None,
        notes=tuple(rows.notes),
        caveat=rows.caveat,
        targets=np.array(rows.targets, np.float64).reshape(-1, len(rows.names)) if rows.names else None,
        names=rows.names,
    )


def _text(values: Sequence[str]) -> np.ndarray:
    return np.array(values, dtype=str)
