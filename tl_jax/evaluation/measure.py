"""The measures of one split: every number with its interval, or with the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tl_jax.evaluation import metrics, remarks
from tl_jax.evaluation.bootstrap import Resampling, percentiles, reflected
from tl_jax.evaluation.check import checked
from tl_jax.evaluation.decision import Decision
from tl_jax.evaluation.metrics import Floats
from tl_jax.evaluation.statistics import Statistics, Values

Entry = dict[str, Any]
"""``value``, ``low``, ``high``: numbers or None; ``why`` if one is None; ``undefined_replicates`` if any;
``note`` where a number needs a word of warning."""

Path = tuple[str] | tuple[int, str]
"""A measure: (name,), or (class, name)."""

MOST_UNDEFINED = 0.5
"""An interval needs at least this share of the replicates to be defined."""

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
    resampling = Resampling(groups, replicates=settings.bootstrap, seed=settings.seed)
    paths, point = _flat(*statistics(np.ones((n, 1))))
    missing = _no_interval(resampling)
    chunks = () if missing else [_flat(*statistics(weights))[1] for weights in resampling]
    replicates = np.concatenate(chunks) if chunks else None
    entries = _entries(paths, point[0], replicates, missing)
    for path, entry in entries.items():
        _remark(path, entry, statistics, groups, classes)
    if not ranked:
        reason = f"left out: {k} classes × {n} examples × {resampling.replicates} replicates take too long"
        for name in ("auroc", "average_precision"):
            entries[(name,)] = {"value": None, "low": None, "high": None, "why": reason}
    return {
        **{path[0]: entry for path, entry in entries.items() if len(path) == 1},
        "per_class": {
            name: {path[1]: entry for path, entry in entries.items() if path[0] == c and len(path) == 2}
            for c, name in enumerate(classes)
        },
        "confusion": _confusion(statistics, classes),
        "n": n,
        "n_groups": resampling.groups,
        "counts": dict(zip(classes, np.bincount(labels, minlength=k).tolist(), strict=True)),
        "positive": classes[decision.positive] if k == 2 else None,
        "threshold": decision.threshold,
        "criterion": decision.criterion,
        "prevalence": settings.prevalence if settings.prevalence >= 0 else None,
        "interval": missing
        or f"95 % percentile bootstrap, {resampling.replicates} resamples of {resampling.groups} groups",
    }


def _flat(overall: Values, per_class: Values) -> tuple[list[Path], Floats]:
    """Paths of all measures, and their values (R, measures)."""
    paths: list[Path] = [(name,) for name in overall]
    columns = list(overall.values())
    for name, values in per_class.items():
        paths += [(c, name) for c in range(len(values))]
        columns += list(values)
    return paths, np.stack(columns, axis=1)


def _no_interval(resampling: Resampling) -> str:
    """Why there can be no interval, or ""."""
    if resampling.replicates < 1:
        return "no interval: evaluation.bootstrap is 0"
    if resampling.groups < 2:
        return f"no interval: groups to resample: {resampling.groups}, and there must be at least two"
    return ""


def _entries(paths: list[Path], point: Floats, replicates: Floats | None, missing: str) -> dict[Path, Entry]:
    """Values with their intervals."""
    entries: dict[Path, Entry] = {
        path: {"value": float(value) if value == value else None, "low": None, "high": None}
        for path, value in zip(paths, point, strict=True)
    }
    if replicates is None:
        for entry in entries.values():
            entry["why"] = missing
        return entries
    low, high, undefined = percentiles(replicates)
    noisy = np.array([remarks.base(path[-1]) == "ece" for path in paths])
    low[noisy], high[noisy] = reflected(low[noisy], high[noisy], point[noisy])
    for column, entry in enumerate(entries.values()):
        if entry["value"] is None:
            continue
        if undefined[column]:
            entry["undefined_replicates"] = int(undefined[column])
        if undefined[column] > MOST_UNDEFINED * len(replicates):
            entry["why"] = f"no interval: undefined in {undefined[column]} of {len(replicates)} resamples"
        else:
            entry["low"], entry["high"] = float(low[column]), float(high[column])
    return entries


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
