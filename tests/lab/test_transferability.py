"""Transferability scores against their definitions, on cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from tl_jax.lab.transferability import h_score, leep, logme


@pytest.mark.parametrize(("n", "d"), [(60, 5), (20, 40)])
def test_logme_is_the_highest_evidence(n, d):
    """y ~ N(0, I / β + F Fᵀ / α), its density maximised over α and β by somebody else."""
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, d))
    y = (x[:, 0] + rng.normal(size=n) > 0).astype(int)

    def evidence(precisions, target):
        alpha, beta = np.exp(precisions)
        covariance = np.eye(n) / beta + x @ x.T / alpha
        return stats.multivariate_normal(np.zeros(n), covariance, allow_singular=False).logpdf(target) / n

    best = []
    for label in (0, 1):
        target = (y == label).astype(float)
        starts = [(0, 0), (3, 1), (-2, 2), (5, 3)]
        best.append(
            max(
                -optimize.minimize(lambda p, t=target: -evidence(p, t), start, method="Nelder-Mead").fun
                for start in starts
            )
        )
    assert logme(x, y) == pytest.approx(np.mean(best), abs=1e-4)


def test_logme_prefers_what_separates():
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    noise = rng.normal(size=(300, 8))
    scores = [logme(noise + strength * np.eye(3, 8)[y], y) for strength in (0, 1, 3)]
    assert scores == sorted(scores)


def test_h_score_of_two_gaussians():
    """One feature, classes of equal size at ±m with variance 1: m² of 1 + m² lies between them."""
    rng = np.random.default_rng(0)
    y = np.arange(200_000) % 2
    for m in (0.0, 1.0, 3.0):
        x = rng.normal(size=(len(y), 1)) + m * (2 * y - 1)[:, None]
        assert h_score(x, y) == pytest.approx(m**2 / (1 + m**2), abs=5e-3)


def test_h_score_has_its_bounds_and_no_scale():
    y = np.arange(90) % 3
    perfect = np.eye(3)[y]
    assert h_score(perfect, y) == pytest.approx(2)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(90, 4)) + perfect @ rng.normal(size=(3, 4))
    assert 0 < h_score(x, y) < 2
    assert h_score(x @ rng.normal(size=(4, 4)) + 7, y) == pytest.approx(h_score(x, y))
    assert h_score(np.hstack([x, x]), y) == pytest.approx(h_score(x, y)), "a feature said twice tells nothing"


def test_leep_of_known_tables():
    y = np.array([0, 0, 1, 1])
    known = np.eye(2)[y]
    assert leep(known, y) == pytest.approx(0), "each source class is one target class"
    assert leep(np.full((4, 2), 0.5), y) == pytest.approx(np.log(0.5)), "the source says nothing"
    # By hand: P(z=0) = 0.55, P(0|z=0) = 0.85 / 1.1, P(0|z=1) = 0.15 / 0.9
    theta = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8]])
    zero, one = theta[:2].sum(axis=0) / theta.sum(axis=0), theta[2:].sum(axis=0) / theta.sum(axis=0)
    expected = np.mean(np.log([theta[0] @ zero, theta[1] @ zero, theta[2] @ one, theta[3] @ one]))
    assert leep(theta, y) == pytest.approx(expected)


def test_leep_lies_between_the_labels_entropy_and_nothing():
    rng = np.random.default_rng(0)
    theta, y = rng.dirichlet(np.ones(10), 500), rng.integers(0, 2, 500)
    share = y.mean()
    assert share * np.log(share) + (1 - share) * np.log(1 - share) <= leep(theta, y) <= 0


@pytest.mark.parametrize("score", [logme, h_score, leep])
def test_what_cannot_be_scored_is_refused(score):
    with pytest.raises(ValueError, match="one class only"):
        score(np.full((4, 2), 0.5), np.zeros(4))
    with pytest.raises(ValueError, match=r"\(4, 2\) and \(3,\)"):
        score(np.full((4, 2), 0.5), np.zeros(3))
    with pytest.raises(ValueError, match="finite"):
        score(np.full((4, 2), np.nan), np.arange(4))


def test_leep_takes_probabilities():
    with pytest.raises(ValueError, match="probabilities"):
        leep(np.ones((4, 2)), np.arange(4) % 2)
