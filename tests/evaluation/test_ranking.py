"""AUROC and average precision against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from tl_jax.evaluation.ranking import Ranking, auroc, average_precision


@pytest.mark.parametrize("decimals", [0, 1, 8])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_equal_sklearn_with_ties_and_weights(decimals, share):
    rng = np.random.default_rng(int(share * 100) + decimals)
    positive = rng.random(150) < share
    positive[:2] = True, False
    scores = (rng.normal(size=150) + positive).round(decimals)
    weights = rng.integers(0, 4, (150, 5))
    weights[:2] = 1
    np.testing.assert_allclose(auroc(scores, positive), roc_auc_score(positive, scores))
    np.testing.assert_allclose(average_precision(scores, positive), average_precision_score(positive, scores))
    areas, precisions = Ranking(scores, positive).areas(weights.astype(float))
    for column, w in enumerate(weights.T):
        np.testing.assert_allclose(areas[column], roc_auc_score(positive, scores, sample_weight=w))
        expected = average_precision_score(positive, scores, sample_weight=w)
        np.testing.assert_allclose(precisions[column], expected)
        np.testing.assert_allclose(auroc(scores, positive, w), areas[column])


def test_weights_mean_repetition():
    scores, positive, weights = np.array([0.1, 0.4, 0.4, 0.9]), np.array([0, 1, 0, 1], bool), [1, 2, 3, 0]
    again = np.repeat(np.arange(4), weights)
    np.testing.assert_allclose(auroc(scores, positive, weights), auroc(scores[again], positive[again]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-20, 20), st.booleans()), min_size=2, max_size=40))
def test_only_the_order_counts(pairs):
    scores, positive = np.array([s for s, _ in pairs]), np.array([p for _, p in pairs])
    before = auroc(scores, positive)
    for increasing in (np.exp(scores / 7), scores**3 + scores, 1 / (1 + np.exp(-scores / 9))):
        np.testing.assert_allclose(auroc(increasing, positive), before)
        np.testing.assert_allclose(
            average_precision(increasing, positive), average_precision(scores, positive)
        )
    np.testing.assert_allclose(auroc(-scores, positive), 1 - before)
    np.testing.assert_allclose(auroc(scores, ~positive), 1 - before)


def test_undefined():
    assert np.isnan(auroc([0.1, 0.2], [True, True]))
    assert np.isnan(auroc([0.1, 0.2], [False, False]))
    assert np.isnan(average_precision([0.1, 0.2], [False, False]))
    assert np.isnan(auroc([], []))
    # A replicate without a positive, beside one that has some.
    areas, _ = Ranking([0.1, 0.2], [False, True]).areas(np.array([[1.0, 1.0], [0.0, 1.0]]))
    np.testing.assert_array_equal(areas, [np.nan, 1.0])


def test_all_tied_is_a_coin():
    assert auroc([3, 3, 3], [True, False, True]) == 0.5


def test_bad_input():
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        auroc([np.nan, 1.0], [True, False])
    with pytest.raises(ValueError, match=r"must both be \(n,\)"):
        auroc([0.5, 1.0], [True])


@given(data=st.data(), n=st.integers(2, 40))
def test_the_sensitivity_at_a_specificity_is_read_off_the_roc_curve(data, n):
    from sklearn.metrics import roc_curve

    truth = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    scores = np.array(data.draw(st.lists(st.integers(0, 6), min_size=n, max_size=n)), float)
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), float)
    found = Ranking(scores, truth).sensitivity_at(0.8, weights)
    if not weights[truth].sum() or not weights[~truth].sum():
        assert np.isnan(found)
        return
    false, true, _ = roc_curve(truth, scores, sample_weight=weights, drop_intermediate=False)
    assert found == pytest.approx(true[false <= 0.2 + 1e-9].max())
