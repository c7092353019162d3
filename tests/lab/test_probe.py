"""Linear probes against scikit-learn's logistic regression."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tl_jax.evaluation import metrics
from tl_jax.lab import probe


def blobs(classes, n, d, seed):
    centres = np.random.default_rng(0).normal(size=(classes, d))
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    return (centres[y] + 2 * rng.normal(size=(n, d))) * np.logspace(-3, 3, d) + 5, y


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("decay", [1e-3, 1e-1])
def test_it_is_logistic_regression(classes, decay):
    x, y = blobs(classes, 200, 6, 1)
    found = probe.fit((x, y), (x, y), classes, [decay])
    theirs = LogisticRegression(C=1 / (decay * len(x)), tol=1e-8, max_iter=5000)
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    expected = theirs.fit(standard, y).predict_proba(standard)
    ours = np.exp(metrics.log_softmax(found.logits(x)))
    if classes == 2:  # theirs has one vector of weights, ours two of half the length: twice the decay
        theirs = LogisticRegression(C=2 / (decay * len(x)), tol=1e-8, max_iter=5000)
        expected = theirs.fit(standard, y).predict_proba(standard)
    np.testing.assert_allclose(ours, expected, atol=2e-4)


def test_validation_chooses_the_decay():
    train, val, test = (blobs(3, n, 40, seed) for n, seed in ((60, 1), (400, 2), (2000, 3)))
    chosen = probe.fit(train, val, 3)
    nlls = {d: metrics.nll(probe.fit(train, val, 3, [d]).logits(val[0]), val[1]) for d in probe.DECAYS}
    assert chosen.decay == min(nlls, key=nlls.__getitem__)
    assert metrics.nll(chosen.logits(test[0]), test[1]) < np.log(3)


def test_a_feature_that_never_varies_does_no_harm():
    x, y = blobs(2, 100, 4, 1)
    x[:, 2] = 7.0
    found = probe.fit((x, y), (x, y), 2)
    assert np.isfinite(found.logits(x)).all()
    assert np.allclose(found.kernel[2], 0)
