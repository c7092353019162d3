"""Words beside the numbers: why one is undefined, and when an interval promises too much."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tl_jax.evaluation.statistics import Statistics

WHY = {
    "auroc": "needs examples of the class and of the rest",
    "average_precision": "no example of the class",
    "sensitivity_at_95_specificity": "needs examples of the class and of the rest",
    "balanced_accuracy": "needs examples of at least two classes",
    "sensitivity": "no example of the class",
    "specificity": "every example is of the class",
    "ppv": "nothing was called so",
    "npv": "everything was called so",
    "f1": "no example of the class",
    "ppv_at_prevalence": "sensitivity or specificity is undefined, or nothing would be called so",
    "npv_at_prevalence": "sensitivity or specificity is undefined, or everything would be called so",
}
"""Why a measure is undefined."""

RATES = ("accuracy", "sensitivity", "specificity", "ppv", "npv")


def base(name: str) -> str:
    """The measure that a name is a variant of: "sensitivity_at_0.5" → "sensitivity"."""
    for ending in ("_at_0.5", "_at_threshold", "_calibrated", "_macro"):
        name = name.removesuffix(ending)
    return name


def why(name: str, statistics: Statistics) -> str:
    """Why a measure is undefined in the sample."""
    return "no examples" if statistics.n == 0 else WHY.get(base(name), "no examples")


def left_out(name: str, statistics: Statistics, classes: Sequence[str]) -> str:
    """Which classes a mean over classes leaves out, or ""."""
    kind = base(name)
    if kind == "balanced_accuracy":
        kind = "sensitivity"
    averaged = name == "f1_macro" or name.startswith("balanced_accuracy") or statistics.k > 2
    over = statistics.over.get(kind)
    if not averaged or over is None or over.all() or name == "accuracy" or kind in ("nll", "brier", "ece"):
        return ""
    absent = [cls for cls, there in zip(classes, over, strict=True) if not there]
    shown = ", ".join(absent[:5]) + (" …" if len(absent) > 5 else "")
    return f"mean over {int(over.sum())} of {len(classes)} classes; {WHY[kind]}: {shown}"


def certainty(path: tuple, value: float, statistics: Statistics, groups: NDArray) -> str:
    """A warning for a measure on which all replicates agree."""
    name = path[-1]
    kind, asked = base(name), path[0] if len(path) == 2 else statistics.decision.positive
    if kind in RATES and value in (0.0, 1.0) and (statistics.k == 2 or len(path) == 2 or kind == "accuracy"):
        m = len(np.unique(groups[_could_show(name, int(asked), statistics)]))
        bound = f"down to about {max(0.0, 1 - 3 / m):.3f}" if value else f"up to about {min(1.0, 3 / m):.3f}"
        return f"all resamples agree, but {m} groups leave a rate {bound} possible (rule of three)"
    return "all resamples agree: the sample is too small, or too easy, to show how uncertain this is"


def _could_show(name: str, asked: int, statistics: Statistics) -> NDArray[np.bool_]:
    """The examples in the denominator of a rate."""
    decided = statistics.at_half if name.endswith("_at_0.5") else statistics.decided
    return {
        "accuracy": np.ones(statistics.n, bool),
        "sensitivity": statistics.labels == asked,
        "specificity": statistics.labels != asked,
        "ppv": decided == asked,
        "npv": decided != asked,
    }[base(name)]
