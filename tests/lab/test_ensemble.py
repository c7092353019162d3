"""Runs asked together, against what is computed by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import softmax

from tests.lab.test_compare import LABELS, fold, noisy
from tl_jax.lab.compare import Comparison
from tl_jax.lab.ensemble import asked_together

SETTINGS = SimpleNamespace(bootstrap=100, seed=0, positive="", threshold="youden")


def runs(seeds):
    return [fold(noisy(LABELS, 2.0, seed), LABELS) for seed in seeds]


def test_probabilities_are_averaged_and_a_decision_is_made_for_them():
    tests, validations = runs(range(3)), runs(range(10, 13))
    found = asked_together(tests, validations, SETTINGS)
    wanted = np.mean([softmax(one.logits, axis=1) for one in tests], axis=0)
    np.testing.assert_allclose(softmax(found.logits, axis=1), wanted, rtol=1e-9)
    of_validation = found.task.together(np.stack([one.logits for one in validations]))
    assert found.decision == found.task.decide(of_validation, LABELS, names=("a", "b"), settings=SETTINGS), (
        "calibrated on validation, as a single run is"
    )


def test_independent_errors_cancel():
    tests = runs(range(5))
    together = asked_together(tests, runs(range(10, 15)), SETTINGS)
    compared = Comparison({"alone": tests, "together": [together] * 5}, SETTINGS)
    assert compared.difference("together", "alone", "auroc").low > 0.02


def test_other_examples_are_refused():
    one, other = runs(range(2))
    moved = replace(other, ids=other.ids[::-1])
    with pytest.raises(ValueError, match="other examples"):
        asked_together([one, moved], [one, one], SETTINGS)
    with pytest.raises(ValueError, match="other examples"):
        asked_together([one, one], [one, moved], SETTINGS)
