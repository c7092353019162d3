"""A table whose cells are still values: as text for a terminal, as CSV, as JSON; pages sort it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from tl_jax.evaluation.estimate import UNKNOWN, Estimate
from tl_jax.text_table import aligned, comma_separated


class Link(str):
    """Words that lead somewhere on a page: ``href`` is relative to it. Elsewhere they are words."""

    href: str

    def __new__(cls, text: str, href: str) -> Link:
        self = super().__new__(cls, text)
        self.href = href
        return self


Value = str | int | float | None | Estimate
"""What a cell may hold; a `Link` is a str."""


@dataclass(frozen=True)
class Column:
    """``key`` names it in files, ``title`` for people (default: the key). ``form`` is the format of its
    numbers, as after the colon of an f-string."""

    key: str
    title: str = ""
    form: str = ".4f"

    def text(self, value: Value) -> str:
        """A cell for people."""
        if isinstance(value, Estimate):
            return value.text(self.form)
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return UNKNOWN
        if isinstance(value, str):
            return value
        return f"{value:,}" if isinstance(value, int) else f"{value:{self.form}}"


@dataclass(frozen=True)
class Table:
    """``rows`` have a value for each column. ``notes`` are lines that stand below."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]
    title: str = ""
    notes: Sequence[str] = ()

    def text(self) -> str:
        """For a terminal: columns of words flush left where they come first, all others right."""
        words = [all(isinstance(row[i], str) for row in self.rows) for i in range(len(self.columns))]
        left = next((i for i, flush in enumerate(words) if not flush), len(words))
        cells = [
            [column.text(value) for column, value in zip(self.columns, row, strict=True)] for row in self.rows
        ]
        lines = aligned([self.titles, *cells], left=left)
        lines = [self.title, *lines] if self.title else lines
        return "\n".join([*lines, "", *self.notes] if self.notes else lines)

    @property
    def titles(self) -> list[str]:
        return [column.title or column.key for column in self.columns]

    def is_numeric(self, column: int) -> bool:
        """Whether a column holds numbers, or nothing."""
        return not any(isinstance(row[column], str) for row in self.rows)

    def csv(self) -> str:
        """Numbers unrounded; an estimate takes three columns, KEY, KEY_low and KEY_high."""
        wide = [any(isinstance(row[i], Estimate) for row in self.rows) for i in range(len(self.columns))]
        header: list[str] = []
        for column, three in zip(self.columns, wide, strict=True):
            header += [f"{column.key}{end}" for end in (("", "_low", "_high") if three else ("",))]
        lines: list[list[Any]] = [header]
        for row in self.rows:
            line: list[Any] = []
            for value, three in zip(row, wide, strict=True):
                if isinstance(value, Estimate):
                    line += [plain(number) for number in (value.value, value.low, value.high)]
                else:
                    line += [plain(value), *((None, None) if three else ())]
            lines.append(line)
        return comma_separated(lines)

    def plain(self) -> list[dict[str, Any]]:
        """For JSON: a mapping a row."""
        keys = [column.key for column in self.columns]
        return [plain(dict(zip(keys, row, strict=True))) for row in self.rows]


def plain(value: Any) -> Any:
    """A value as JSON takes it: what is not finite is null, a dataclass a mapping."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
