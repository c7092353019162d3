"""The measures of one split: every number with its interval, or with the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tl_jax.evaluation import metrics, remarks
from tl_jax.evaluation.check import checked
from tl_jax.evaluation.decision import Decision
from tl_jax.evaluation.intervals import Entry, Path, measured, nested
from tl_jax.evaluation.statistics import Statistics

WORK = 5_000_000_000
"""Examples × classes × replicates above which rankings are left out: half a minute on one core."""


def measure(
    logits: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike | None,
    *,
    classes: Sequence[str],
    decision: Decision,
    settings: Any,
) -> dict[str, Any]:
    """Measures logits (n, K) against labels (n,) int, with 95 % intervals over groups (n,).

    Returns what `json.dump` takes: an `Entry` under each measure's name; ``per_class`` (class name →
    measure → entry), ``confusion``, ``n``, ``n_groups``, ``counts`` (class name → examples), and how it
    was done: ``positive``, ``threshold``, ``criterion``, ``interval``. ``docs/evaluation.md`` says what each
    number means. ``settings`` has ``bootstrap`` (replicates; 0 = no intervals), ``seed`` and ``prevalence``
    (< 0 = not asked for). Wrong shapes, labels or logits are listed in one ValueError.
    """
    logits, labels, groups = checked(logits, labels, groups, classes)
    if settings.prevalence > 1:
        raise ValueError(f"evaluation.prevalence={settings.prevalence} is a share: give 0…1, or -1 for none")
    n, k = logits.shape
    ranked = n * k * max(1, settings.bootstrap) <= WORK
    statistics = Statistics(logits, labels, decision, settings.prevalence, ranked=ranked)
    entries, resampling, how = measured(statistics, groups, settings)
    for path, entry in entries.items():
        _remark(path, entry, statistics, groups, classes)
    if not ranked:
        reason = f"left out: {k} classes × {n} examples × {resampling.replicates} replicates take too long"
        for name in ("auroc", "average_precision"):
            entries[(name,)] = {"value": None, "low": None, "high": None, "why": reason}
    return {
        **nested(entries, tuple(classes)),
        "confusion": _confusion(statistics, classes),
        "n": n,
        "n_groups": resampling.groups,
        "counts": dict(zip(classes, np.bincount(labels, minlength=k).tolist(), strict=True)),
        "positive": classes[decision.positive] if k == 2 else None,
        "threshold": decision.threshold,
        "criterion": decision.criterion,
        "prevalence": settings.prevalence if settings.prevalence >= 0 else None,
        "interval": how,
    }


def _remark(
    path: Path, entry: Entry, statistics: Statistics, groups: NDArray, classes: Sequence[str]
) -> None:
    """Adds why a value is undefined, or what to mind about it."""
    if entry["value"] is None:
        entry["why"] = remarks.why(path[-1], statistics)
        return
    notes = []
    if len(path) == 1:
        notes.append(remarks.left_out(path[0], statistics, classes))
    if entry["low"] is not None and entry["low"] == entry["high"]:
        notes.append(remarks.certainty(path, entry["value"], statistics, groups))
    if any(notes):
        entry["note"] = "; ".join(note for note in notes if note)


def _confusion(statistics: Statistics, classes: Sequence[str]) -> dict[str, Any]:
    """Confusion matrices, rows the truth and columns the decision."""
    names = ("at_0.5", "at_threshold") if statistics.k == 2 else ("argmax", "argmax_calibrated")
    found: dict[str, Any] = {"classes": list(classes), "rows": "truth", "columns": "decision"}
    for name, decided in zip(names, (statistics.at_half, statistics.decided), strict=True):
        matrix = metrics.confusion(statistics.labels, decided, statistics.k)
        found[name] = matrix.astype(int).tolist()
    return found
