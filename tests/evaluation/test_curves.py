"""Curves against scikit-learn, and their bands."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from tl_jax.evaluation import curves, metrics

RANDOM = np.random.default_rng(0)
POSITIVE = RANDOM.random(300) < 0.3
SCORES = np.round(RANDOM.normal(size=300) + 1.5 * POSITIVE, 1)  # with ties
GROUPS = np.arange(300) // 2


def test_roc():
    found = curves.roc(SCORES, POSITIVE)
    false, true, _ = roc_curve(POSITIVE, SCORES, drop_intermediate=False)
    np.testing.assert_allclose(found.x, false)
    np.testing.assert_allclose(found.y, true)
    assert np.trapezoid(found.y, found.x) == pytest.approx(roc_auc_score(POSITIVE, SCORES))
    assert found.low is None


def test_precision_recall():
    found = curves.precision_recall(SCORES, POSITIVE)
    precision, recall, _ = precision_recall_curve(POSITIVE, SCORES)
    np.testing.assert_allclose(found.x[1:], recall[-2::-1])
    np.testing.assert_allclose(found.y[1:], precision[-2::-1])
    assert found.y[0] == found.y[1]
    steps = np.diff(found.x) @ found.y[1:]
    assert steps == pytest.approx(average_precision_score(POSITIVE, SCORES))


@pytest.mark.parametrize("kind", [curves.roc, curves.precision_recall])
def test_a_band_holds_the_curve_and_narrows_with_more_groups(kind):
    few, many = kind(SCORES, POSITIVE, GROUPS // 10), kind(SCORES, POSITIVE, np.arange(300))
    for one in (few, many):
        assert one.low.shape == one.high.shape == curves.PLACES.shape
        at = np.interp(curves.PLACES, *_highest(one.x, one.y))
        inside = (one.low <= at + 1e-9) & (at <= one.high + 1e-9)
        assert inside.mean() > 0.9
    repeated = kind(np.tile(SCORES, 4), np.tile(POSITIVE, 4), np.arange(1200))
    assert (repeated.high - repeated.low).mean() < 0.7 * (many.high - many.low).mean()


def _highest(x, y):
    values = np.unique(x)
    return values, np.array([y[x == value].max() for value in values])


def test_one_kind_has_no_curve_and_one_group_no_band():
    with pytest.raises(ValueError, match="of the class and of the rest"):
        curves.roc(SCORES, np.ones(300, bool))
    assert curves.roc(SCORES, POSITIVE, np.zeros(300)).low is None


def test_a_band_of_few_positives_leaves_resamples_without_them_out():
    positive = np.zeros(40, bool)
    positive[:2] = True
    found = curves.roc(np.linspace(1, 0, 40), positive, np.arange(40))
    assert np.isfinite(found.low).all()


def test_reliability():
    probability = RANDOM.random(500)
    correct = RANDOM.random(500) < probability**1.5
    found = curves.reliability(probability, correct, np.arange(500))
    share, mean = calibration_curve(correct, probability, n_bins=metrics.ECE_BINS)
    np.testing.assert_allclose(found.share, share)
    np.testing.assert_allclose(found.probability, mean)
    assert found.count.sum() == 500
    assert ((found.low <= found.share) & (found.share <= found.high)).all()
    ece = np.abs(found.probability - found.share) @ found.count / 500
    assert ece == pytest.approx(metrics.ece(probability, correct))


def test_empty_bins_are_not_told_and_one_group_has_no_interval():
    found = curves.reliability([0.05, 0.04, 0.95], [False, True, True], ["a", "a", "a"])
    assert found.count.tolist() == [2, 1]
    assert np.isnan(found.low).all()
