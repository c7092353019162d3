"""The measures of test and validation side by side, with their remarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tl_jax.evaluation.estimate import Estimate
from tl_jax.evaluation.table import PER_CLASS, TITLES, several, title
from tl_jax.report.evidence import Evidence
from tl_jax.report.table import Column, Table, Value

_SPLITS = {"test": "test", "val": "validation"}
_MOST_CLASSES = 8
"""Of more classes a table of counts tells the smallest and the largest."""


def table(evidence: Evidence) -> Table:
    """A row a measure; why one is undefined, and what to mind about it, stands in the notes."""
    result = evidence.result
    rows: list[list[Value]] = []
    remarks: dict[str, dict[str, None]] = {}
    for name, entry in result["test"].items():
        if not (isinstance(entry, Mapping) and "value" in entry):
            continue
        called = named(evidence, name)
        rows.append([called, *(Estimate.of(result[split][name]) for split in _SPLITS)])
        for split, where in _SPLITS.items():
            for text in _remarks(result[split][name], result[split]["interval"]):
                remarks.setdefault(f"{where}, {text}", {})[called] = None
    notes = [f"{_some(list(names))}: {text}" for text, names in remarks.items()]
    columns = [Column("measure"), *(Column(split, where) for split, where in _SPLITS.items())]
    return Table(columns, rows, notes=[f"Intervals: {result['test']['interval']}.", *notes])


def named(evidence: Evidence, name: str, split: str = "test") -> str:
    """What an overall measure is called, for people."""
    k = len(evidence.classes)
    if evidence.task.kind == "classification":
        return title(name, evidence.result[split], k > 2)
    return several(name) + (", mean" if k > 1 else "")


def _remarks(entry: Mapping[str, Any], interval: str) -> list[str]:
    found = [] if entry.get("why", interval) == interval else [entry["why"]]
    if "undefined_replicates" in entry:
        found.append(f"undefined in {entry['undefined_replicates']} resamples, which are left out")
    return [*found, *([entry["note"]] if "note" in entry else [])]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def by_class(evidence: Evidence) -> Table | None:
    """Of more than two classes, each against the rest on the test split."""
    test = evidence.result["test"]
    if len(evidence.classes) < 3:
        return None
    shown = [name for name in PER_CLASS if name in test["per_class"][evidence.classes[0]]]
    columns = [Column("class"), Column("n"), *(Column(name, TITLES.get(name, name)) for name in shown)]
    rows = [
        [name, test["counts"][name], *(Estimate.of(test["per_class"][name][one]) for one in shown)]
        for name in evidence.classes
    ]
    return Table(columns, rows, "Each class against the rest, test")


def counts(evidence: Evidence) -> Table | None:
    """Pictures, groups and classes by split; None for the run of an older version, which kept no counts."""
    counts = evidence.result["data"].get("counts")
    if counts is None:
        return None
    if evidence.task.kind != "classification":
        return _counts_of_several(counts)
    each = len(evidence.classes) <= _MOST_CLASSES
    named = evidence.classes if each else ("smallest class", "largest class")
    columns = [Column("split"), Column("pictures"), Column("groups")]
    columns += [Column(f"class_{number}", name) for number, name in enumerate(named)]
    rows: list[list[Value]] = []
    for split, one in counts.items():
        by_class = list(one["classes"].values())
        numbers = by_class if each else [min(by_class), max(by_class)]
        rows.append([_SPLITS.get(split, split), sum(by_class), one["groups"], *numbers])
    return Table(columns, rows)


def _counts_of_several(counts: Mapping[str, Any]) -> Table:
    """Of findings: how many examples have each, and of how many nobody knows; of numbers, how many."""
    columns = [Column("split"), Column("examples"), Column("groups")]
    first = next(iter(counts.values()))
    sums = [name for name in ("tokens",) if name in first]
    columns += [Column(name, f"{name} to write") for name in sums]
    kinds = [kind for kind in ("findings", "numbers", "missing") if kind in first]
    for kind in kinds:
        for number, name in enumerate(first[kind]):
            columns.append(Column(f"{kind}_{number}", f"{name}, missing" if kind == "missing" else name))
    rows: list[list[Value]] = [
        [
            _SPLITS.get(split, split),
            one["n"],
            one["groups"],
            *(one[name] for name in sums),
            *(n for kind in kinds for n in one[kind].values()),
        ]
        for split, one in counts.items()
    ]
    return Table(columns, rows)
