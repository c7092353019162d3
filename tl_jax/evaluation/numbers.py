"""Predicted numbers against true ones: errors in their own units, and an interval that keeps its promise.

The interval around a prediction comes from validation alone, by split conformal prediction (Lei et al. 2018,
algorithm 2): whatever the network is, a new example of the same distribution lies inside with 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tl_jax.evaluation import metrics
from tl_jax.evaluation.intervals import measured, nested
from tl_jax.evaluation.metrics import Floats, ratio
from tl_jax.evaluation.statistics import Values

HIGHER_IS_BETTER = {"rmse": False, "mae": False, "r2": True}
"""What `quick` measures, and so what ``select.metric`` may name."""

LEVEL = 0.95

ACROSS = ("r2", "pearson", "coverage")
"""What has no unit, so that it has a mean over several numbers."""

WHY = {
    "r2": "needs two different true values",
    "pearson": "needs two different true values, and two predictions",
    "coverage": "validation is too small for an interval",
}


@dataclass(frozen=True)
class Margins:
    """``half`` (T,): a prediction ± this holds the truth with 95 %; None where validation is too small."""

    half: tuple[float | None, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"half": list(self.half), "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Margins:
        """The inverse of `to_dict`."""
        return cls(tuple(values["half"]), tuple(values["notes"]))


def quick(predicted: ArrayLike, truth: ArrayLike, scale: ArrayLike | None = None) -> dict[str, float | None]:
    """RMSE, MAE and R² of predictions (n, T) and truth (n, T), NaN where missing: means over the numbers. Of
    one number errors are in its unit; of several, each is divided by its ``scale`` (T,) first. None where
    undefined, or where a prediction is not finite."""
    predicted, truth = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if np.isnan(truth).all() or not np.isfinite(predicted).all():
        return dict.fromkeys(HIGHER_IS_BETTER)
    units = np.ones(truth.shape[1]) if scale is None or truth.shape[1] == 1 else np.asarray(scale)
    none = Margins((None,) * truth.shape[1])
    _, each = NumbersStatistics(predicted / units, truth / units, none)(np.ones((len(truth), 1)))
    found = {name: metrics.macro(each[name][:, 0]) for name in HIGHER_IS_BETTER}
    return {name: None if np.isnan(value) else float(value) for name, value in found.items()}


def fit(predicted: ArrayLike, truth: ArrayLike, *, names: Sequence[str]) -> Margins:
    """Half widths from validation's predictions (n, T) and truth (n, T): of the m errors that are known, the
    ⌈0.95 (m + 1)⌉-th smallest."""
    errors = np.abs(np.asarray(predicted, np.float64) - np.asarray(truth, np.float64))
    half: list[float | None] = []
    notes = []
    for name, column in zip(names, errors.T, strict=True):
        known = np.sort(column[~np.isnan(column)])
        rank = math.ceil(LEVEL * (len(known) + 1))
        half.append(float(known[rank - 1]) if rank <= len(known) else None)
        if half[-1] is None:
            notes.append(
                f"no 95 % interval for {name}: validation has {len(known)} values, and 19 are needed"
            )
    return Margins(tuple(half), tuple(notes))


def measure(
    predicted: ArrayLike,
    truth: ArrayLike,
    groups: ArrayLike | None,
    *,
    names: Sequence[str],
    decision: Margins,
    settings: Any,
) -> dict[str, Any]:
    """As `tl_jax.evaluation.measure`. Of one number: ``mae``, ``rmse``, ``bias`` (the mean of predicted less
    true) in its unit, ``r2``, ``pearson``, and ``coverage``, the share of truths inside their intervals. Of
    several: the means of what has no unit. ``per_class`` has all of each. Raises ValueError for wrong shapes
    and predictions that are not finite."""
    predicted, truth = _checked(predicted, truth, names)
    groups = np.arange(len(truth)) if groups is None else np.asarray(groups)
    entries, resampling, how = measured(NumbersStatistics(predicted, truth, decision), groups, settings)
    for path, entry in entries.items():
        if entry["value"] is None:
            entry["why"] = WHY.get(path[-1], "no examples")
    known = (~np.isnan(truth)).sum(axis=0).tolist()
    return {
        **nested(entries, tuple(names)),
        "n": len(truth),
        "n_groups": resampling.groups,
        "counts": dict(zip(names, known, strict=True)),
        "half": {
            name: None if isinstance(half, np.ndarray) else half
            for name, half in zip(names, decision.half, strict=True)
        },
        "positive": None,
        "threshold": None,
        "prevalence": None,
        "interval": how,
    }


class NumbersStatistics:
    """All measures as one function of the examples' weights (n, R): overall (R,), and each number's (T, R).
    ``predicted`` and ``truth`` (n, T), NaN where missing."""

    def __init__(self, predicted: Floats, truth: Floats, decision: Margins) -> None:
        self.sums: list[NDArray] = []  # of each number, rows that weights sum up: (n, 9)
        for t, half in enumerate(decision.half):
            known = ~np.isnan(truth[:, t])
            # Around their means, or the variance of large numbers would be lost in rounding.
            middle = truth[known, t].mean() if known.any() else 0.0
            y, p = truth[:, t] - middle, predicted[:, t] - middle
            inside = np.full(len(y), np.nan) if half is None else np.abs(p - y) <= half
            columns = (np.ones(len(y)), y, p, y * y, p * p, y * p, np.abs(p - y), (p - y) ** 2, inside)
            self.sums.append(np.where(known[:, None], np.stack(columns, axis=1), 0.0))

    def __call__(self, weights: Floats) -> tuple[Values, Values]:
        found = [_of(sums.T @ weights) for sums in self.sums]
        each = {name: np.stack([one[name] for one in found]) for name in found[0]}
        shown = each if len(found) == 1 else {name: each[name] for name in ACROSS}
        return {name: metrics.macro(values) for name, values in shown.items()}, each


def _of(sums: Floats) -> Values:
    """The measures of one number by its sums (9, R)."""
    n, y, p, yy, pp, yp, absolute, square, inside = sums
    total = yy - ratio(y * y, n)
    other = pp - ratio(p * p, n)
    # What is left of a variance by rounding is none.
    total = np.where(total > 1e-12 * yy, total, 0.0)
    other = np.where(other > 1e-12 * pp, other, 0.0)
    return {
        "mae": ratio(absolute, n),
        "rmse": np.sqrt(ratio(square, n)),
        "bias": ratio(p - y, n),
        "r2": 1 - ratio(square, total),
        "pearson": ratio(yp - ratio(y * p, n), np.sqrt(total * other)),
        "coverage": ratio(inside, n),
    }


def _checked(predicted: ArrayLike, truth: ArrayLike, names: Sequence[str]) -> tuple[Floats, Floats]:
    predicted, truth = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    wrong = []
    if predicted.ndim != 2 or predicted.shape[1] != len(names):
        wrong.append(f"predictions must have the shape (n, {len(names)}), not {predicted.shape}")
    if truth.shape != predicted.shape:
        wrong.append(f"the truth must have the shape {predicted.shape}, not {truth.shape}")
    if bad := int((~np.isfinite(predicted)).sum()):
        wrong.append(f"{bad} of {predicted.size} predictions are not finite numbers")
    if wrong:
        raise ValueError("cannot evaluate: " + "; ".join(wrong))
    return predicted, truth
