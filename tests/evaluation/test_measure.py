"""The whole report: equal to a plain loop over scikit-learn, and honest where numbers fail."""

import json
import time

import numpy as np
import pytest
from ml_collections import ConfigDict
from sklearn import metrics as sk

from tl_jax import defaults
from tl_jax.evaluation import bootstrap, decide, fit_decision, measure, metrics, probabilities
from tl_jax.evaluation import measure as measure_function
from tl_jax.evaluation.bootstrap import Resampling


def asked(**changes):
    return ConfigDict({**defaults.evaluation(), "bootstrap": 60, **changes})


def sample(n=150, k=2, seed=0, signal=1.2):
    """Logits (with ties), labels and groups of some two pictures."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)).round(1).astype(np.float32)
    logits[np.arange(n), labels] += signal
    groups = np.array([f"p{i}" for i in rng.integers(0, n // 2, n)])
    return logits, labels, groups


def report(logits, labels, groups, **changes):
    """(measures, decision), the decision fitted on other data."""
    k, settings = logits.shape[1], asked(**changes)
    classes = tuple(f"class{c}" for c in range(k))
    val = sample(200, k, seed=99)
    decision = fit_decision(val[0], val[1], classes=classes, settings=settings)
    found = measure(logits, labels, groups, classes=classes, decision=decision, settings=settings)
    return found, decision


def softmax(logits):
    e = np.exp(logits.astype(float) - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def binary(truth, scores, called, w):
    """One class against the rest, by scikit-learn; ``w`` are example weights."""
    if not (truth * w).any() or not (~truth * w).any():
        return None
    common = dict(sample_weight=w, zero_division=np.nan)
    return {
        "accuracy": sk.accuracy_score(truth, called, sample_weight=w),
        "auroc": sk.roc_auc_score(truth, scores, sample_weight=w),
        "average_precision": sk.average_precision_score(truth, scores, sample_weight=w),
        "sensitivity": sk.recall_score(truth, called, **common),
        "specificity": sk.recall_score(~truth, ~called, **common),
        "ppv": sk.precision_score(truth, called, **common),
        "npv": sk.precision_score(~truth, ~called, **common),
        "f1": sk.f1_score(truth, called, **common),
    }


def by_sklearn(logits, labels, decision, w):
    """The overall measures, the slow and obvious way."""
    k = logits.shape[1]
    raw, calibrated = softmax(logits), probabilities(logits, decision)
    half, decided = logits.argmax(axis=1), decide(calibrated, decision)
    w = np.asarray(w, float)
    found = {"accuracy": sk.accuracy_score(labels, half, sample_weight=w)}
    found["balanced_accuracy"] = sk.balanced_accuracy_score(labels, decided, sample_weight=w)
    each = [binary(labels == c, raw[:, c], decided == c, w) for c in range(k)]
    if k == 2:
        found["accuracy_at_threshold"] = sk.accuracy_score(labels, decided, sample_weight=w)
        found |= {name: value for name, value in each[1].items() if name != "accuracy"}
        false, true, _ = sk.roc_curve(labels == 1, raw[:, 1], sample_weight=w, drop_intermediate=False)
        found["sensitivity_at_95_specificity"] = true[false <= 0.05 + 1e-9].max()
        at_half = binary(labels == 1, raw[:, 1], half == 1, w)
        false, true, _ = sk.roc_curve(labels == 1, raw[:, 1], sample_weight=w, drop_intermediate=False)
        found["sensitivity_at_95_specificity"] = true[false <= 0.05 + 1e-9].max()
        found["sensitivity_at_0.5"] = at_half["sensitivity"]
        found["specificity_at_0.5"] = at_half["specificity"]
        found["balanced_accuracy_at_0.5"] = sk.balanced_accuracy_score(labels, half, sample_weight=w)
        found["f1_macro"] = sk.f1_score(labels, decided, average="macro", sample_weight=w)
    else:
        found["accuracy_calibrated"] = sk.accuracy_score(labels, decided, sample_weight=w)
        names = [name for name in each[0] if name != "accuracy"]
        found |= {name: np.mean([one[name] for one in each]) for name in names}
    for suffix, p in (("", raw), ("_calibrated", calibrated)):
        found[f"nll{suffix}"] = sk.log_loss(labels, p, sample_weight=w, labels=range(k))
        found[f"brier{suffix}"] = sk.brier_score_loss(
            labels, p[:, 1] if k == 2 else p, sample_weight=w, labels=range(k)
        )
        found[f"ece{suffix}"] = metrics.ece(*metrics.confidence(p, labels, 1), w)
    return found, each


@pytest.mark.parametrize("k", [2, 4])
def test_values_equal_sklearn(k):
    logits, labels, groups = sample(k=k)
    measures, decision = report(logits, labels, groups)
    overall, each = by_sklearn(logits, labels, decision, np.ones(len(labels)))
    assert {name for name, entry in measures.items() if isinstance(entry, dict) and "value" in entry} == set(
        overall
    )
    for name, value in overall.items():
        np.testing.assert_allclose(measures[name]["value"], value, err_msg=name)
    raw = softmax(logits)
    for c in range(k):
        entries = measures["per_class"][f"class{c}"]
        for name, value in each[c].items():
            np.testing.assert_allclose(entries[name]["value"], value, err_msg=f"class {c} {name}")
        truth = labels == c
        np.testing.assert_allclose(entries["nll"]["value"], sk.log_loss(truth, raw[:, c]))
        np.testing.assert_allclose(entries["brier"]["value"], sk.brier_score_loss(truth, raw[:, c]))
        np.testing.assert_allclose(entries["ece"]["value"], metrics.ece(raw[:, c], truth))


@pytest.mark.parametrize("k", [2, 3])
def test_intervals_equal_a_loop_over_sklearn(k):
    logits, labels, groups = sample(n=120, k=k, seed=1)
    measures, decision = report(logits, labels, groups)
    weights = np.concatenate(list(Resampling(groups, replicates=60, seed=0)), axis=1)
    loop = [by_sklearn(logits, labels, decision, w)[0] for w in weights.T]
    for name in loop[0]:
        low, high = np.quantile([one[name] for one in loop], [0.025, 0.975])
        if name.startswith("ece"):
            value = measures[name]["value"]
            low, high = max(0, 2 * value - high), max(value, 2 * value - low)
        np.testing.assert_allclose([measures[name]["low"], measures[name]["high"]], [low, high], err_msg=name)
        assert measures[name]["low"] < measures[name]["high"]


def test_counts_confusion_and_how_it_was_done():
    logits, labels, groups = sample()
    measures, decision = report(logits, labels, groups)
    assert measures["n"] == 150
    assert measures["n_groups"] == len(set(groups))
    assert measures["counts"] == {"class0": int((labels == 0).sum()), "class1": int((labels == 1).sum())}
    confusion = measures["confusion"]
    assert confusion["classes"] == ["class0", "class1"]
    assert confusion["at_0.5"] == sk.confusion_matrix(labels, logits.argmax(axis=1)).tolist()
    decided = decide(probabilities(logits, decision), decision)
    assert confusion["at_threshold"] == sk.confusion_matrix(labels, decided).tolist()
    assert (measures["positive"], measures["criterion"]) == ("class1", "youden")
    assert measures["threshold"] == decision.threshold
    assert measures["interval"] == f"95 % percentile bootstrap, 60 resamples of {len(set(groups))} groups"


def test_positive_class_turns_the_measures_round():
    logits, labels, groups = sample()
    last, _ = report(logits, labels, groups, threshold="sensitivity>=0.9")
    first, _ = report(logits, labels, groups, threshold="specificity>=0.9", positive="class0")
    for one, other in (("sensitivity", "specificity"), ("ppv", "npv"), ("auroc", "auroc"), ("ece", "ece")):
        if one != "ece":
            np.testing.assert_allclose(last[one]["value"], first[other]["value"])
    assert first["positive"] == "class0"


def test_prevalence_only_when_asked():
    logits, labels, groups = sample()
    without, _ = report(logits, labels, groups)
    assert "ppv_at_prevalence" not in without
    measures, _ = report(logits, labels, groups, prevalence=0.05)
    rates = measures["sensitivity"]["value"], measures["specificity"]["value"]
    expected = metrics.ppv_at(np.float64(rates[0]), np.float64(rates[1]), 0.05)
    np.testing.assert_allclose(measures["ppv_at_prevalence"]["value"], expected)
    assert measures["prevalence"] == 0.05
    with pytest.raises(ValueError, match="is a share"):
        report(logits, labels, groups, prevalence=5.0)


def test_same_seed_same_report_and_chunks_do_not_matter(monkeypatch):
    logits, labels, groups = sample()
    first = report(logits, labels, groups)[0]
    assert report(logits, labels, groups)[0] == first
    assert report(logits, labels, groups, seed=1)[0]["auroc"] != first["auroc"]
    monkeypatch.setattr(bootstrap.Resampling.__init__, "__kwdefaults__", {"chunk": 1000})
    again = report(logits, labels, groups)[0]
    for name in ("auroc", "nll", "ece"):
        for key in ("value", "low", "high"):
            np.testing.assert_allclose(again[name][key], first[name][key], rtol=1e-12)


def test_pictures_of_one_patient_widen_the_interval():
    rng = np.random.default_rng(3)
    patient = np.repeat(np.arange(40), 8)
    labels = patient % 2
    ease = rng.normal(size=40)[patient] + 0.2 * rng.normal(size=320)
    logits = np.stack([np.zeros(320), 1.5 * (2 * labels - 1) + 1.5 * ease], axis=1)
    widths = []
    for groups in (patient, np.arange(320)):
        entry = report(logits, labels, groups, bootstrap=300)[0]["auroc"]
        widths.append(entry["high"] - entry["low"])
    assert widths[0] > 1.7 * widths[1]


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("labels", [[], [1], [1, 1, 1, 1], [0, 1]])
def test_small_and_one_sided_samples(k, labels):
    n = len(labels)
    logits = np.random.default_rng(0).normal(size=(n, k))
    measures, _ = report(logits, np.array(labels, int), np.arange(n), prevalence=0.1)
    json.dumps(measures, allow_nan=False)
    entries = [entry for entry in measures.values() if isinstance(entry, dict) and "value" in entry]
    entries += [entry for one in measures["per_class"].values() for entry in one.values()]
    for entry in entries:
        if entry["value"] is None or entry["low"] is None:
            assert entry["why"]
        if entry["value"] is None:
            assert entry["low"] is entry["high"] is None
    if len(set(labels)) < 2:
        assert measures["auroc"]["value"] is None
        assert measures["balanced_accuracy"]["value"] is None
    if not labels:
        assert all(entry["why"] == "no examples" for entry in entries)


def test_undefined_says_why():
    logits, _, groups = sample()
    measures, _ = report(logits, np.ones(150, int), groups)
    assert measures["specificity"] == {
        "value": None, "low": None, "high": None, "why": "every example is of the class"
    }  # fmt: skip
    assert measures["auroc"]["why"] == "needs examples of the class and of the rest"
    assert measures["per_class"]["class0"]["sensitivity"]["why"] == "no example of the class"
    nothing, _ = report(np.tile([9.0, -9.0], (150, 1)), np.arange(150) % 2, groups)
    assert nothing["ppv"]["why"] == "nothing was called so"
    assert nothing["sensitivity"]["value"] == 0.0


def test_undefined_replicates_are_counted_and_too_many_give_no_interval():
    logits, _, _ = sample(n=40)
    labels = np.zeros(40, int)
    labels[:2] = 1
    measures, _ = report(logits, labels, np.arange(40), bootstrap=400)
    entry = measures["auroc"]
    np.testing.assert_allclose(entry["undefined_replicates"] / 400, (1 - 2 / 40) ** 40, atol=0.07)
    assert entry["low"] is not None
    # Three patients, one a class: only 6 of 27 draws hold all three.
    logits, labels, _ = sample(n=60, k=3)
    entry = report(logits, labels, labels, bootstrap=400)[0]["auroc"]
    assert entry["value"] is not None
    assert entry["low"] is None
    np.testing.assert_allclose(entry["undefined_replicates"] / 400, 21 / 27, atol=0.08)
    assert entry["why"] == f"no interval: undefined in {entry['undefined_replicates']} of 400 resamples"


def test_no_interval_where_there_is_nothing_to_resample():
    logits, labels, _ = sample()
    one, _ = report(logits, labels, np.zeros(150))
    assert one["auroc"]["low"] is None
    assert "groups to resample: 1" in one["auroc"]["why"]
    off, _ = report(logits, labels, np.arange(150), bootstrap=0)
    assert off["auroc"]["value"] is not None
    assert off["auroc"]["why"] == "no interval: evaluation.bootstrap is 0"


def test_false_certainty_is_noted():
    labels = np.arange(40) % 2
    logits = np.stack([np.zeros(40), 20.0 * labels - 10], axis=1)
    measures, _ = report(logits, labels, np.arange(40))
    entry = measures["sensitivity"]
    assert entry["low"] == entry["high"] == 1.0
    assert "20 groups leave a rate down to about 0.850 possible (rule of three)" in entry["note"]
    assert "all resamples agree" in measures["auroc"]["note"]


def test_a_class_without_examples_is_left_out_of_means_and_named():
    logits, labels, groups = sample(k=4)
    logits, labels, groups = logits[labels < 3], labels[labels < 3], groups[labels < 3]
    measures, decision = report(logits, labels, groups)
    assert measures["auroc"]["note"] == (
        "mean over 3 of 4 classes; needs examples of the class and of the rest: class3"
    )
    each = [sk.roc_auc_score(labels == c, softmax(logits)[:, c]) for c in range(3)]
    np.testing.assert_allclose(measures["auroc"]["value"], np.mean(each))
    assert measures["per_class"]["class3"]["auroc"]["value"] is None
    decided = decide(probabilities(logits, decision), decision)
    recall = sk.recall_score(labels, decided, labels=[0, 1, 2], average="macro")
    np.testing.assert_allclose(measures["balanced_accuracy"]["value"], recall)


def test_very_many_classes_leave_the_rankings_out(monkeypatch):
    logits, labels, groups = sample(k=5)
    import sys

    monkeypatch.setattr(sys.modules[measure_function.__module__], "WORK", 1000)
    measures, _ = report(logits, labels, groups)
    assert measures["auroc"]["value"] is None
    assert "take too long" in measures["auroc"]["why"]
    assert measures["accuracy"]["low"] is not None
    assert "auroc" not in measures["per_class"]["class0"]


def test_groups_must_fit():
    logits, labels, groups = sample()
    with pytest.raises(ValueError, match=r"groups must have the shape \(150,\), not \(149,\)"):
        report(logits, labels, groups[:-1])


def test_a_thousand_replicates_of_ten_thousand_pictures_take_seconds():
    logits, labels, _ = sample(n=10_000)
    start = time.perf_counter()
    report(logits, labels, np.arange(10_000), bootstrap=1000)
    assert time.perf_counter() - start < 5  # 0.3 s on an idle core
