"""Thresholds meet their criterion, lie between scores, and travel through JSON."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict
from sklearn.metrics import f1_score, roc_curve

from tl_jax import defaults
from tl_jax.evaluation import Decision, decide, fit_decision, parse_criterion, probabilities
from tl_jax.evaluation.decision import fit_threshold

CLASSES = ("normal", "pneumonia")


def asked(**changes):
    return ConfigDict({**defaults.evaluation(), **changes})


def rates(scores, truth, threshold):
    called = scores >= threshold
    return (called & truth).sum() / truth.sum(), (~called & ~truth).sum() / (~truth).sum()


@st.composite
def validation(draw):
    """Scores in 0…1 with ties and extremes, and both classes."""
    n = draw(st.integers(2, 40))
    truth = np.array([True, False, *draw(st.lists(st.booleans(), min_size=n - 2, max_size=n - 2))])
    scores = draw(st.lists(st.integers(0, 12), min_size=n, max_size=n))
    return np.array(scores) / 12, truth


@settings(max_examples=150, deadline=None)
@given(validation())
def test_youden_is_the_best_there_is(case):
    scores, truth = case
    threshold, _ = fit_threshold(scores, truth, parse_criterion("youden"))
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(sum(rates(scores, truth, threshold)) - 1, (true - false).max(), atol=1e-12)


@settings(max_examples=150, deadline=None)
@given(validation())
def test_f1_is_the_best_there_is(case):
    scores, truth = case
    threshold, _ = fit_threshold(scores, truth, parse_criterion("f1"))
    best = max(f1_score(truth, scores >= t) for t in np.unique(scores))
    np.testing.assert_allclose(f1_score(truth, scores >= threshold), best)


@settings(max_examples=150, deadline=None)
@given(validation(), st.sampled_from([0.0, 0.5, 0.9, 0.95, 1.0]), st.booleans())
def test_a_target_is_met_at_the_least_cost(case, target, of_sensitivity):
    scores, truth = case
    name = "sensitivity" if of_sensitivity else "specificity"
    threshold, _ = fit_threshold(scores, truth, parse_criterion(f"{name}>={target}"))
    sensitivity, specificity = rates(scores, truth, threshold)
    met, cost = (sensitivity, specificity) if of_sensitivity else (specificity, sensitivity)
    assert met >= target
    for other in (0.0, *scores, 2.0):
        pair = rates(scores, truth, other)[:: 1 if of_sensitivity else -1]
        assert pair[0] < target or pair[1] <= cost
        # Of equal cost, the better other rate is had for nothing.
        assert not (pair[0] > met and pair[1] >= cost)


@settings(max_examples=100, deadline=None)
@given(validation(), st.sampled_from(["youden", "f1", "sensitivity>=0.9", "specificity>=0.9"]))
def test_a_threshold_lies_in_the_middle_of_a_gap(case, criterion):
    scores, truth = case
    threshold, notes = fit_threshold(scores, truth, parse_criterion(criterion))
    below, above = scores[scores < threshold], scores[scores >= threshold]
    if len(below) and len(above):
        low, high = below.max(), above.min()
        if low > 0 and high < 1:
            odds = [np.log(p / (1 - p)) for p in (low, threshold, high)]
            np.testing.assert_allclose(odds[1], (odds[0] + odds[2]) / 2, atol=1e-9)
    else:
        assert "everything" in notes[0] or "nothing" in notes[0]


def test_of_equally_good_gaps_the_widest():
    truth = np.array([False, True, False, True])
    # Youden is 0.5 in the first gap and in the third; the third is wider.
    scores = np.array([0.10, 0.11, 0.12, 0.80])
    threshold, _ = fit_threshold(scores, truth, parse_criterion("youden"))
    assert 0.12 < threshold < 0.80
    # Neighbours in floating point leave no room between: the upper one is the threshold.
    scores = np.array([0.5, np.nextafter(0.5, 1)])
    threshold, _ = fit_threshold(scores, np.array([False, True]), parse_criterion("youden"))
    np.testing.assert_array_equal(scores >= threshold, [False, True])


def logits_and_labels(k=2, n=200, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)).astype(np.float32)
    logits[np.arange(n), labels] += 1.5
    return logits, labels


@pytest.mark.parametrize("criterion", ["youden", "f1", "sensitivity>=0.95", "specificity >= .9"])
@pytest.mark.parametrize("positive", ["", "normal", "pneumonia"])
def test_criterion_holds_for_the_decisions_on_validation(criterion, positive):
    logits, labels = logits_and_labels()
    decision = fit_decision(
        logits, labels, classes=CLASSES, settings=asked(threshold=criterion, positive=positive)
    )
    wanted = CLASSES.index(positive) if positive else 1
    assert decision.positive == wanted
    assert decision.criterion == criterion
    p = probabilities(logits, decision)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    decided = decide(p, decision)
    np.testing.assert_array_equal(decided == wanted, p[:, wanted] >= decision.threshold)
    if criterion.startswith("sens"):
        assert (decided == wanted)[labels == wanted].mean() >= 0.95
    if criterion.startswith("spec"):
        assert (decided != wanted)[labels != wanted].mean() >= 0.9


def test_swapping_the_classes_swaps_the_decision():
    logits, labels = logits_and_labels(seed=3)
    one = fit_decision(logits, labels, classes=CLASSES, settings=asked())
    other = fit_decision(
        logits[:, ::-1], 1 - labels, classes=CLASSES[::-1], settings=asked(positive="pneumonia")
    )
    np.testing.assert_allclose(one.threshold, other.threshold)
    np.testing.assert_allclose(one.scale, other.scale)
    np.testing.assert_array_equal(
        decide(probabilities(logits, one), one), 1 - decide(probabilities(logits[:, ::-1], other), other)
    )


def test_more_classes_take_the_most_probable():
    logits, labels = logits_and_labels(k=3)
    decision = fit_decision(logits, labels, classes=("a", "b", "c"), settings=asked())
    assert decision.threshold is None
    assert decision.criterion == "argmax"
    assert "'youden' is not used" in decision.notes[-1]
    p = probabilities(logits, decision)
    np.testing.assert_array_equal(decide(p, decision), p.argmax(axis=1))


@pytest.mark.parametrize("labels", [[], [1, 1, 1], [0, 0]])
def test_without_both_classes_nothing_is_fitted_and_it_says_so(labels):
    logits = np.ones((len(labels), 2))
    decision = fit_decision(logits, np.array(labels, int), classes=CLASSES, settings=asked())
    assert (decision.scale, decision.bias, decision.threshold) == (1.0, (0.0, 0.0), 0.5)
    assert len(decision.notes) == 2


def test_json_round_trip():
    logits, labels = logits_and_labels()
    decision = fit_decision(logits, labels, classes=CLASSES, settings=asked())
    assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision
    assert Decision.from_dict(ConfigDict(decision.to_dict()).to_dict()) == decision


def test_unknown_names_are_explained():
    logits, labels = logits_and_labels()
    with pytest.raises(ValueError, match="normal, pneumonia; did you mean 'pneumonia'"):
        fit_decision(logits, labels, classes=CLASSES, settings=asked(positive="pneumonai"))
    for criterion in ("yoden", "sensitivity>=95", "accuracy>=0.9", "sensitivity>0.9", "sensitivity>=."):
        with pytest.raises(ValueError, match="is no criterion; choose 'youden'"):
            parse_criterion(criterion)


def test_all_that_is_wrong_is_listed_at_once():
    with pytest.raises(ValueError) as error:
        fit_decision([[0.0, np.nan], [0.0, 1.0]], [0, 2], classes=CLASSES, settings=asked())
    assert "1 of 4 logits are not finite" in str(error.value)
    assert "labels must lie in 0…1; found 0…2" in str(error.value)
    with pytest.raises(ValueError, match=r"logits must have the shape \(n, 2\), not \(2, 3\)"):
        fit_decision(np.zeros((2, 3)), [0, 1], classes=CLASSES, settings=asked())
