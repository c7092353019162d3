"""Rows as text: with their columns aligned, for every table that people read, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any


def aligned(rows: Sequence[Sequence[str]], *, left: int | None = None) -> list[str]:
    """One line a row, indented by two; the first ``left`` columns (None: all) flush left, the others right.

    All rows have as many cells as the first. Trailing blanks are cut off.
    """
    columns = len(rows[0])
    left = columns if left is None else left
    widths = [max(len(row[i]) for row in rows) for i in range(columns)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines


def decimals(value: float | None) -> str:
    """A measure as a cell; a dash where it is undefined."""
    return "–" if value is None else f"{value:.4f}"


def comma_separated(rows: Iterable[Iterable[Any]]) -> str:
    """CSV text, one line a row."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()
