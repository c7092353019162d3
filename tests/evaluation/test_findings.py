"""Measures of findings against scikit-learn, where the findings are known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from tests.tasks import made
from tests.tasks.made import NAMES, SETTINGS
from tl_jax.evaluation import findings

TRUTH = made.labels("multi_label", 80)
LOGITS = made.logits("multi_label", TRUTH).astype(float)
GROUPS = np.arange(80) // 2


def measured(truth=TRUTH, logits=LOGITS, names=NAMES):
    decision = findings.fit(logits, truth, names=names, settings=SETTINGS)
    return decision, findings.measure(
        logits, truth, GROUPS[: len(truth)], names=names, decision=decision, settings=SETTINGS
    )


def test_equal_sklearn():
    decision, found = measured()
    each = {"auroc": [], "average_precision": []}
    for k, name in enumerate(NAMES):
        rows = ~np.isnan(TRUTH[:, k])
        truth, scores = TRUTH[rows, k], LOGITS[rows, k]
        each["auroc"].append(sk.roc_auc_score(truth, scores))
        each["average_precision"].append(sk.average_precision_score(truth, scores))
        called = findings.decided(LOGITS, decision)[rows, k]
        own = found["per_class"][name]
        assert own["sensitivity"]["value"] == pytest.approx(sk.recall_score(truth, called))
        assert own["nll"]["value"] == pytest.approx(sk.log_loss(truth, 1 / (1 + np.exp(-scores))))
        assert own["auroc"]["low"] < own["auroc"]["value"] < own["auroc"]["high"]
        assert found["counts"][name] == int((truth == 1).sum())
        assert found["known"][name] == int(rows.sum())
    for name, values in each.items():
        np.testing.assert_allclose([found["per_class"][n][name]["value"] for n in NAMES], values)
        assert found[name]["value"] == pytest.approx(np.mean(values))
    assert findings.quick(LOGITS, TRUTH)["auroc"] == pytest.approx(np.mean(each["auroc"]))


def test_what_is_missing_counts_for_nothing():
    """Whatever the network says there."""
    logits = LOGITS.copy()
    logits[np.isnan(TRUTH)] = 100
    assert measured(logits=logits)[1] == measured()[1]
    assert findings.quick(logits, TRUTH) == findings.quick(LOGITS, TRUTH)


def test_a_finding_nobody_has_is_said_to_be_undefined():
    truth = TRUTH.copy()
    truth[:, 1] = np.where(np.isnan(truth[:, 1]), np.nan, 0)
    decision, found = measured(truth)
    assert found["per_class"]["two"]["auroc"]["value"] is None
    assert "needs examples" in found["per_class"]["two"]["auroc"]["why"]
    assert found["auroc"]["note"] == "mean over 2 of 3 findings; undefined: two"
    assert any(note.startswith("two: ") for note in decision.notes)
    assert findings.quick(LOGITS, truth)["auroc"] == pytest.approx(
        np.mean([found["per_class"][name]["auroc"]["value"] for name in ("one", "three")])
    )


def test_wrong_input_is_told_at_once():
    decision, _ = measured()
    logits, truth = LOGITS.copy(), TRUTH.copy()
    logits[0, 0], truth[1, 1] = np.nan, 2
    with pytest.raises(ValueError, match=r"1 of 240 logits.*1 labels are neither 0 nor 1"):
        findings.measure(logits, truth, None, names=NAMES, decision=decision, settings=SETTINGS)
