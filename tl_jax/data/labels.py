"""What the labels of a data set are: one class an example, findings that are there or not, or numbers.

A kind turns a table into what `load` works with: names (of classes, findings, or numbers), a stratum for each
row, by which splits are cut, and the array that a split holds. Missing values are NaN, and stay so: a task
leaves them out. Sentences are in `tl_jax.data.sentences`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from tl_jax.data import checks
from tl_jax.data.sources.errors import SourceError, counted, listed, nearest, some
from tl_jax.data.table import SPLITS, Table
from tl_jax.text_table import aligned

NEGATIVE = "none of them"
"""The stratum of examples without a finding."""

QUARTERS = 4
"""Strata of numbers."""


class Labels(Protocol):
    """A kind of labels. All raise SourceError for what a table lacks.

    ``read(table, config)``: the table with its strata as ``labels``, the names, and notes; ``check(table,
    where, names, bad)`` refuses splits that cannot be learned from; ``counts(table, where, names)`` are lines
    for people, ``array(table, rows, names)`` labels of a split, and ``summary(labels, names)`` what
    result.json says of it.
    """

    def read(self, table: Table, config: Any) -> tuple[Table, tuple[str, ...], list[str]]: ...

    def check(self, table: Table, where: np.ndarray, names: Sequence[str], bad: Any = None) -> None: ...

    def counts(self, table: Table, where: np.ndarray, names: Sequence[str]) -> list[str]: ...

    def array(self, table: Table, rows: np.ndarray, names: Sequence[str]) -> np.ndarray: ...

    def summary(self, labels: np.ndarray, names: Sequence[str]) -> dict[str, Any]: ...


class Classes:
    """One of several classes an example: (n,) int32. ``config.classes`` limits and orders them."""

    def read(self, table: Table, config: Any) -> tuple[Table, tuple[str, ...], list[str]]:
        if table.targets is not None:
            raise SourceError(
                "data.columns.labels names several columns, and the task learns one class an example: set "
                "data.columns.label, or task to 'multi_label' or 'regression'"
            )
        notes: list[str] = []
        if config.classes:
            table, notes = _limited(table, config.classes)
        return table, tuple(config.classes) or tuple(sorted(set(table.labels.tolist()))), notes

    def check(self, table: Table, where: np.ndarray, names: Sequence[str], bad: Any = None) -> None:
        checks.check_labels(table.labels, where, names, bad, noun=table.noun)

    def counts(self, table: Table, where: np.ndarray, names: Sequence[str]) -> list[str]:
        return [
            *checks.counts(table.labels, where, names),
            *checks.unmeasured(table.labels, where, names, table.noun),
        ]

    def array(self, table: Table, rows: np.ndarray, names: Sequence[str]) -> np.ndarray:
        number = {label: i for i, label in enumerate(names)}
        return np.array([number[label] for label in table.labels[rows].tolist()], np.int32)

    def summary(self, labels: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
        counts = np.bincount(labels, minlength=len(names)).tolist()
        return {"classes": dict(zip(names, counts, strict=True))}


class Findings:
    """Several findings an example, each 1, 0, or missing: (n, K) float32. -1, which some data sets write
    where a reader was not sure, is taken as missing (U-Ignore of Irvin et al. 2019, CheXpert).

    Rows are split by the rarest finding that they have.
    """

    def read(self, table: Table, config: Any) -> tuple[Table, tuple[str, ...], list[str]]:
        values, names = _targets(table, config, "findings, each 1, 0 or empty")
        strange = [
            f"{table.ids[i]}, {names[k]!r}: {values[i, k]:g}"
            for i, k in np.argwhere(~np.isnan(values) & ~np.isin(values, (-1, 0, 1)))
        ]
        if strange:
            raise listed(
                "findings are 1, 0, -1 (not sure) or empty:", [some(strange)], "Or set task='regression'."
            )
        doubtful = int((values == -1).sum())
        values = np.where(values == -1, np.nan, values)
        missing = int(np.isnan(values).sum()) - doubtful
        notes = [f"{counted(doubtful, 'finding')} of -1 (not sure) taken as missing"] * bool(doubtful)
        notes += [f"{counted(missing, 'finding')} of {values.size:,} missing, and left out"] * bool(missing)
        often = (values == 1).sum(axis=0)
        rare = np.argsort(often, kind="stable")
        has = values[:, rare] == 1
        first = np.array(names)[rare][has.argmax(axis=1)]
        strata = np.where(has.any(axis=1), first, NEGATIVE)
        return replace(table, targets=values, labels=strata.astype(str)), names, notes

    def check(self, table: Table, where: np.ndarray, names: Sequence[str], bad: Any = None) -> None:
        assert table.targets is not None
        train = table.targets[where == "train"]
        problems = checks.empty_splits(where, table.noun)
        for k, name in enumerate(names):
            for value, called in ((1, "with"), (0, "without")):
                if len(train) and not (train[:, k] == value).any():
                    problems.append(f"train has no {table.noun} {called} {name!r}: nothing is to be learned")
        checks.refuse(problems, bad, table.noun)

    def counts(self, table: Table, where: np.ndarray, names: Sequence[str]) -> list[str]:
        assert table.targets is not None
        rows = [["", *(f"{split} with / without / missing" for split in SPLITS)]]
        for k, name in enumerate(names):
            cells = []
            for split in SPLITS:
                column = table.targets[where == split, k]
                with_, without = int((column == 1).sum()), int((column == 0).sum())
                cells.append(f"{with_} / {without} / {len(column) - with_ - without}")
            rows.append([name, *cells])
        lines = aligned([*rows, ["all", *(str(int((where == split).sum())) for split in SPLITS)]], left=1)
        for split in SPLITS[1:]:
            column = table.targets[where == split]
            bare = [
                name
                for k, name in enumerate(names)
                if not {0, 1} <= set(column[~np.isnan(column[:, k]), k].tolist())
            ]
            if bare:
                lines.append(f"{split} has not both kinds of {some(bare)}: some measures are undefined there")
        return lines

    def array(self, table: Table, rows: np.ndarray, names: Sequence[str]) -> np.ndarray:
        assert table.targets is not None
        return table.targets[rows].astype(np.float32)

    def summary(self, labels: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
        return {
            "n": len(labels),
            "findings": dict(zip(names, (labels == 1).sum(axis=0).tolist(), strict=True)),
            "missing": dict(zip(names, np.isnan(labels).sum(axis=0).tolist(), strict=True)),
        }


class Numbers:
    """One or more numbers an example, in units of their own: (n, T) float32, NaN where missing. Rows are
    split by the quarter that the first of them falls into."""

    def read(self, table: Table, config: Any) -> tuple[Table, tuple[str, ...], list[str]]:
        values, names = _targets(table, config, "numbers")
        first = values[:, 0]
        there = ~np.isnan(first)
        edges = np.quantile(first[there], np.linspace(0, 1, QUARTERS + 1)[1:-1]) if there.any() else []
        quarter = np.searchsorted(edges, first, side="right")
        strata = np.where(there, np.char.add("quarter ", (quarter + 1).astype(str)), "missing")
        missing = int(np.isnan(values).sum())
        notes = [f"{counted(missing, 'number')} of {values.size:,} missing, and left out"] * bool(missing)
        return replace(table, targets=values, labels=strata.astype(str)), names, notes

    def check(self, table: Table, where: np.ndarray, names: Sequence[str], bad: Any = None) -> None:
        assert table.targets is not None
        train = table.targets[where == "train"]
        problems = checks.empty_splits(where, table.noun)
        for k, name in enumerate(names):
            if len(train) and len(np.unique(train[~np.isnan(train[:, k]), k])) < 2:
                problems.append(f"{name!r} has fewer than two different values in train")
        checks.refuse(problems, bad, table.noun)

    def counts(self, table: Table, where: np.ndarray, names: Sequence[str]) -> list[str]:
        assert table.targets is not None
        rows = [["", *(f"{split} n, mean ± sd" for split in SPLITS)]]
        for k, name in enumerate(names):
            cells = []
            for split in SPLITS:
                column = table.targets[where == split, k]
                column = column[~np.isnan(column)]
                spread = f", {column.mean():.4g} ± {column.std():.4g}" if len(column) else ""
                cells.append(f"{len(column)}{spread}")
            rows.append([name, *cells])
        return aligned(rows, left=1)

    def array(self, table: Table, rows: np.ndarray, names: Sequence[str]) -> np.ndarray:
        assert table.targets is not None
        return table.targets[rows].astype(np.float32)

    def summary(self, labels: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
        there = (~np.isnan(labels)).sum(axis=0).tolist()
        return {"n": len(labels), "numbers": dict(zip(names, there, strict=True))}


CLASSES, FINDINGS, NUMBERS = Classes(), Findings(), Numbers()


def _limited(table: Table, classes: Sequence[str]) -> tuple[Table, list[str]]:
    """The rows of these classes."""
    have = set(table.labels.tolist())
    absent = [name for name in classes if name not in have]
    if absent:
        raise SourceError(
            f"data.classes names {some(absent)}, which no {table.noun} has; there are "
            f"{some(sorted(have))}{nearest(absent[0], have)}"
        )
    if len(set(classes)) < len(classes):
        raise SourceError(f"data.classes names a class twice: {some(list(classes))}")
    rows = np.flatnonzero(np.isin(table.labels, list(classes)))
    if len(rows) == len(table):
        return table, []
    left_out = f"data.classes leaves out {counted(len(table) - len(rows), table.noun)}"
    return table.take(rows), [left_out]


def _targets(table: Table, config: Any, what: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Values (n, T) float64 and the names of the columns."""
    if table.targets is None:
        raise SourceError(
            f"the task learns {what}, and data.source={config.source!r} gives one class an example: take a "
            "CSV file and name its columns in data.columns.labels, or a function that fills Table.targets"
        )
    bare = [str(name) for name in table.ids[np.isnan(table.targets).all(axis=1)]]
    if len(bare) == len(table):
        raise SourceError(f"not one row has a value in {some(list(table.names))}")
    return table.targets, tuple(table.names)
