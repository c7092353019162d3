"""Errors of numbers against scikit-learn and scipy, and the promise of intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from tests.tasks import made
from tests.tasks.made import NAMES, SETTINGS
from tl_jax.evaluation import numbers

TRUTH = made.labels("regression", 80).astype(float)
PREDICTED = made.logits("regression", made.labels("regression", 80)).astype(float)


def measured(truth=TRUTH, predicted=PREDICTED, names=NAMES):
    margins = numbers.fit(predicted, truth, names=names)
    return margins, numbers.measure(
        predicted, truth, np.arange(len(truth)) // 2, names=names, decision=margins, settings=SETTINGS
    )


def test_equal_sklearn_and_scipy():
    _, found = measured()
    for t, name in enumerate(NAMES):
        rows = ~np.isnan(TRUTH[:, t])
        truth, predicted = TRUTH[rows, t], PREDICTED[rows, t]
        expected = {
            "mae": sk.mean_absolute_error(truth, predicted),
            "rmse": sk.root_mean_squared_error(truth, predicted),
            "bias": np.mean(predicted - truth),
            "r2": sk.r2_score(truth, predicted),
            "pearson": stats.pearsonr(truth, predicted).statistic,
        }
        own = found["per_class"][name]
        for measure, value in expected.items():
            assert own[measure]["value"] == pytest.approx(value), measure
            assert own[measure]["low"] <= own[measure]["value"] <= own[measure]["high"]
    assert found["r2"]["value"] == pytest.approx(
        np.mean([found["per_class"][n]["r2"]["value"] for n in NAMES])
    )
    assert "rmse" not in found  # there is no mean of years and metres


def test_large_numbers_lose_no_digits():
    truth, predicted = TRUTH[:, :1], PREDICTED[:, :1]
    near, far = (measured(truth + by, predicted + by, ("one",))[1] for by in (0.0, 1e7))
    for name in ("rmse", "mae", "r2", "pearson"):
        assert far[name]["value"] == pytest.approx(near[name]["value"], rel=1e-6)


def test_one_number_is_judged_in_its_unit():
    quick = numbers.quick(10 * PREDICTED[:, :1], 10 * TRUTH[:, :1], (3.0,))
    rows = ~np.isnan(TRUTH[:, 0])
    assert quick["mae"] == pytest.approx(10 * np.abs(PREDICTED - TRUTH)[rows, 0].mean())
    several = numbers.quick(PREDICTED, TRUTH, np.nanstd(TRUTH, axis=0))
    errors = np.abs(PREDICTED - TRUTH) / np.nanstd(TRUTH, axis=0)
    assert several["mae"] == pytest.approx(np.nanmean(errors, axis=0).mean())


def test_intervals_hold_what_they_promise():
    """Of errors of any shape, over many validation sets: 95 of a hundred new truths, or a little more."""
    random = np.random.default_rng(0)
    shares = []
    for _ in range(400):
        errors = random.exponential(size=(60, 1)) * random.choice([-1, 5], (60, 1))
        margins = numbers.fit(errors, np.zeros((60, 1)), names=("one",))
        new = random.exponential(size=2000) * random.choice([-1, 5], 2000)
        shares.append((np.abs(new) <= margins.half[0]).mean())
    assert 0.945 < np.mean(shares) < 0.975


def test_too_few_for_an_interval():
    margins, found = measured(np.arange(18.0)[:, None], PREDICTED[:18, :1], ("one",))
    assert margins.half == (None,)
    assert "18 values, and 19 are needed" in margins.notes[0]
    assert found["coverage"]["value"] is None
    assert "too small" in found["coverage"]["why"]


def test_numbers_that_do_not_differ_have_no_r2():
    _, found = measured(np.full((30, 1), 7.1), np.random.default_rng(0).normal(7, 1, (30, 1)), ("one",))
    assert found["r2"]["value"] is None
    assert found["rmse"]["value"] > 0
