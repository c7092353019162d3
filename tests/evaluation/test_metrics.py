"""Metrics against scikit-learn, with ties, weights and several classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from tl_jax.evaluation import metrics

CASES = [(40, 2, 0), (200, 2, 1), (60, 3, 2), (300, 7, 3)]


def sample(n, k, seed):
    """Labels, rounded logits (so with ties) and integer weights (some zero)."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    logits = rng.normal(size=(n, k)).round(1)
    logits[np.arange(n), labels] += 0.7
    weights = rng.integers(0, 4, n)
    weights[:k] = 1
    return labels, logits, weights


@pytest.mark.parametrize(("n", "k", "seed"), CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_decisions_equal_sklearn(n, k, seed, weighted):
    labels, logits, weights = sample(n, k, seed)
    called, w = logits.argmax(axis=1), weights if weighted else None
    c = metrics.counts(labels, called, k, w)
    same = dict(y_true=labels, y_pred=called, sample_weight=w)
    np.testing.assert_allclose(metrics.accuracy(c), sk.accuracy_score(**same))
    np.testing.assert_allclose(metrics.balanced_accuracy(c), sk.balanced_accuracy_score(**same))
    np.testing.assert_array_equal(metrics.confusion(labels, called, k, w), sk.confusion_matrix(**same))
    same["zero_division"] = np.nan
    np.testing.assert_allclose(metrics.sensitivity(c), sk.recall_score(**same, average=None))
    np.testing.assert_allclose(metrics.ppv(c), sk.precision_score(**same, average=None))
    np.testing.assert_allclose(metrics.f1(c), sk.f1_score(**same, average=None))
    np.testing.assert_allclose(metrics.macro(metrics.f1(c)), sk.f1_score(**same, average="macro"))
    for one in range(k):
        rest = dict(y_true=labels != one, y_pred=called != one, sample_weight=w, zero_division=np.nan)
        np.testing.assert_allclose(metrics.specificity(c)[one], sk.recall_score(**rest))
        np.testing.assert_allclose(metrics.npv(c)[one], sk.precision_score(**rest))
        rest.pop("zero_division")
        np.testing.assert_allclose(metrics.accuracies(c)[one], sk.accuracy_score(**rest))


@pytest.mark.parametrize(("n", "k", "seed"), CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_probabilities_equal_sklearn(n, k, seed, weighted):
    labels, logits, weights = sample(n, k, seed)
    w = weights if weighted else None
    p = np.exp(metrics.log_softmax(logits))
    given_p = p[:, 1] if k == 2 else p
    np.testing.assert_allclose(metrics.nll(logits, labels, w), sk.log_loss(labels, p, sample_weight=w))
    brier = sk.brier_score_loss(labels, given_p, sample_weight=w, labels=range(k))
    np.testing.assert_allclose(metrics.brier(p, labels, w), brier)


def test_ece_by_hand():
    # Bins of 1/15: the first two share bin 13 (0.867…0.933), the third lies alone in bin 1.
    confidence, correct = np.array([0.88, 0.92, 0.1]), np.array([True, False, False])
    expected = (abs(0.88 + 0.92 - 1) + 0.1) / 3
    np.testing.assert_allclose(metrics.ece(confidence, correct), expected)
    weighted = (abs(2 * (0.88 - 1) + 0.92) + 0.3) / 6
    np.testing.assert_allclose(metrics.ece(confidence, correct, [2, 1, 3]), weighted)


def test_ece_equals_a_loop_over_bins():
    rng = np.random.default_rng(0)
    confidence = rng.random(500)
    correct = rng.random(500) < confidence**2
    total = 0.0
    for b in range(15):
        inside = (confidence >= b / 15) & (confidence < (b + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - correct[inside].mean())
    np.testing.assert_allclose(metrics.ece(confidence, correct), total)
    assert metrics.ece(np.ones(3), np.ones(3, bool)) == 0.0  # a confidence of 1 has a bin


def test_what_ece_compares():
    p, labels = np.array([[0.2, 0.8], [0.9, 0.1]]), np.array([1, 1])
    np.testing.assert_array_equal(metrics.confidence(p, labels, 0)[0], [0.2, 0.9])
    np.testing.assert_array_equal(metrics.confidence(p, labels, 0)[1], [False, False])
    p, labels = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]), np.array([1, 2])
    np.testing.assert_array_equal(metrics.confidence(p, labels, 0)[0], [0.5, 0.6])
    np.testing.assert_array_equal(metrics.confidence(p, labels, 0)[1], [True, False])


@pytest.mark.parametrize("k", [2, 4])
def test_columns_of_weights_equal_one_at_a_time(k):
    labels, logits, _ = sample(50, k, 5)
    many = np.random.default_rng(1).integers(0, 3, (50, 6))
    p, called = np.exp(metrics.log_softmax(logits)), logits.argmax(axis=1)
    confidence = metrics.confidence(p, labels, k - 1)
    together = metrics.counts(labels, called, k, many)
    functions = {
        "nll": lambda w: metrics.nll(logits, labels, w),
        "brier": lambda w: metrics.brier(p, labels, w),
        "ece": lambda w: metrics.ece(*confidence, w),
        "confusion": lambda w: metrics.confusion(labels, called, k, w),
    }
    for column, w in enumerate(many.T):
        for name, function in functions.items():
            np.testing.assert_allclose(function(many)[..., column], function(w), err_msg=name)
        one = metrics.counts(labels, called, k, w)
        for field in metrics.Counts._fields:
            np.testing.assert_allclose(getattr(together, field)[..., column], getattr(one, field))


def test_undefined_is_never_zero():
    c = metrics.counts([0, 0, 0], [0, 0, 0], 2)
    assert np.isnan(metrics.sensitivity(c)[1])
    assert np.isnan(metrics.specificity(c)[0])
    assert np.isnan(metrics.ppv(c)[1])
    assert np.isnan(metrics.npv(c)[0])
    assert np.isnan(metrics.f1(c)[1])
    assert np.isnan(metrics.balanced_accuracy(c))
    # Called, but absent: F1 would be 0 by its formula, and mean nothing.
    assert np.isnan(metrics.f1(metrics.counts([0, 0], [0, 1], 2))[1])
    # There, and never found: 0 is right.
    assert metrics.f1(metrics.counts([0, 1], [0, 0], 2))[1] == 0.0
    empty = metrics.counts(np.zeros(0, int), np.zeros(0, int), 2)
    assert np.isnan(metrics.accuracy(empty))
    assert np.isnan(metrics.mean([]))


def test_macro_keeps_its_set_of_classes():
    values = np.array([[0.5, 0.5], [1.0, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(metrics.macro(values), [0.75, np.nan])
    np.testing.assert_array_equal(metrics.macro(values, np.array([True, False, False])), [0.5, 0.5])


def test_prevalence_is_bayes():
    # 1000 people, 100 ill: 90 found; of the 900 others 180 called ill.
    np.testing.assert_allclose(metrics.ppv_at(np.float64(0.9), np.float64(0.8), 0.1), 90 / 270)
    np.testing.assert_allclose(metrics.npv_at(np.float64(0.9), np.float64(0.8), 0.1), 720 / 730)
    assert np.isnan(metrics.ppv_at(np.float64(0.0), np.float64(1.0), 0.1))
    # At the sample's own prevalence they are PPV and NPV.
    labels, logits, _ = sample(200, 2, 8)
    c = metrics.counts(labels, logits.argmax(axis=1), 2)
    rates = metrics.sensitivity(c)[1], metrics.specificity(c)[1], labels.mean()
    np.testing.assert_allclose(metrics.ppv_at(*rates), metrics.ppv(c)[1])
    np.testing.assert_allclose(metrics.npv_at(*rates), metrics.npv(c)[1])


@given(st.integers(2, 6), st.floats(0.01, 300), st.integers(0, 2**31))
def test_margins_are_log_odds(k, scale, seed):
    logits = np.random.default_rng(seed).normal(size=(5, k)) * scale
    margins = metrics.margins(logits)
    logs = metrics.log_softmax(logits)
    np.testing.assert_allclose(-np.logaddexp(0, -margins), logs, rtol=1e-9, atol=1e-12)
    for c in range(k):
        others = np.delete(logits, c, axis=1)
        top = others.max(axis=1)
        rest = top + np.log(np.exp(others - top[:, None]).sum(axis=1))
        np.testing.assert_allclose(margins[:, c], logits[:, c] - rest, rtol=1e-9, atol=1e-9)


def test_huge_logits_stay_finite():
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]])
    np.testing.assert_allclose(metrics.nll(logits, [1, 1]), 1e4)
    assert np.isfinite(metrics.margins(np.array([[1e4, -1e4, 0.0]]))).all()
