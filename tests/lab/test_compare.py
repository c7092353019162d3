"""Comparisons in pairs, against cases whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tl_jax.evaluation import Decision
from tl_jax.lab.compare import Comparison, combined, holm, rises
from tl_jax.pooled import Fold
from tl_jax.tasks import Classification

SETTINGS = SimpleNamespace(bootstrap=400, seed=0)
DECISION = Decision(1.0, (0.0, 0.0), 0.5, "0.5", 1)


def fold(logits, labels, groups=None):
    n = len(labels)
    ids = tuple(map(str, range(n)))
    names = tuple(map(str, groups if groups is not None else range(n)))
    result = {"classes": ["a", "b"]}
    return Fold("", Classification(), result, DECISION, ids, names, np.asarray(labels), logits, (), ())


def noisy(labels, noise, seed):
    """Logits that know the labels, but for some noise."""
    rng = np.random.default_rng(seed)
    margin = (2 * labels - 1) + noise * rng.normal(size=len(labels))
    return np.stack([-margin / 2, margin / 2], axis=1)


LABELS = np.arange(200) % 2


def arms(**noise):
    return {name: [fold(noisy(LABELS, level, s), LABELS) for s in range(3)] for name, level in noise.items()}


def test_an_arm_does_not_differ_from_itself():
    same = arms(a=1.0)["a"]
    compared = Comparison({"a": same, "b": same}, SETTINGS)
    for other in ("a", "b"):
        found = compared.difference("a", other, "auroc")
        assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_a_clear_difference_is_found_and_goes_the_right_way():
    compared = Comparison(arms(good=0.5, bad=3.0), SETTINGS)
    for measure in ("auroc", "accuracy"):
        found = compared.difference("good", "bad", measure)
        assert 0 < found.low < found.value < found.high
        assert found.p < 0.02
        assert compared.loss("bad", "good", measure).value == pytest.approx(found.value)
        assert compared.best(measure) == "good"
    assert compared.difference("good", "bad", "nll").value < 0
    assert compared.loss("bad", "good", "nll").low > 0
    assert compared.best("nll") == "good"


def test_what_means_rest_on_is_counted_by_the_datas_own_groups():
    """Texts have no patients, and pictures may have none."""
    alone = Comparison({"a": [fold(noisy(LABELS, 1.0, 0), LABELS)]}, SETTINGS)
    assert alone.basis == "means of 1 seed on 200 test examples, 95 % intervals over both"
    grouped = [fold(noisy(LABELS, 1.0, s), LABELS, np.arange(200) // 4) for s in range(2)]
    assert Comparison({"a": grouped}, SETTINGS).basis.startswith(
        "means of 2 seeds on 50 groups of test examples"
    )


def test_without_resamples_there_is_nothing_to_compare_by():
    settings = SimpleNamespace(bootstrap=0, seed=0)
    with pytest.raises(ValueError, match=r"evaluation\.bootstrap=0"):
        Comparison(arms(a=1.0), settings)


def test_pairs_know_more_than_single_intervals():
    """Arms that err on the same pictures differ by little noise, however wide each one's interval is."""
    base = [fold(noisy(LABELS, 2.0, s), LABELS) for s in range(3)]
    better = [replace(one, logits=one.logits + 0.3 * noisy(LABELS, 0.0, 0)) for one in base]
    compared = Comparison({"a": better, "b": base}, SETTINGS)
    alone, paired = compared.arm("a", "auroc"), compared.difference("a", "b", "auroc")
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)
    assert paired.low > 0


def test_intervals_hold_what_they_promise():
    """Of differences between arms that are equally good, some 95 % hold 0: over patients and seeds."""
    held = 0
    trials = 100
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        groups = np.repeat(np.arange(40), 2)
        labels = np.repeat(rng.integers(0, 2, 40), 2)
        of_patient = np.repeat(rng.normal(size=40), 2)
        made = {}
        for name in "ab":
            luck = rng.normal(size=(4, 1)) * 0.5  # of the seed
            margin = (labels - 0.5) + of_patient + luck * rng.normal(size=80) + rng.normal(size=(4, 80))
            made[name] = [fold(np.stack([-one / 2, one / 2], axis=1), labels, groups) for one in margin]
        found = Comparison(made, SimpleNamespace(bootstrap=200, seed=trial)).difference("a", "b", "auroc")
        held += found.low <= 0 <= found.high
    assert held >= 90


def test_what_comparisons_have_in_common_falls_out_of_their_difference():
    """The mean of two that are the same is the same; what is lost from one to itself is nothing, for sure."""
    one, other = (Comparison(arms(a=1.0, b=shift), SETTINGS) for shift in (0.5, 0.8))
    mean, lost = combined([(0.5, one), (0.5, other)]), combined([(1, one), (-1, one)])
    for arm in "ab":
        values = [compared.points[arm]["auroc"] for compared in (one, other)]
        assert mean.arm(arm, "auroc").value == pytest.approx(np.mean(values))
        assert (lost.arm(arm, "auroc").low, lost.arm(arm, "auroc").high) == (0, 0)
    assert mean.arm("a", "auroc").low == pytest.approx(one.arm("a", "auroc").low)
    assert mean.each["b"]["nll"] == pytest.approx(
        np.mean([one.each["b"]["nll"], other.each["b"]["nll"]], axis=0)
    )
    with pytest.raises(ValueError, match="other arms or pictures"):
        combined([(1, one), (-1, Comparison(arms(a=1.0), SETTINGS))])


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_which_way_is_better():
    assert all(map(rises, ("auroc", "accuracy", "sensitivity", "balanced_accuracy_at_0.5")))
    assert not any(map(rises, ("nll", "nll_calibrated", "brier", "ece", "ece_calibrated")))


def test_no_arm_is_judged_by_what_is_neither_better_nor_worse():
    compared = Comparison(arms(a=1.0), SETTINGS)
    compared.points = {"a": {"bias": 0.1, "length_ratio": 1.1, "rmse": 2.0}}
    assert compared.measure() == "rmse"
    with pytest.raises(ValueError, match=r"neither more nor less of it is better.* one of rmse: tables show"):
        compared.measure("length_ratio")


def test_what_cannot_be_paired_is_refused():
    with pytest.raises(ValueError, match="as many runs"):
        Comparison({"a": arms(a=1.0)["a"], "b": arms(b=1.0)["b"][:2]}, SETTINGS)
    other = [replace(one, ids=tuple("x" * 200)) for one in arms(b=1.0)["b"]]
    with pytest.raises(ValueError, match=r"other test pictures.*: b"):
        Comparison({"a": arms(a=1.0)["a"], "b": other}, SETTINGS)
