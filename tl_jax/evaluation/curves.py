"""What a decision at every threshold would do, and how honest probabilities are, as curves with bands.

Bands are pointwise 95 % percentiles over resamples of groups, like all intervals here: at one place of a
curve the band holds, not for the whole curve at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tl_jax.evaluation.bootstrap import Resampling, percentiles
from tl_jax.evaluation.metrics import ECE_BINS, Floats, ece_bin, grouped, ratio

REPLICATES = 200
"""Resamples of a band; its ends are drawn, not reported as numbers."""

WORK = 20_000_000
"""Examples × replicates above which curves have no band."""

PLACES = np.linspace(0, 1, 101)
"""Where bands are known."""

_Axes = Callable[[Floats, Floats], tuple[Floats, Floats]]
"""(true, false) positives (m, R) at every threshold → x and y of each resample's curve, (m, R)."""


@dataclass(frozen=True)
class Curve:
    """Points ``x``, ``y`` (m,), ``x`` never falling; ``low`` and ``high`` (101,) are the band at
    `PLACES`, None where there is none."""

    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None


def roc(scores: ArrayLike, positive: ArrayLike, groups: ArrayLike | None = None, seed: int = 0) -> Curve:
    """Sensitivity against 1 - specificity at every threshold of ``scores`` (n,), from (0, 0) to (1, 1).

    ``positive`` (n,) bool; with ``groups`` (n,) the curve has a band. Raises ValueError without examples of
    both kinds.
    """
    return _curve(scores, positive, groups, seed, _rates)


def precision_recall(
    scores: ArrayLike, positive: ArrayLike, groups: ArrayLike | None = None, seed: int = 0
) -> Curve:
    """Precision against recall at every threshold, as `roc`. It begins at recall 0 with the precision of
    the highest scores, since without a decision there is none."""
    return _curve(scores, positive, groups, seed, _precisions)


def _rates(true: Floats, false: Floats) -> tuple[Floats, Floats]:
    return ratio(false, false[-1:]), ratio(true, true[-1:])


def _precisions(true: Floats, false: Floats) -> tuple[Floats, Floats]:
    recall, precision = ratio(true, true[-1:]), ratio(true, true + false)
    precision[0] = precision[1]
    return recall, precision


def _curve(scores: ArrayLike, positive: ArrayLike, groups: ArrayLike | None, seed: int, axes: _Axes) -> Curve:
    scores, positive = np.asarray(scores, np.float64), np.asarray(positive, bool)
    if positive.all() or not positive.any():
        raise ValueError("a curve needs examples of the class and of the rest")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)

    def counts(weights: Floats) -> tuple[Floats, Floats]:
        """Examples of each kind that score at least so high, (m + 1, R), none at first."""
        sums = (np.cumsum(weights[order] * kind[order, None], axis=0)[ends] for kind in (positive, ~positive))
        true, false = (np.concatenate([np.zeros((1, weights.shape[1])), one]) for one in sums)
        return true, false

    x, y = (values[:, 0] for values in axes(*counts(np.ones((len(scores), 1)))))
    if not _has_band(groups, len(scores)):
        return Curve(x, y)
    found = []
    for weights in Resampling(groups, replicates=REPLICATES, seed=seed):
        for xs, ys in zip(*(values.T for values in axes(*counts(weights))), strict=True):
            if np.isfinite(xs[-1]) and np.isfinite(ys[-1]):  # the resample has what a curve needs
                found.append(_best_at(PLACES, xs, ys))
    if len(found) < REPLICATES / 2:
        return Curve(x, y)
    low, high, _ = percentiles(np.stack(found))
    return Curve(x, y, low, high)


def _has_band(groups: ArrayLike | None, n: int) -> TypeGuard[ArrayLike]:
    """Whether n examples can be resampled by groups, in a time that a picture is worth."""
    return groups is not None and len(np.unique(np.asarray(groups))) > 1 and n * REPLICATES <= WORK


def _best_at(places: Floats, x: Floats, y: Floats) -> Floats:
    """A curve's y at ``places``; where it has several at one x, the highest."""
    there = np.isfinite(y)
    x, y = x[there], y[there]
    starts = np.flatnonzero(np.append(True, x[1:] != x[:-1]))
    return np.interp(places, x[starts], np.maximum.reduceat(y, starts))


@dataclass(frozen=True)
class Reliability:
    """Of ECE's equal-width bins that hold an example: mean probability, share that is so with its 95 %
    interval (NaN where unknown), and how many examples; each (m,)."""

    probability: Floats
    share: Floats
    low: Floats
    high: Floats
    count: NDArray[np.int64]


def reliability(
    confidence: ArrayLike, correct: ArrayLike, groups: ArrayLike | None = None, seed: int = 0
) -> Reliability:
    """What lies behind ECE: ``confidence`` (n,) against ``correct`` (n,) bool (see `metrics.confidence`).
    With ``groups`` (n,) shares have intervals."""
    confidence, correct = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    bins = ece_bin(confidence)
    count = np.bincount(bins, minlength=ECE_BINS)
    there = count > 0

    def shares(weights: Floats | None) -> Floats:
        hits = grouped(bins, ECE_BINS, weights, correct.astype(np.float64))
        return ratio(hits, grouped(bins, ECE_BINS, weights))[there]

    low = high = np.full(int(there.sum()), np.nan)
    if _has_band(groups, len(bins)):
        drawn = [shares(weights) for weights in Resampling(groups, replicates=REPLICATES, seed=seed)]
        low, high, _ = percentiles(np.concatenate(drawn, axis=1).T)
    mean = ratio(grouped(bins, ECE_BINS, None, confidence), count)[there]
    return Reliability(mean, shares(None), low, high, count[there])
