"""Which pictures are shown, on scores small enough to see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.report import made
from tl_jax.report import examples
from tl_jax.report.quality import Quality


def quality(odds: list[float], labels: list[int], threshold: float = 0.5) -> Quality:
    """Two classes with these calibrated log-odds."""
    found = made.evidence(test=labels)
    logits = np.stack([np.zeros(len(odds)), odds], axis=1)
    decision = {**found.result["decision"], "scale": 1.0, "bias": [0.0, 0.0], "threshold": threshold}
    return Quality(
        replace(found, test=replace(found.test, logits=logits), result={**found.result, "decision": decision})
    )


def test_wrong_unsure_and_sure():
    one = quality([-5, -0.1, 0.2, 6, 3, -4], [0, 0, 1, 1, 0, 1])
    found = examples.choose(one, each=2)
    assert found["wrong"].tolist() == [5, 4]
    assert found["unsure"].tolist() == [1, 2]
    assert found["sure"].tolist() == [3, 0]


def test_doubt_is_about_the_threshold():
    odds = [0.0, 2.1, 5.0, -3.0]
    threshold = float(1 / (1 + np.exp(-2.0)))
    assert examples.choose(quality(odds, [0, 1, 1, 0], threshold), each=1)["unsure"].tolist() == [1]


def test_no_picture_twice_and_none_wrong():
    found = examples.choose(quality([-1, 1], [0, 1]), each=4)
    assert found["wrong"].size == 0
    assert sorted(np.concatenate(list(found.values())).tolist()) == [0, 1]


def test_more_classes_and_extreme_thresholds():
    three = Quality(made.evidence(("a", "b", "c")))
    rows = np.concatenate(list(examples.choose(three).values()))
    assert len(set(rows.tolist())) == len(rows) == 12
    for threshold in (0.0, float(np.nextafter(1.0, 2.0))):
        assert len(examples.choose(quality([-1, 1, 900, -900], [0, 1, 1, 0], threshold))["unsure"])


def test_heat_is_asked_for_the_class_that_was_decided():
    found = made.evidence()
    assert found.pictures is not None
    asked = {}

    def heat(images, classes):
        asked["classes"] = classes
        return np.zeros(images.shape[:3])

    one = Quality(found)
    kinds = examples.kinds(replace(found, pictures=replace(found.pictures, heat=heat)), one)
    rows = np.concatenate(list(examples.choose(one).values()))
    np.testing.assert_array_equal(asked["classes"], one.decided[rows])
    shown = [example for kind in kinds for example in kind.examples]
    assert [example.id for example in shown] == found.test.ids[rows].tolist()
