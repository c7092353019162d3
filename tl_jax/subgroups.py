"""Which pictures belong to which subgroup, and their measures side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tl_jax.data import Split
from tl_jax.data.sources.errors import listed, nearest, some
from tl_jax.text_table import aligned

MOST = 20
"""Values of a column above which numbers are cut into quarters, and words are refused."""

EMPTY = "(empty)"
"""What an empty cell is called."""

TWO = ("auroc", "sensitivity", "specificity", "accuracy_at_threshold")
MORE = ("auroc", "balanced_accuracy", "accuracy")


def find(pictures: Split, columns: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """Rows (m,) int of each value of each column: ``{"sex": {"f": …, "m": …}}``.

    A column of numbers with more than `MOST` values, such as an age, is cut into quarters of the pictures.
    Raises SourceError for what is no column, or has too many values.
    """
    known, problems, found = pictures.columns, [], {}
    for column in dict.fromkeys(columns):
        if column not in known:
            there = f"there are {some(list(known))}" if known else "these data have none beyond their labels"
            problems.append(f"--by={column}: no such column; {there}{nearest(column, known)}")
            continue
        values = np.array([str(value).strip() or EMPTY for value in known[column]])
        distinct = sorted(set(values.tolist()), key=_order)
        if len(distinct) > MOST:
            values, distinct = _quarters(values)
        if not distinct:
            problems.append(f"--by={column}: has more than {MOST} values that are not numbers")
        found[column] = {value: np.flatnonzero(values == value) for value in distinct}
    if problems:
        raise listed("the subgroups cannot be measured:", problems)
    return found


def table(column: str, measures: Mapping[str, Mapping[str, Any]], judged: str = "auroc") -> str:
    """One line a value: how many, and the chief measures with their intervals; ``judged`` is one of them, by
    which the rest are known where they are not those of classes."""
    first = next(iter(measures.values()))
    shown = [name for name in (TWO if first["positive"] is not None else MORE) if name in first]
    if judged not in shown:
        shown = [name for name, entry in first.items() if isinstance(entry, dict) and "value" in entry]
    rows = [[column, "n", "groups", *(name.replace("_", " ") for name in shown)]]
    for value, one in measures.items():
        rows.append([value, str(one["n"]), str(one["n_groups"]), *(_text(one[name]) for name in shown)])
    return "\n".join(aligned(rows))


def _text(entry: Mapping[str, Any]) -> str:
    if entry["value"] is None:
        return "undefined"
    if entry["low"] is None:
        return f"{entry['value']:.3f}"
    return f"{entry['value']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]"


def _quarters(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Each number's quarter, such as "41…56", and the quarters; none where words are among them."""
    filled = values != EMPTY
    try:
        numbers = np.array([float(value.replace(",", ".")) for value in values[filled]])
    except ValueError:
        return values, []
    if not np.isfinite(numbers).all():
        return values, []
    edges = np.unique(np.quantile(numbers, [0.25, 0.5, 0.75], method="inverted_cdf"))
    part = np.searchsorted(edges, numbers)
    names = {int(p): f"{numbers[part == p].min():g}…{numbers[part == p].max():g}" for p in np.unique(part)}
    found = np.full(len(values), EMPTY, dtype="U64")
    found[filled] = [names[int(p)] for p in part]
    return found, [*names.values(), *([] if filled.all() else [EMPTY])]


def _order(value: str) -> tuple[bool, float, str]:
    """Numbers by size, then words; what is empty last."""
    try:
        return value == EMPTY, float(value), value
    except ValueError:
        return value == EMPTY, float("inf"), value
