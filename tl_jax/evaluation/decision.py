"""From logits to a decision: calibration, and the threshold above which a picture is called positive.

Both are fitted on validation only and then travel with the model.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tl_jax.evaluation import calibration
from tl_jax.evaluation.check import checked
from tl_jax.evaluation.metrics import Floats, log_softmax

Goal = Callable[[Floats, Floats, Floats], Floats]
"""(true positive rate, false positive rate, F1) of each candidate → what is to be highest; -inf forbids."""


@dataclass(frozen=True)
class Decision:
    """How logits become probabilities and a class.

    probabilities = softmax(scale · logits + bias). Two classes: the class ``positive`` if its probability
    is at least ``threshold``, else the other. More classes: the most probable; ``threshold`` is None.
    """

    scale: float
    bias: tuple[float, ...]
    threshold: float | None
    criterion: str
    positive: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "bias": list(self.bias), "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Decision:
        """The inverse of `to_dict`."""
        return cls(**{**values, "bias": tuple(values["bias"]), "notes": tuple(values.get("notes", ()))})


def fit_decision(logits: ArrayLike, labels: ArrayLike, *, classes: Sequence[str], settings: Any) -> Decision:
    """Calibration and threshold from validation logits (n, K) and labels (n,) int.

    ``settings`` has ``positive`` (a class name, "" = the last) and ``threshold`` (see `parse_criterion`).
    With more than two classes there is no threshold; with one class in validation it stays at 0.5. Both
    are said in the notes.
    """
    positive = positive_class(settings.positive, classes)
    goal = parse_criterion(settings.threshold)
    logits, labels, _ = checked(logits, labels, None, classes)
    fitted = calibration.fit(logits, labels)
    truth = labels == positive
    threshold: float | None = None
    criterion = "argmax"
    if len(classes) > 2:
        notes = (f"{len(classes)} classes: the most probable is chosen; {settings.threshold!r} is not used",)
    elif truth.all() or not truth.any():
        threshold, criterion = 0.5, "none"
        notes = (f"the threshold stays at 0.5: {settings.threshold!r} needs both classes in validation",)
    else:
        scores = np.exp(log_softmax(calibration.apply(logits, fitted.scale, fitted.bias)))[:, positive]
        threshold, notes = fit_threshold(scores, truth, goal)
        criterion = settings.threshold
    return Decision(
        scale=fitted.scale,
        bias=fitted.bias,
        threshold=threshold,
        criterion=criterion,
        positive=positive,
        notes=(*fitted.notes, *notes),
    )


def probabilities(logits: ArrayLike, decision: Decision) -> Floats:
    """Calibrated probabilities (n, K) float64 of logits (n, K)."""
    return np.exp(log_softmax(calibration.apply(logits, decision.scale, decision.bias)))


def decide(probabilities: ArrayLike, decision: Decision) -> NDArray[np.int64]:
    """The class (n,) int that calibrated probabilities (n, K) are decided to be."""
    probabilities = np.asarray(probabilities)
    if decision.threshold is None:
        return probabilities.argmax(axis=1)
    positive = decision.positive
    return np.where(probabilities[:, positive] >= decision.threshold, positive, 1 - positive)


def fit_threshold(scores: Floats, truth: NDArray[np.bool_], goal: Goal) -> tuple[float, tuple[str, ...]]:
    """The threshold on scores (n,) in 0…1 that reaches the goal best, and notes.

    A threshold can only lie between neighbouring scores. It is put in the middle of the gap, in log-odds.
    Of equally good gaps those with the highest sensitivity + specificity remain, and of these the widest
    is taken, so that a small change of the scores moves few decisions.
    """
    values, place = np.unique(scores, return_inverse=True)
    positives, negatives = truth.sum(), (~truth).sum()
    # Candidate i calls positive everything from values[i] upwards; the last one, nothing.
    missed = np.concatenate([[0], np.cumsum(np.bincount(place, weights=truth))])
    spared = np.concatenate([[0], np.cumsum(np.bincount(place, weights=~truth))])
    true, false = positives - missed, negatives - spared
    f1 = 2 * true / np.maximum(true + false + positives, 1)
    rates = true / positives, false / negatives
    best = _highest(goal(*rates, f1), np.arange(len(f1)))
    best = _highest(rates[0] - rates[1], best)
    with np.errstate(divide="ignore"):
        odds = np.log(values) - np.log1p(-values)
    width = np.concatenate([[0.0], np.diff(odds), [0.0]])
    chosen = int(best[np.argmax(width[best])])
    if chosen == 0:
        return 0.0, ("the threshold is 0: everything is called positive",)
    if chosen == len(values):
        above = float(np.nextafter(values[-1], 2.0))
        return above, ("the threshold is above every validation score: nothing there is called positive",)
    low, high = float(values[chosen - 1]), float(values[chosen])
    if np.isfinite(odds[chosen - 1 : chosen + 1]).all():
        threshold = float(1 / (1 + np.exp(-0.5 * (odds[chosen - 1] + odds[chosen]))))
    else:
        threshold = 0.5 * (low + high)
    return (threshold if low < threshold <= high else high), ()


def parse_criterion(text: str) -> Goal:
    """The goal that a criterion names.

    "youden": sensitivity + specificity - 1 (Youden 1950); "f1"; "sensitivity>=S": the highest
    specificity among thresholds that reach S; "specificity>=S" likewise. S in 0…1.
    """
    if text == "youden":
        return lambda true, false, f1: true - false
    if text == "f1":
        return lambda true, false, f1: f1
    found = re.fullmatch(r"\s*(sensitivity|specificity)\s*>=\s*(\d*\.?\d+)\s*", str(text))
    if not found or float(found[2]) > 1:
        raise ValueError(
            f"evaluation.threshold={text!r} is no criterion; choose 'youden', 'f1', 'sensitivity>=S' or "
            "'specificity>=S' with S between 0 and 1"
        )
    target = float(found[2]) - 1e-12
    if found[1] == "sensitivity":
        return lambda true, false, f1: np.where(true >= target, -false, -np.inf)
    return lambda true, false, f1: np.where(1 - false >= target, true, -np.inf)


def positive_class(name: str, classes: Sequence[str]) -> int:
    """The index of the class to detect; "" names the last."""
    if not name:
        return len(classes) - 1
    if name not in classes:
        near = difflib.get_close_matches(name, classes, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"evaluation.positive={name!r} is not one of the classes {', '.join(classes)}{hint}")
    return list(classes).index(name)


def _highest(worth: Floats, among: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of ``among`` whose worth is the highest, but for rounding."""
    return among[worth[among] >= worth[among].max() - 1e-12]
