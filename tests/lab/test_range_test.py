"""The range test on losses whose good rates are known."""

from __future__ import annotations

import numpy as np
import pytest

from tl_jax.lab.range_test import SMOOTHING, Curve, rates, suggestions, sweep


class Quadratic:
    """Gradient descent on λ/2 · w², which diverges above 2/λ."""

    def __init__(self, curvature):
        self.curvature, self.w = curvature, 1.0

    def __call__(self, i, rate):
        loss = 0.5 * self.curvature * self.w**2
        self.w -= rate * self.curvature * self.w
        return loss


def curve(smoothed):
    smoothed = np.asarray(smoothed, float)
    return Curve(rates(1e-5, 1, len(smoothed)), smoothed, smoothed, None)


def test_rates_grow_by_the_same_factor():
    found = rates(1e-6, 1.0, 7)
    np.testing.assert_allclose(found, [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1], rtol=1e-12)


def test_the_average_is_of_what_has_been_seen_so_far():
    """Weights of a moving average, divided by their sum."""
    losses = [3.0, 1.0, 2.0]
    found = sweep(lambda i, rate: losses[i], rates(1e-3, 1, 3))
    for i in range(3):
        weights = SMOOTHING ** np.arange(i, -1, -1)
        assert found.smoothed[i] == pytest.approx(weights @ losses[: i + 1] / weights.sum())
    np.testing.assert_array_equal(found.losses, losses)


@pytest.mark.parametrize("curvature", [0.5, 20.0, 3000.0])
def test_a_quadratic_diverges_above_two_over_its_curvature(curvature):
    edge = 2 / curvature
    found = sweep(Quadratic(curvature), rates(1e-4 * edge, 1e4 * edge, 100))
    assert found.diverged is not None
    assert edge < found.diverged < 20 * edge
    for rule, rate in suggestions(found).items():
        assert 1e-3 * edge < rate < edge, rule


def test_what_never_diverges():
    found = sweep(lambda i, rate: 1 / (1 + 10 * rate), rates(1e-6, 10, 100))
    assert found.diverged is None
    assert len(found.rates) == 100
    assert set(suggestions(found)) == {"valley", "steepest", "minimum/10"}


def test_a_loss_that_falls_to_nothing_has_not_diverged_by_being_four_times_that():
    losses = [1.0] * 20 + [1e-9] * 60 + [1e-3] * 20
    assert sweep(lambda i, rate: losses[i], rates(1e-6, 10, 100)).diverged is None


def test_noise_suggests_nothing():
    random = np.random.default_rng(0)
    found = sweep(lambda i, rate: 0.7 + 0.03 * random.normal(), rates(1e-6, 10, 100))
    assert suggestions(found) == {}


def test_nothing_is_suggested_where_the_loss_only_rises():
    assert suggestions(curve(np.linspace(1, 3, 60))) == {}


def test_the_three_rules():
    """Flat, then a fall whose steepest part and end are known, then a rise."""
    smoothed = np.concatenate([np.full(30, 1.0), 1 - 0.01 * np.arange(1, 21), np.linspace(0.6, 0.5, 5)])
    smoothed = np.concatenate([smoothed, np.linspace(0.55, 2, 20)])
    found, tried = suggestions(curve(smoothed)), rates(1e-5, 1, len(smoothed))
    assert found["minimum/10"] == pytest.approx(tried[np.argmin(smoothed)] / 10)
    assert found["steepest"] == pytest.approx(tried[49]), "before the step from 0.8 to 0.6"
    assert tried[38] <= found["valley"] <= tried[44], "the middle of a fall from 29 to 54"


def test_it_stops_where_the_loss_is_no_number():
    losses = [1.0] * 40 + [float("nan")] * 60
    seen: list[float] = []

    def step(i, rate):
        seen.append(rate)
        return losses[i]

    found = sweep(step, rates(1e-6, 10, 100))
    assert len(found.losses) == 40
    assert found.diverged == seen[-1] == pytest.approx(rates(1e-6, 10, 100)[40])


def test_no_number_at_the_start_is_an_error_that_says_what_it_means():
    with pytest.raises(FloatingPointError, match="nan before the first step, so that no learning rate"):
        sweep(lambda i, rate: float("nan"), rates(1e-6, 10, 100))
    with pytest.raises(FloatingPointError, match=r"inf after 3 steps.*--find_from"):
        sweep(lambda i, rate: [1.0, 1.0, 1.0, float("inf")][i], rates(1e-6, 10, 100))
