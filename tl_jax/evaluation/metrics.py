"""Single numbers from labels, decisions and probabilities, as functions of the examples' weights.

Every function takes ``weights`` (n,) or (n, R), or None for one each, and returns one number per column
of weights: () or (R,). A bootstrap replicate is such a column (how often each example was drawn), so a
thousand replicates are one matrix product. NaN stands for "undefined", never 0.

Metrics of decisions are functions of `Counts`, which is linear in the weights. The area under the ROC
curve and the average precision need an order, not counts: see `tl_jax.evaluation.ranking`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

ECE_BINS = 15
"""Equal-width bins of the expected calibration error, as in Guo et al. 2017."""


class Counts(NamedTuple):
    """Weighted counts of each class against the rest; leading axis K classes, then the weights' columns."""

    hits: Floats  # (K, …): of the class and called so
    called: Floats  # (K, …): called so
    actual: Floats  # (K, …): of the class
    total: Floats  # (…): all examples

    @property
    def correct_rejections(self) -> Floats:
        """(K, …): not of the class and not called so."""
        return self.total - self.called - self.actual + self.hits


def total(values: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Weighted sum over examples of values (n,)."""
    values = np.asarray(values, np.float64)
    return values @ (np.ones(len(values)) if weights is None else np.asarray(weights, np.float64))


def summing(row: NDArray, rows: int, example: NDArray, n: int, values: NDArray | None = None) -> Any:
    """The sparse (rows, n) matrix that adds ``values[i]`` (or one) of ``example[i]`` to ``row[i]``."""
    from scipy.sparse import csr_matrix

    values = np.ones(len(row)) if values is None else np.asarray(values, np.float64)
    return csr_matrix((values, (row, example)), shape=(rows, n))


def grouped(row: NDArray, rows: int, weights: ArrayLike | None, values: NDArray | None = None) -> Floats:
    """Weighted sums (rows, …) of the examples that fall into each row; row (n,) int."""
    n = len(row)
    weights = np.ones(n) if weights is None else np.asarray(weights, np.float64)
    return summing(row, rows, np.arange(n), n, values) @ weights


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> Floats:
    """Division that says NaN where there is nothing to divide by."""
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)[()]


def mean(values: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Weighted mean over examples of values (n,)."""
    return ratio(total(values, weights), total(np.ones(len(np.asarray(values))), weights))


def defined(values: Floats) -> NDArray[np.bool_]:
    """Which rows of values (K, …) have a number in any column (K,)."""
    return np.asarray(~np.isnan(values).reshape(len(values), -1).all(axis=1))


def macro(values: Floats, over: NDArray[np.bool_] | None = None) -> Floats:
    """Mean over the classes ``over`` (K,) of values (K, …): NaN where one of them is undefined.

    By default over the classes that are defined in any column: a fixed set, so that no replicate
    averages over other classes than its neighbour.
    """
    chosen = values[defined(values) if over is None else over]
    return chosen.mean(axis=0) if len(chosen) else np.full(values.shape[1:], np.nan)[()]


# Decisions.


def confusion(
    labels: ArrayLike, decided: ArrayLike, classes: int, weights: ArrayLike | None = None
) -> Floats:
    """Confusion matrix (K, K, …): rows are the truth, columns the decision. Both inputs (n,) int."""
    cell = np.asarray(labels, np.int64) * classes + np.asarray(decided, np.int64)
    sums = grouped(cell, classes * classes, weights)
    return sums.reshape(classes, classes, *sums.shape[1:])


def counts(labels: ArrayLike, decided: ArrayLike, classes: int, weights: ArrayLike | None = None) -> Counts:
    """Counts of labels (n,) against decisions (n,), both int in 0…classes-1."""
    labels, decided = np.asarray(labels), np.asarray(decided)
    return Counts(
        hits=grouped(labels, classes, weights, values=labels == decided),
        called=grouped(decided, classes, weights),
        actual=grouped(labels, classes, weights),
        total=total(np.ones(len(labels)), weights),
    )


def accuracy(c: Counts) -> Floats:
    """Share of right decisions (…)."""
    return ratio(c.hits.sum(axis=0), c.total)


def accuracies(c: Counts) -> Floats:
    """Share of right decisions about each class against the rest (K, …)."""
    return ratio(c.hits + c.correct_rejections, c.total)


def sensitivity(c: Counts) -> Floats:
    """Recall of each class (K, …); undefined without an example of it."""
    return ratio(c.hits, c.actual)


def specificity(c: Counts) -> Floats:
    """Share of the rest that is not called so (K, …); undefined without a rest."""
    return ratio(c.correct_rejections, c.total - c.actual)


def ppv(c: Counts) -> Floats:
    """Positive predictive value, or precision (K, …); undefined where nothing is called so."""
    return ratio(c.hits, c.called)


def npv(c: Counts) -> Floats:
    """Negative predictive value (K, …); undefined where everything is called so."""
    return ratio(c.correct_rejections, c.total - c.called)


def f1(c: Counts) -> Floats:
    """Harmonic mean of precision and recall, 2·hits / (called + actual) (K, …).

    Undefined without an example of the class; 0, rightly, where there are some and none is found.
    """
    return np.where(c.actual > 0, ratio(2 * c.hits, c.called + c.actual), np.nan)


def balanced_accuracy(c: Counts, over: NDArray[np.bool_] | None = None) -> Floats:
    """Mean recall over the classes (…); undefined if fewer than two have examples."""
    recall = sensitivity(c)
    over = defined(recall) if over is None else over
    return macro(recall, over) if over.sum() > 1 else np.full(recall.shape[1:], np.nan)[()]


def ppv_at(sensitivity: Floats, specificity: Floats, prevalence: float) -> Floats:
    """Positive predictive value where a share ``prevalence`` of people has the condition (Bayes)."""
    true, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    return ratio(true, true + false)


def npv_at(sensitivity: Floats, specificity: Floats, prevalence: float) -> Floats:
    """Negative predictive value at a prevalence (Bayes)."""
    true, false = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return ratio(true, true + false)


# Probabilities. The functions that end in _each give one number per example, to be averaged.


def log_softmax(logits: ArrayLike) -> Floats:
    """Log-probabilities (n, K) float64."""
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def margins(logits: ArrayLike) -> Floats:
    """Log-odds of each class against the rest (n, K) float64: logit minus log-sum-exp of the others.

    They rank as the probabilities do but do not saturate at 0 and 1.
    """
    logits = np.asarray(logits, np.float64)
    if logits.shape[1] == 2:
        return logits - logits[:, ::-1]
    rows, top = np.arange(len(logits)), logits.argmax(axis=1)
    highest = logits[rows, top]
    shares = np.exp(logits - highest[:, None])
    rest = shares.copy()
    rest[rows, top] = 0
    others = rest.sum(axis=1, keepdims=True) - rest
    # A class that is not the highest never carries more than half: no cancellation in its remainder.
    found = logits - highest[:, None] - np.log(1 + others)
    below = np.where(np.arange(logits.shape[1]) == top[:, None], -np.inf, logits)
    second = below.max(axis=1)
    found[rows, top] = highest - second - np.log(np.exp(below - second[:, None]).sum(axis=1))
    return found


def nll_each(logits: ArrayLike, labels: ArrayLike) -> Floats:
    """Negative log-likelihood of each label, in nats (n,)."""
    return -log_softmax(logits)[np.arange(len(np.asarray(labels))), np.asarray(labels)]


def brier_each(probabilities: ArrayLike, labels: ArrayLike) -> Floats:
    """Brier score of each example (n,): Σ_k (p_k - y_k)², halved for two classes (Brier 1950).

    So two classes give the usual (p - y)² in 0…1; more classes give 0…2.
    """
    probabilities = np.asarray(probabilities, np.float64)
    truth = np.asarray(labels)[:, None] == np.arange(probabilities.shape[1])
    squares = ((probabilities - truth) ** 2).sum(axis=1)
    return squares / 2 if probabilities.shape[1] == 2 else squares


def confidence(probabilities: Floats, labels: ArrayLike, positive: int) -> tuple[Floats, NDArray[np.bool_]]:
    """What ECE compares, both (n,): two classes, the probability of ``positive`` and whether it is so;
    more classes, the highest probability and whether its class is right."""
    labels = np.asarray(labels)
    if probabilities.shape[1] == 2:
        return probabilities[:, positive], labels == positive
    return probabilities.max(axis=1), labels == probabilities.argmax(axis=1)


def ece_bin(confidence: ArrayLike, bins: int = ECE_BINS) -> NDArray[np.int64]:
    """Equal-width bin of 0…1 that each confidence (n,) falls into."""
    return np.minimum((np.asarray(confidence, np.float64) * bins).astype(np.int64), bins - 1)


def ece(
    confidence: ArrayLike, correct: ArrayLike, weights: ArrayLike | None = None, bins: int = ECE_BINS
) -> Floats:
    """Expected calibration error (…): Σ_bins |Σ (confidence - correct)| / n, equal-width bins
    (Naeini et al. 2015; Guo et al. 2017, eq. 3)."""
    gap = np.asarray(confidence, np.float64) - np.asarray(correct)
    sums = grouped(ece_bin(confidence, bins), bins, weights, gap)
    return ratio(np.abs(sums).sum(axis=0), total(np.ones(len(gap)), weights))


def nll(logits: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Mean negative log-likelihood in nats (…), of logits (n, K)."""
    return mean(nll_each(logits, labels), weights)


def brier(probabilities: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Mean Brier score (…), of probabilities (n, K)."""
    return mean(brier_each(probabilities, labels), weights)
