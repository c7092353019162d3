"""Calibration finds the truth where there is one, never hurts, and never explodes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from tl_jax.evaluation import calibration, metrics


def nll(logits, labels, fitted=None):
    if fitted is not None:
        logits = calibration.apply(logits, fitted.scale, fitted.bias)
    return metrics.nll(logits, labels)


def test_two_classes_are_platt_scaling():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5000, 2)) * 6
    gap = logits[:, 1] - logits[:, 0]
    labels = (rng.random(5000) < 1 / (1 + np.exp(-(0.3 * gap - 0.8)))).astype(int)
    fitted = calibration.fit(logits, labels)
    platt = LogisticRegression(C=np.inf).fit(gap[:, None], labels)
    np.testing.assert_allclose(fitted.scale, platt.coef_[0, 0], rtol=5e-3)
    np.testing.assert_allclose(fitted.bias[1] - fitted.bias[0], platt.intercept_[0], rtol=1e-2)
    np.testing.assert_allclose(fitted.scale, 0.3, atol=0.02)
    assert fitted.notes == ()


def test_several_classes_reach_the_optimum_of_the_stated_objective():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(400, 4)) * 3
    p = np.exp(metrics.log_softmax(0.4 * logits + np.array([1.0, 0, 0, -1])))
    labels = np.array([rng.choice(4, p=row) for row in p])
    fitted = calibration.fit(logits, labels)
    centred = logits - logits.mean(axis=1, keepdims=True)
    spread = np.sqrt(2 * np.mean(np.sum(centred**2, axis=1)) / 3)

    def objective(x):
        value = 400 * metrics.nll(x[0] * centred + x[1:], labels) + np.sum(x[1:] ** 2) / 18
        return value + ((x[0] - 1) * min(spread, 10)) ** 2 / 18

    best = minimize(objective, np.r_[1.0, np.zeros(4)], method="BFGS", options={"gtol": 1e-5})
    np.testing.assert_allclose(fitted.scale, best.x[0], atol=1e-4)
    np.testing.assert_allclose(fitted.bias, best.x[1:], atol=1e-3)


def test_calibrated_data_stay_as_they_are():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(20000, 2)) * 2
    p = np.exp(metrics.log_softmax(logits))[:, 1]
    fitted = calibration.fit(logits, (rng.random(20000) < p).astype(int))
    np.testing.assert_allclose(fitted.scale, 1, atol=0.04)
    np.testing.assert_allclose(fitted.bias, 0, atol=0.04)


@pytest.mark.parametrize("size", [1e-6, 0.01, 1.0, 30.0, 1e4])
def test_separable_validation_does_not_explode(size):
    labels = np.arange(240) % 2
    logits = np.stack([np.zeros(240), (2.0 * labels - 1) * size], axis=1)
    fitted = calibration.fit(logits, labels)
    calibrated = calibration.apply(logits, fitted.scale, fitted.bias)
    assert np.isfinite(calibrated).all()
    # Small logits are raised to a probability that 240 examples can support; large ones are left.
    if size <= 1.0:
        p = np.exp(metrics.log_softmax(calibrated))[1, 1]
        assert 0.97 < p < 0.9995
    assert nll(logits, labels, fitted) <= nll(logits, labels)


@pytest.mark.parametrize("size", [20.0, 1000.0])
def test_gross_overconfidence_is_corrected(size):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 240)
    score = rng.normal(size=240) + 1.5 * labels
    logits = np.stack([np.zeros(240), size * (score - 0.75)], axis=1)
    fitted = calibration.fit(logits, labels)
    platt = LogisticRegression(C=np.inf).fit(score[:, None], labels)
    np.testing.assert_allclose(fitted.scale * size, platt.coef_[0, 0], rtol=0.1)


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 5), st.integers(1, 60), st.floats(-4, 3), st.floats(-3, 3), st.integers(0, 2**31))
def test_never_raises_the_nll_it_was_fitted_on(k, n, log_size, signal, seed):
    """Whatever the logits: useless, reversed, tiny, huge, with absent classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), labels] += signal
    logits *= 10**log_size
    fitted = calibration.fit(logits, labels)
    assert fitted.scale > 0
    assert np.isfinite(fitted.bias).all()
    assert nll(logits, labels, fitted) <= nll(logits, labels) + 1e-12


def test_reversed_scores_keep_their_order():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 300)
    gap = rng.normal(size=300) - 2 * labels
    logits = np.stack([np.zeros(300), gap], axis=1)
    fitted = calibration.fit(logits, labels)
    assert 0 < fitted.scale < 0.01
    assert "right direction" in fitted.notes[0]
    p = np.exp(metrics.log_softmax(calibration.apply(logits, fitted.scale, fitted.bias)))[:, 1]
    np.testing.assert_allclose(p, labels.mean(), atol=0.01)


def test_constant_logits_learn_the_prevalence():
    labels = np.array([0] * 90 + [1] * 10)
    fitted = calibration.fit(np.zeros((100, 2)), labels)
    p = np.exp(metrics.log_softmax(calibration.apply(np.zeros((1, 2)), fitted.scale, fitted.bias)))
    np.testing.assert_allclose(p[0], [0.9, 0.1], atol=0.02)


@pytest.mark.parametrize("n", [0, 5])
def test_one_class_or_none_falls_back_to_the_identity(n):
    fitted = calibration.fit(np.ones((n, 3)), np.zeros(n, int))
    assert fitted[:2] == (1.0, (0.0, 0.0, 0.0))
    assert "not calibrated" in fitted.notes[0]


def test_an_unseen_class_is_not_argued_away():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 200)
    logits = rng.normal(size=(200, 3))
    logits[np.arange(200), labels] += 2
    fitted = calibration.fit(logits, labels)
    assert fitted.bias[2] == 0
    np.testing.assert_allclose(sum(fitted.bias), 0, atol=0.1)
    assert "1 of 3 classes" in fitted.notes[0]
