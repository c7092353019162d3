"""What is asked of every data set before anything is trained, and what is told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from tl_jax.data.sources.errors import counted, listed, some
from tl_jax.data.table import SPLITS, Table
from tl_jax.text_table import aligned

_SHOWN = 20  # of a list in an error
_LINES = 30  # classes whose counts are printed one by one


def check_table(table: Table) -> None:
    """Raises SourceError for what is wrong with the form of a table: a user may have written its source."""
    n, problems = len(table), []
    columns = {name: getattr(table, name) for name in ("ids", "labels", "groups", "splits")}
    for name, column in (columns | dict(table.columns)).items():
        if not isinstance(column, np.ndarray) or column.shape != (n,):
            problems.append(f"{name} is not an array of {n} entries, as ids are")
        elif name in columns and column.dtype.kind != "U":
            problems.append(f"{name} holds {column.dtype}, not str: use np.array(…, dtype=str)")
    if table.targets is not None and table.targets.shape != (n, len(table.names)):
        shape = f"{table.targets.shape}, not (rows, names) = {(n, len(table.names))}"
        problems.append(f"targets have the shape {shape}")
    if not problems:
        twice = [name for name, number in Counter(table.ids.tolist()).items() if number > 1]
        if twice:
            problems.append(f"ids are not unique: {some(twice)}")
        strange = sorted(set(table.splits.tolist()) - {*SPLITS, ""})
        if strange:
            problems.append(f"splits are called {some(strange)}; they may be {some(SPLITS)}, or empty")
    if not n:
        problems.append(f"it holds no {table.noun}")
    if problems:
        raise listed("the data set cannot be used:", problems)


def unusable(table: Table, bad: Mapping[int, str], policy: str) -> list[str]:
    """What stops the run: bad examples that may not be skipped, or nothing but bad ones."""
    if bad and policy == "error":
        shown = [*list(bad.values())[:_SHOWN], *([f"and {len(bad) - _SHOWN:,} more"] * (len(bad) > _SHOWN))]
        advice = "Mend or remove them, or leave them out with --config.data.on_bad_image=skip."
        return [str(listed(f"{counted(len(bad), table.noun)} cannot be used:", shown, advice))]
    if len(bad) == len(table):
        return [f"not one {table.noun} can be used; the first: {next(iter(bad.values()))}"]
    return []


def skipped(bad: Mapping[int, str], noun: str = "picture") -> list[str]:
    """Lines that count and name the examples passed over; ``bad``: row → what is wrong."""
    if not bad:
        return []
    return [f"skipped {counted(len(bad), noun)} that cannot be used:", *(f"  {why}" for why in bad.values())]


def check_labels(
    labels: np.ndarray,
    where: np.ndarray,
    classes: Sequence[str],
    bad: Mapping[int, str] | None = None,
    *,
    noun: str = "picture",
) -> None:
    """Raises SourceError where a split is empty, or train lacks a class; it names the examples that were
    skipped, ``bad``, which may be why."""
    problems = empty_splits(where, noun)
    here = Counter(labels[where == "train"].tolist())
    if here:
        absent = [label for label in classes if not here[label]]
        problems += [f"class {label!r} has no {noun} in train" for label in absent[:_SHOWN]]
        if len(absent) > _SHOWN:
            problems.append(f"nor have {len(absent) - _SHOWN:,} more classes")
    if len(classes) < 2:
        problems.append(f"there is one class only ({some(list(classes))}); nothing can be told apart")
    refuse(problems, bad, noun)


def refuse(problems: Sequence[str], bad: Mapping[int, str] | None, noun: str = "picture") -> None:
    """Raises SourceError where there are problems with the splits; ``bad`` may be why."""
    if problems:
        raise listed("the splits cannot be used:", problems, "\n".join(skipped(bad or {}, noun)))


def empty_splits(where: np.ndarray, noun: str = "picture") -> list[str]:
    """What is wrong with splits (n,) that hold nothing."""
    return [
        f"{name} has no {noun}; give it some, or cut the splits by data.fractions"
        for name in SPLITS
        if not (where == name).any()
    ]


def counts(labels: np.ndarray, where: np.ndarray, classes: Sequence[str]) -> list[str]:
    """The table of counts by class and split; of many classes, the smallest and the largest count."""
    counts = {name: Counter(labels[where == name].tolist()) for name in SPLITS}
    body = [[label, *(str(counts[name][label]) for name in SPLITS)] for label in classes]
    if len(classes) > _LINES:
        by_split = [[counts[name][label] for label in classes] for name in SPLITS]
        body = [[f"each of {len(classes):,} classes", *(f"{min(c)}…{max(c)}" for c in by_split)]]
    rows = [["", *SPLITS], *body, ["all", *(str(counts[name].total()) for name in SPLITS)]]
    return aligned(rows, left=1)


def unmeasured(
    labels: np.ndarray, where: np.ndarray, classes: Sequence[str], noun: str = "picture"
) -> list[str]:
    """Lines that tell which classes val and test lack."""
    lines = []
    for name in SPLITS[1:]:
        absent = sorted(set(classes) - set(labels[where == name].tolist()), key=list(classes).index)
        if absent:
            lines.append(f"{name} has no {noun} of {some(absent)}: some measures are undefined there")
    return lines
