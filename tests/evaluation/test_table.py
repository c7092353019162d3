"""The table a person reads."""

import numpy as np
from ml_collections import ConfigDict

from tl_jax import defaults
from tl_jax.evaluation import fit_decision, format_table, measure


def table(n, k, labels=None, **changes):
    rng = np.random.default_rng(0)
    settings = ConfigDict({**defaults.evaluation(), "bootstrap": 50, **changes})
    classes = [f"kind{c}" for c in range(k)]
    val = np.arange(200) % k
    logits = rng.normal(size=(200, k)) + 2 * np.eye(k)[val]
    decision = fit_decision(logits, val, classes=classes, settings=settings)
    labels = val[:n] if labels is None else np.asarray(labels, int)
    found = measure(
        logits[: len(labels)],
        labels,
        np.arange(len(labels)),
        classes=classes,
        decision=decision,
        settings=settings,
    )
    return found, format_table(found)


def test_two_classes():
    measures, text = table(100, 2, prevalence=0.1)
    assert "100 examples of 100 groups (kind0 50, kind1 50)" in text
    assert "positive: kind1" in text
    assert "chosen on validation: youden" in text
    entry = measures["auroc"]
    line = next(line for line in text.splitlines() if "AUROC" in line)
    assert f"{entry['value']:.4f}  [{entry['low']:.4f}, {entry['high']:.4f}]" in line
    for name in ("accuracy at 0.5", "accuracy at the threshold", "PPV at prevalence 0.1", "ECE calibrated"):
        assert name in text
    assert "confusion at threshold: truth down, decision across" in text
    assert max(map(len, text.splitlines())) <= 110
    assert len(text.splitlines()) < 45


def test_undefined_and_notes_are_shown():
    _, text = table(0, 2, labels=np.ones(30))
    assert "undefined: every example is of the class" in text
    _, text = table(0, 2, labels=[])
    assert "undefined: no examples" in text
    _, text = table(6, 2)
    assert "[1]" in text
    assert "which are left out" in text


def test_several_classes():
    _, text = table(90, 3)
    assert "AUROC, mean of classes" in text
    assert "confusion argmax" in text
    assert sum(line.strip().startswith("kind1") for line in text.splitlines()) == 3
    _, text = table(200, 20)
    assert "… and 8 classes more" in text
    assert "confusion" not in text
