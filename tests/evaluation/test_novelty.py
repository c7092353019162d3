"""The energy of logits as a score of what is unknown."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tl_jax.evaluation.novelty import MEASURE, Novelty


def answered(rng, *, spread, n=40, k=3):
    return SimpleNamespace(logits=rng.normal(scale=spread, size=(n, k)))


def test_equals_sklearn_on_the_papers_score_and_knows_weights():
    rng = np.random.default_rng(0)
    known, unknown = answered(rng, spread=4.0), answered(rng, spread=2.0)
    energy = np.concatenate([-np.log(np.exp(one.logits).sum(axis=1)) for one in (known, unknown)])
    truth = np.repeat([0, 1], 40)
    weights = rng.integers(0, 3, (40, 5)).astype(float)
    found = Novelty(known, unknown)(weights)[MEASURE]
    expected = [roc_auc_score(truth, energy, sample_weight=np.tile(one, 2)) for one in weights.T]
    np.testing.assert_allclose(found, expected)


def test_logits_that_grow_smaller_are_noticed():
    rng = np.random.default_rng(0)
    known = SimpleNamespace(logits=np.abs(rng.normal(size=(30, 2))) + 5)
    unknown = SimpleNamespace(logits=known.logits / 100)
    assert Novelty(known, unknown)(np.ones((30, 1)))[MEASURE] == pytest.approx([1.0])
    assert Novelty(known, known)(np.ones((30, 1)))[MEASURE] == pytest.approx([0.5])
