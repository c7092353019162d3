"""The cheap numbers during training."""

import numpy as np
import pytest
from sklearn import metrics as sk

from tl_jax.evaluation import HIGHER_IS_BETTER, is_better, quick


@pytest.mark.parametrize("k", [2, 3])
def test_equal_sklearn(k):
    rng = np.random.default_rng(k)
    labels = rng.integers(0, k, 80)
    logits = rng.normal(size=(80, k)).astype(np.float32)
    p = np.exp(logits.astype(float))
    p /= p.sum(axis=1, keepdims=True)
    found = quick(logits, labels)
    expected = {
        "nll": sk.log_loss(labels, p),
        "accuracy": sk.accuracy_score(labels, p.argmax(axis=1)),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, p.argmax(axis=1)),
        "auroc": np.mean([sk.roc_auc_score(labels == c, p[:, c]) for c in range(k)]),
    }
    assert found.keys() == expected.keys() == HIGHER_IS_BETTER.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value)
        assert type(found[name]) is float


def test_undefined_is_none():
    assert quick(np.zeros((3, 2)), [1, 1, 1])["auroc"] is None
    assert quick(np.zeros((3, 2)), [1, 1, 1])["nll"] == pytest.approx(np.log(2))
    assert set(quick(np.zeros((0, 2)), np.zeros(0, int)).values()) == {None}
    assert set(quick(np.full((2, 2), np.nan), [0, 1]).values()) == {None}


def test_is_better():
    assert is_better(False, 0.4, 0.5)
    assert not is_better(False, 0.5, 0.5)
    assert not is_better(False, 0.45, 0.5, min_delta=0.1)
    assert is_better(True, 0.9, 0.8)
    assert not is_better(True, 0.7, 0.8)
    assert is_better(True, 0.1, None)
    assert not is_better(True, None, None)
    assert not is_better(True, float("nan"), 0.1)
