"""Area under the ROC curve and average precision, for many sets of weights from one sort.

The order of the scores does not depend on the weights. So it is found once, and every bootstrap
replicate costs two running sums.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.evaluation.metrics import Floats, ratio, summing


class Ranking:
    """Scores (n,) in descending order, cut into blocks of equal rank.

    A block is a set of tied scores that holds a positive example, or all negatives between two such
    sets: their order among themselves changes neither curve's area.
    """

    def __init__(self, scores: ArrayLike, positive: ArrayLike) -> None:
        scores, positive = np.asarray(scores), np.asarray(positive, bool)
        if scores.shape != positive.shape or scores.ndim != 1:
            raise ValueError(f"scores {scores.shape} and positive {positive.shape} must both be (n,)")
        if np.isnan(scores).any():
            raise ValueError(f"{int(np.isnan(scores).sum())} of {len(scores)} scores are NaN")
        order = np.argsort(-scores, kind="stable")
        ranked, wanted = scores[order], positive[order]
        starts = np.ones(len(scores), bool)
        starts[1:] = ranked[1:] != ranked[:-1]
        tie = np.cumsum(starts) - 1
        holds = np.bincount(tie, weights=wanted, minlength=1) > 0
        opens = holds.copy()
        opens[1:] |= holds[:-1]
        block = (np.cumsum(opens) - opens[0])[tie] if len(tie) else tie
        self.blocks = int(block[-1]) + 1 if len(block) else 0
        self._positive = summing(block[wanted], self.blocks, order[wanted], len(scores))
        self._negative = summing(block[~wanted], self.blocks, order[~wanted], len(scores))

    def sensitivity_at(self, specificity: float, weights: Floats) -> Floats:
        """The highest sensitivity (…) of any threshold at which at least this share of the negatives is left
        alone, for weights (n,) or (n, R); NaN without a positive, or a negative."""
        found, false = self._positive @ weights, self._negative @ weights
        positives, negatives = found.sum(axis=0), false.sum(axis=0)
        true, called = np.cumsum(found, axis=0), np.cumsum(false, axis=0)
        allowed = called <= (1 - specificity) * negatives * (1 + 1e-9)
        best = np.where(allowed, true, 0.0).max(axis=0, initial=0.0)
        return np.where(negatives > 0, ratio(best, positives), np.nan)

    def areas(self, weights: Floats) -> tuple[Floats, Floats]:
        """(AUROC, average precision), each (…), for weights (n,) or (n, R).

        AUROC counts a tie between a positive and a negative as one half (Hanley and McNeil 1982). Average
        precision is Σ (recall step) · precision, without interpolation, as in scikit-learn. Both are
        NaN without a positive; AUROC also without a negative.
        """
        found, false = self._positive @ weights, self._negative @ weights
        true = np.cumsum(found, axis=0)
        positives, negatives = found.sum(axis=0), false.sum(axis=0)
        wins = np.einsum("i...,i...->...", false, true - 0.5 * found)
        np.cumsum(false, axis=0, out=false)
        false += true  # all that score at least as high
        precision = np.divide(true, false, out=np.zeros_like(true), where=false > 0)
        gained = np.einsum("i...,i...->...", found, precision)
        return ratio(wins, positives * negatives), ratio(gained, positives)


def auroc(scores: ArrayLike, positive: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Area under the ROC curve (…) of scores (n,) for the examples that are ``positive`` (n,) bool."""
    return Ranking(scores, positive).areas(_weights(weights, len(np.asarray(scores))))[0]


def average_precision(scores: ArrayLike, positive: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Average precision (…) of scores (n,) for the examples that are ``positive`` (n,) bool."""
    return Ranking(scores, positive).areas(_weights(weights, len(np.asarray(scores))))[1]


def _weights(weights: ArrayLike | None, n: int) -> Floats:
    return np.ones(n) if weights is None else np.asarray(weights, np.float64)
