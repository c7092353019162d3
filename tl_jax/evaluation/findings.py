"""Several findings an example, each there or not, or not known: every one is measured as two classes are.

A finding counts where it is known, and means over findings take all that are defined in the sample. So an
example whose report says nothing about a finding neither helps nor hurts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tl_jax.evaluation import metrics, remarks
from tl_jax.evaluation.decision import Decision, decide, fit_decision, probabilities
from tl_jax.evaluation.intervals import Entry, Path, measured, nested
from tl_jax.evaluation.metrics import Floats
from tl_jax.evaluation.ranking import auroc
from tl_jax.evaluation.statistics import Statistics, Values

HIGHER_IS_BETTER = {"nll": False, "auroc": True}
"""What `quick` measures, and so what ``select.metric`` may name."""

ABSENT, PRESENT = "absent", "present"

MEASURES = (
    *("auroc", "average_precision", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv", "f1"),
    *("sensitivity_at_95_specificity", "nll", "nll_calibrated", "brier", "brier_calibrated"),
    *("ece", "ece_calibrated"),
)
"""Of those of two classes; decisions are those at each finding's own threshold."""


@dataclass(frozen=True)
class Decisions:
    """A `Decision` for each finding, with what a reader should know of them."""

    each: tuple[Decision, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"each": [one.to_dict() for one in self.each], "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Decisions:
        """The inverse of `to_dict`."""
        return cls(tuple(Decision.from_dict(one) for one in values["each"]), tuple(values["notes"]))


def quick(logits: ArrayLike, labels: ArrayLike) -> dict[str, float | None]:
    """Of logits (n, K) and labels (n, K), 1, 0 or NaN: NLL of all that is known, in nats each, and AUROC, the
    mean over the findings that have both kinds. None where undefined, or where a logit is not finite."""
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels, np.float64)
    known = ~np.isnan(labels)
    if not known.any() or not np.isfinite(logits).all():
        return dict.fromkeys(HIGHER_IS_BETTER)
    against = np.where(labels == 1, -logits, logits)
    areas = [auroc(logits[rows, k], labels[rows, k] == 1) for k, rows in enumerate(known.T) if rows.any()]
    area = metrics.macro(np.array(areas))
    return {
        "nll": float(np.logaddexp(0, against)[known].mean()),
        "auroc": None if np.isnan(area) else float(area),
    }


def fit(logits: ArrayLike, labels: ArrayLike, *, names: Sequence[str], settings: Any) -> Decisions:
    """Calibration and threshold of each finding, from where validation knows it. ``settings.threshold`` is a
    criterion of `parse_criterion`."""
    logits, labels = _checked(logits, labels, names)
    own = SimpleNamespace(positive=PRESENT, threshold=settings.threshold)
    found, notes = [], []
    for k, name in enumerate(names):
        rows = ~np.isnan(labels[:, k])
        one = fit_decision(
            two(logits[rows, k]), labels[rows, k].astype(int), classes=(ABSENT, PRESENT), settings=own
        )
        found.append(one)
        notes += [f"{name}: {note}" for note in one.notes]
    return Decisions(tuple(found), tuple(notes))


def measure(
    logits: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike | None,
    *,
    names: Sequence[str],
    decision: Decisions,
    settings: Any,
) -> dict[str, Any]:
    """As `tl_jax.evaluation.measure`: means over findings, and ``per_class`` each finding's own measures;
    ``counts``: how many examples have it, ``known``: of how many anybody knows. Raises ValueError for wrong
    shapes and logits that are not finite."""
    logits, labels = _checked(logits, labels, names)
    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    statistics = FindingsStatistics(logits, labels, decision)
    entries, resampling, how = measured(statistics, groups, settings)
    for path, entry in entries.items():
        _remark(path, entry, statistics, groups, names)
    known = ~np.isnan(labels)
    return {
        **nested(entries, tuple(names)),
        "n": len(labels),
        "n_groups": resampling.groups,
        "counts": dict(zip(names, (labels == 1).sum(axis=0).tolist(), strict=True)),
        "known": dict(zip(names, known.sum(axis=0).tolist(), strict=True)),
        "positive": None,
        "threshold": None,
        "thresholds": {
            name: None if isinstance(one.threshold, np.ndarray) else one.threshold
            for name, one in zip(names, decision.each, strict=True)
        },
        "criterion": settings.threshold,
        "prevalence": None,
        "interval": how,
    }


def chances(logits: ArrayLike, decision: Decisions) -> Floats:
    """Calibrated probabilities (n, K) of the findings."""
    logits = np.asarray(logits)
    each = [probabilities(two(logits[:, k]), one)[:, 1] for k, one in enumerate(decision.each)]
    return np.stack(each, axis=1)


def decided(logits: ArrayLike, decision: Decisions) -> NDArray[np.int64]:
    """Whether each finding is called present, (n, K) 0 or 1."""
    logits = np.asarray(logits)
    each = [decide(probabilities(two(logits[:, k]), one), one) for k, one in enumerate(decision.each)]
    return np.stack(each, axis=1)


def two(logits: NDArray) -> NDArray:
    """Logits (n,) of a finding as those of its absence and presence, (n, 2)."""
    return np.stack([np.zeros_like(logits), logits], axis=1)


class FindingsStatistics:
    """All measures as one function of the examples' weights (n, R): means over findings (R,), and each
    finding's (K, R). ``parts``: the rows where a finding is known, and `Statistics` of it there."""

    def __init__(self, logits: Floats, labels: NDArray, decision: Decisions) -> None:
        self.parts: list[tuple[NDArray, Statistics]] = []
        for k, one in enumerate(decision.each):
            rows = np.flatnonzero(~np.isnan(labels[:, k]))
            truth = labels[rows, k].astype(np.int64)
            if isinstance(one.threshold, np.ndarray):  # of examples of several runs
                one = replace(one, threshold=cast(Any, one.threshold[rows]))
            self.parts.append((rows, Statistics(two(logits[rows, k]), truth, one, -1.0)))
        point = self._each(np.ones((len(labels), 1)))
        self.over = {name: ~np.isnan(values[:, 0]) for name, values in point.items()}

    def __call__(self, weights: Floats) -> tuple[Values, Values]:
        each = self._each(weights)
        return {name: metrics.macro(values, self.over[name]) for name, values in each.items()}, each

    def _each(self, weights: Floats) -> Values:
        found = [statistics(weights[rows])[0] for rows, statistics in self.parts]
        return {name: np.stack([one[name] for one in found]) for name in MEASURES}


def _remark(
    path: Path, entry: Entry, statistics: FindingsStatistics, groups: NDArray, names: Sequence[str]
) -> None:
    """Adds why a value is undefined, or what to mind about it."""
    name, over = path[-1], statistics.over[path[-1]]
    if len(path) == 2:
        rows, own = statistics.parts[int(path[0])]
        if entry["value"] is None:
            entry["why"] = remarks.why(name, own)
        elif entry["low"] is not None and entry["low"] == entry["high"]:
            entry["note"] = remarks.certainty((name,), entry["value"], own, groups[rows])
    elif entry["value"] is None:
        entry["why"] = "undefined for every finding: " + remarks.WHY.get(remarks.base(name), "no examples")
    elif not over.all():
        absent = [other for other, there in zip(names, over, strict=True) if not there]
        shown = ", ".join(absent[:5]) + (" …" if len(absent) > 5 else "")
        entry["note"] = f"mean over {int(over.sum())} of {len(names)} findings; undefined: {shown}"


def _checked(logits: ArrayLike, labels: ArrayLike, names: Sequence[str]) -> tuple[Floats, Floats]:
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels, np.float64)
    wrong = []
    if logits.ndim != 2 or logits.shape[1] != len(names):
        wrong.append(f"logits must have the shape (n, {len(names)}), not {logits.shape}")
    if labels.shape != logits.shape:
        wrong.append(f"labels must have the shape {logits.shape}, not {labels.shape}")
    if bad := int((~np.isfinite(logits)).sum()):
        wrong.append(f"{bad} of {logits.size} logits are not finite numbers")
    if strange := int((~np.isnan(labels) & (labels != 0) & (labels != 1)).sum()):
        wrong.append(f"{strange} labels are neither 0 nor 1 nor missing")
    if wrong:
        raise ValueError("cannot evaluate: " + "; ".join(wrong))
    return logits, labels
