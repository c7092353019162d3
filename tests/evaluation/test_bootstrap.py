"""The resampling itself: whole groups, the same draws however chunked, intervals that cover."""

import numpy as np
import pytest

from tl_jax.evaluation import metrics
from tl_jax.evaluation.bootstrap import Resampling, percentiles, reflected


def draws(groups, **kwargs):
    return np.concatenate(list(Resampling(groups, **kwargs)), axis=1)


def test_groups_are_drawn_whole_and_as_many_as_there_are():
    groups = np.array(["a", "b", "a", "c", "c", "c"])
    weights = draws(groups, replicates=200, seed=0)
    assert weights.shape == (6, 200)
    for name in "abc":
        rows = weights[groups == name]
        assert (rows == rows[0]).all()
    first = [list(groups).index(name) for name in "abc"]
    assert (weights[first].sum(axis=0) == 3).all()
    # Each group is drawn once on average, and left out in (2/3)³ of the replicates.
    np.testing.assert_allclose(weights[first].mean(axis=1), 1, atol=0.2)
    np.testing.assert_allclose((weights[first] == 0).mean(), (2 / 3) ** 3, atol=0.08)


def test_chunks_do_not_change_the_draws():
    groups = np.arange(17) // 2
    whole = draws(groups, replicates=50, seed=3)
    np.testing.assert_array_equal(whole, draws(groups, replicates=50, seed=3, chunk=17 * 7))
    np.testing.assert_array_equal(whole, draws(groups, replicates=50, seed=3, chunk=1))
    assert (whole != draws(groups, replicates=50, seed=4)).any()


def test_percentiles_equal_numpy_and_count_the_undefined():
    values = np.random.default_rng(0).normal(size=(101, 3))
    values[:40, 1] = np.nan
    values[:, 2] = np.nan
    low, high, undefined = percentiles(values)
    np.testing.assert_array_equal(undefined, [0, 40, 101])
    for column in (0, 1):
        np.testing.assert_allclose(
            [low[column], high[column]], np.nanquantile(values[:, column], [0.025, 0.975])
        )
    assert np.isnan([low[2], high[2]]).all()


def test_reflected_keeps_the_value_inside():
    low, high = reflected(np.array([0.3, 0.05]), np.array([0.5, 0.09]), np.array([0.25, 0.06]))
    np.testing.assert_allclose(low, [0.0, 0.03])
    np.testing.assert_allclose(high, [0.25, 0.07])


def interval(values, groups, seed=0):
    found = [metrics.mean(values, w) for w in Resampling(groups, replicates=300, seed=seed)]
    low, high, _ = percentiles(np.concatenate(found)[:, None])
    return low[0], high[0]


def test_intervals_cover_the_truth():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(300):
        low, high = interval(rng.random(120) < 0.8, np.arange(120), seed)
        hits += low <= 0.8 <= high
    assert 0.91 <= hits / 300 <= 0.98


@pytest.mark.parametrize("by_patient", [True, False])
def test_clustered_pictures_need_the_bootstrap_over_patients(by_patient):
    """Six pictures a patient that stand or fall together: only the clustered interval covers."""
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(60), 6)
    covered, width = 0, []
    for seed in range(200):
        ease = rng.beta(1.6, 0.4, 60)  # mean 0.8
        right = rng.random(360) < ease[patients]
        low, high = interval(right, patients if by_patient else np.arange(360), seed)
        covered += low <= 0.8 <= high
        width.append(high - low)
    if by_patient:
        assert covered / 200 > 0.89
        assert np.mean(width) > 0.12
    else:
        assert covered / 200 < 0.85
        assert np.mean(width) < 0.1
