"""The few cheap numbers that training looks at while it goes, and which way each is better."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.evaluation import metrics
from tl_jax.evaluation.ranking import auroc

HIGHER_IS_BETTER = {"nll": False, "accuracy": True, "balanced_accuracy": True, "auroc": True}
"""What `quick` measures of classes, and so what ``select.metric`` may name."""


def quick(logits: ArrayLike, labels: ArrayLike, *, positive: int | None = None) -> dict[str, float | None]:
    """NLL, accuracy, balanced accuracy (argmax) and AUROC of logits (n, K) and labels (n,) int.

    AUROC is that of class ``positive`` (None = the last) for two classes, else the mean over the classes
    present, each against the rest. None where undefined, and everywhere if a logit is not finite.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    k = logits.shape[1]
    if not len(labels) or not np.isfinite(logits).all():
        return dict.fromkeys(HIGHER_IS_BETTER)
    counts = metrics.counts(labels, logits.argmax(axis=1), k)
    margins = metrics.margins(logits)
    if k == 2:
        wanted = k - 1 if positive is None else positive
        area = auroc(margins[:, wanted], labels == wanted)
    else:
        area = metrics.macro(np.array([auroc(margins[:, c], labels == c) for c in range(k)]))
    found = {
        "nll": metrics.nll(logits, labels),
        "accuracy": metrics.accuracy(counts),
        "balanced_accuracy": metrics.balanced_accuracy(counts),
        "auroc": area,
    }
    return {name: None if np.isnan(value) else float(value) for name, value in found.items()}


def is_better(rises: bool, value: float | None, reference: float | None, *, min_delta: float = 0.0) -> bool:
    """Whether ``value`` of a measure, of which more is better if it ``rises``, is better than ``reference``
    by more than ``min_delta``.

    An undefined value (None) is never better; any value is better than an undefined reference.
    """
    if value is None or value != value:
        return False
    if reference is None or reference != reference:
        return True
    gain = value - reference if rises else reference - value
    return gain > min_delta
