"""The test predictions of several folds, measured together: each picture counts once.

Every fold has a network, a calibration and a threshold of its own, so outputs of two folds are not on one
scale. What ranks pictures (AUROC, average precision) is therefore measured on calibrated probabilities; what
needs a decision, on the decision of the picture's own fold.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from tl_jax import config as configs
from tl_jax import evaluation, tasks
from tl_jax.evaluation import Decision
from tl_jax.tasks import Task
from tl_jax.tasks.task import spread
from tl_jax.text_table import aligned, comma_separated, decimals
from tl_jax.workdir import Workdir, WorkdirError

RANKED = ("auroc", "average_precision", "sensitivity_at_95_specificity")


@dataclass(frozen=True)
class Fold:
    """A finished fold, or any run, and its predictions of a split: ``ids`` and ``groups`` (n,) str,
    ``labels`` (n, …) and ``logits`` (n, K) of its ``task``; ``rows`` are those of its CSV file, under
    ``header``."""

    name: str
    task: Task
    result: dict[str, Any]
    decision: Any
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    labels: np.ndarray
    logits: np.ndarray
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def read_fold(name: str, workdir: Workdir, split: str = "test") -> Fold:
    """What a finished fold left in its folder about a split. Raises WorkdirError where that does not fit
    together."""
    result = json.loads(workdir.result.read_text(encoding="utf-8"))
    classes = result["classes"]
    task = tasks.find(configs.from_json(workdir.config.read_text(encoding="utf-8")).task)
    with open(workdir.predictions(split), newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    decision = task.decision(result["decision"])
    k = task.columns(len(classes))
    if header[-k:] != [*task.answers(np.zeros((0, k)), decision, classes)][-k:]:
        raise WorkdirError(f"{workdir.predictions(split)} does not belong to {workdir.result}")
    # By place and not by name: a manifest's own columns may be called as ours are.
    labels, logits = task.read(rows, classes)
    return Fold(
        name=name,
        task=task,
        result=result,
        decision=decision,
        ids=tuple(row[0] for row in rows),
        groups=tuple(row[1] for row in rows),
        labels=labels,
        logits=logits,
        header=tuple(header),
        rows=tuple(map(tuple, rows)),
    )


def check(folds: Sequence[Fold]) -> None:
    """Raises WorkdirError if the folds are not parts of one data set, or share a picture or a group."""
    problems = []
    if len({tuple(fold.result["classes"]) for fold in folds}) > 1:
        problems.append("the folds have different classes")
    ids = Counter(name for fold in folds for name in fold.ids)
    groups = Counter(name for fold in folds for name in set(fold.groups))
    for what, counts in (("picture", ids), ("group", groups)):
        twice = [name for name, n in counts.items() if n > 1]
        if twice:
            problems.append(f"{len(twice)} of the {what}s are in the test split of two folds: {twice[:5]}")
    if problems:
        raise WorkdirError(
            f"the folds cannot be pooled: {'; '.join(problems)}. The data must have changed between them; "
            "choose a new --workdir"
        )


def measure(folds: Sequence[Fold], *, settings: Any) -> dict[str, Any]:
    """The measures of all test pictures together, as `evaluation.measure` gives them, with intervals over
    groups. ``settings`` is ``config.evaluation``. Raises WorkdirError as `check` does."""
    one = joined(folds)
    if one.task.kind != "classification":
        found = one.task.measure(
            one.logits,
            one.labels,
            np.array(one.groups),
            names=folds[0].result["classes"],
            decision=one.decision,
            settings=settings,
        )
        return {**found, "criterion": "each fold's own"}
    classes = folds[0].result["classes"]
    logits = np.concatenate([fold.logits for fold in folds])
    # All that is done with a decision's numbers holds for arrays with a number a picture.
    scale = _spread(folds, [[fold.decision.scale] for fold in folds])
    bias = _spread(folds, [fold.decision.bias for fold in folds])
    each = replace(one.decision, scale=cast(Any, scale), bias=cast(Any, bias))

    def measured(scores: np.ndarray, decision: Decision) -> dict[str, Any]:
        return evaluation.measure(
            scores, one.labels, np.array(one.groups), classes=classes, decision=decision, settings=settings
        )

    found, ranked = measured(logits, each), measured(one.logits, one.decision)
    found |= {name: ranked[name] for name in RANKED if name in ranked}
    for label, entries in found["per_class"].items():
        entries |= {name: ranked["per_class"][label][name] for name in RANKED if name in entries}
    return {**found, "threshold": None, "criterion": "each fold's own"}


def joined(folds: Sequence[Fold]) -> Fold:
    """All folds as one, each picture's logits calibrated by its own fold, and with that one's threshold.
    Raises WorkdirError as `check` does."""
    check(folds)
    first = folds[0]
    logits, decision = first.task.joined([fold.logits for fold in folds], [fold.decision for fold in folds])
    return replace(
        first,
        decision=decision,
        ids=tuple(name for fold in folds for name in fold.ids),
        groups=tuple(name for fold in folds for name in fold.groups),
        labels=np.concatenate([fold.labels for fold in folds]),
        logits=logits,
        rows=tuple(row for fold in folds for row in fold.rows),
    )


def _spread(folds: Sequence[Fold], values: Sequence[Any]) -> np.ndarray:
    """One value a fold → one a picture."""
    return spread(values, [len(fold.ids) for fold in folds])


def spread_over_folds(folds: Sequence[Fold]) -> dict[str, dict[str, Any]]:
    """Mean and standard deviation (n - 1) over folds of each measure; folds in which one is undefined are
    left out of it, and ``n`` counts the others."""
    found: dict[str, dict[str, Any]] = {}
    each = [values(fold) for fold in folds]
    for name in each[0]:
        defined = np.array([one[name] for one in each if one.get(name) is not None], np.float64)
        found[name] = {
            "mean": float(defined.mean()) if len(defined) else None,
            "sd": float(defined.std(ddof=1)) if len(defined) > 1 else None,
            "n": len(defined),
        }
    return found


def values(fold: Fold) -> dict[str, float | None]:
    """The overall test measures of one fold, without their intervals."""
    entries = fold.result["test"].items()
    return {name: one["value"] for name, one in entries if isinstance(one, dict) and "value" in one}


def predictions(folds: Sequence[Fold]) -> str:
    """The test predictions of all folds as CSV text, with the fold in front."""
    rows: list[list[Any]] = [["fold", *folds[0].header]]
    for fold in folds:
        rows.extend([fold.name, *row] for row in fold.rows)
    return comma_separated(rows)


def table(folds: Sequence[Fold], over: dict[str, dict[str, Any]]) -> str:
    """One line a fold, then mean ± standard deviation."""
    two = len(folds[0].result["classes"]) == 2
    rates = ("sensitivity", "specificity") if two else ()
    wanted = ("auroc", "accuracy", "balanced_accuracy", *rates, "nll", "rmse", "mae", "r2", "coverage")
    shown = [name for name in wanted if name in over]
    titles = {"accuracy": "accuracy at 0.5"} if two else {}
    rows = [["fold", "n", *(titles.get(name, name.replace("_", " ")) for name in shown)]]
    for fold in folds:
        cells = [decimals(values(fold)[name]) for name in shown]
        rows.append([fold.name, str(len(fold.ids)), *cells])
    rows.append(["mean ± sd", "", *(_mean(over[name]) for name in shown)])
    return "\n".join(aligned(rows))


def _mean(entry: dict[str, Any]) -> str:
    if entry["mean"] is None:
        return "–"
    return f"{entry['mean']:.4f}" + (f" ± {entry['sd']:.4f}" if entry["sd"] is not None else "")


def folder(root: Path, number: int) -> Workdir:
    """Where fold ``number`` of a cross-validation in ``root`` runs."""
    return Workdir(root / f"fold-{number}")
