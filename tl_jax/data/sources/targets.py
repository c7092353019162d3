"""Columns of numbers that are learned, in the place of one label: findings, or measured values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

MISSING = ("", "na", "n/a", "nan", "none", "null")
"""What is written, in any capitals, where nobody has looked or measured."""


def columns(names: Mapping[str, str | Sequence[str]]) -> tuple[dict[str, str], tuple[str, ...]]:
    """``data.columns`` with a key for each entry of its ``labels``, which take the place of ``label``; and
    these entries."""
    labels = tuple(names["labels"])
    found = {key: str(name) for key, name in names.items() if key != "labels"}
    if labels:
        found["label"] = ""
    return {**found, **{f"labels[{i}]": name for i, name in enumerate(labels)}}, labels


def parse(
    cells: Mapping[str, str], names: Sequence[str], line: str, problems: dict[str, list[str]]
) -> list[float]:
    """The numbers of one row, NaN where `MISSING`. ``problems``: kind → where, gets those
    that are none."""
    return [_number(name, cells[name].strip(), line, problems) for name in names]


def _number(name: str, cell: str, line: str, problems: dict[str, list[str]]) -> float:
    if cell.lower() in MISSING:
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.inf
    if not math.isfinite(value):
        problems.setdefault(f"no number in {name!r}", []).append(f"{cell!r} ({line})")
        return math.nan
    return value
