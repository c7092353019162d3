"""Learning curves, and when they first come to a value."""

from __future__ import annotations

import json
from math import isnan

import numpy as np
import pytest

from tl_jax.lab import catching_up, curves
from tl_jax.lab.curves import Curve


def test_between_measurements_a_curve_is_straight():
    at, values = [10, 20, 30], [0.5, 0.7, 0.9]
    assert curves.reached(at, values, 0.6, rises=True) == pytest.approx(15)
    assert curves.reached(at, values, 0.7, rises=True) == 20
    assert curves.reached(at, values, 0.85, rises=True) == pytest.approx(27.5)
    assert curves.reached(at, [3.0, 2.0, 1.0], 1.5, rises=False) == pytest.approx(25)


def test_the_first_time_counts_and_never_is_nan():
    assert curves.reached([1, 2, 3, 4], [0.5, 0.9, 0.4, 0.95], 0.9, rises=True) == 2
    assert isnan(curves.reached([1, 2], [0.5, 0.6], 0.7, rises=True))
    assert isnan(curves.reached([1, 2], [np.nan, np.nan], 0.7, rises=True))
    assert curves.reached([5, 6], [0.8, 0.9], 0.7, rises=True) == 5, "nothing is known before"
    assert curves.reached([5, 6], [np.nan, 0.9], 0.7, rises=True) == 6


def test_it_is_read_from_a_run(tmp_path):
    lines = [
        {"step": 1, "loss": 2.0},
        {"step": 2, "val/auroc": 0.6, "seconds": 1.5},
        {"step": 4, "val/auroc": None, "seconds": 3.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = curves.read(tmp_path, "auroc")
    np.testing.assert_array_equal(found.steps, [2, 4])
    np.testing.assert_array_equal(found.seconds, [1.5, 3.0])
    np.testing.assert_array_equal(found.values, [0.6, np.nan])
    with pytest.raises(ValueError, match="no learning curve of nll"):
        curves.read(tmp_path, "nll")


def line(*values: float, pace: float = 1.0) -> Curve:
    steps = 10.0 * np.arange(1, len(values) + 1)
    return Curve(steps, pace * steps, np.array(values))


def test_scratch_catches_up_seed_by_seed():
    """The first seed comes to 0.8 after 40 s where the other network took 20, the second to 0.9 after 30."""
    transfer = [line(0.6, 0.8), line(0.9, 0.7)]
    found = catching_up.of(transfer, [line(0.5, 0.6, 0.7, 0.8), line(0.1, 0.7, 0.9, 0.2)], rises=True)
    assert list(found.target) == [0.8, 0.9]
    assert [one.seconds for one in found.transfer] == [20, 10]
    assert [one.steps for one in found.scratch] == [40, 30]
    assert (found.arrived, found.longer) == (2, pytest.approx(2.5))
    assert found.sentence("AUROC") == (
        "To come to what it reached on validation (AUROC 0.8500 after 15.0 s) scratch took 2.5 times as long."
    )


def test_a_seed_that_does_not_arrive_is_slower_than_all():
    transfer = [line(0.9)] * 3
    slow = [line(0.5, 0.9), line(0.5, 0.6), line(0.9, 0.9)]
    found = catching_up.of(transfer, slow, rises=True)
    assert (found.arrived, found.longer) == (2, pytest.approx(2))
    assert found.sentence("AUROC").endswith("scratch took 2.0 times as long; 1 of 3 seeds never did.")
    table = catching_up.table({(0.05, "full"): found}, "auroc", 20)
    (row,) = table.plain()
    assert (row["scratch_seconds"], row["scratch_fastest"], row["scratch_slowest"]) == (20, 10, None)
    assert row["arrived"] == "2 of 3"

    few = catching_up.of(transfer, [line(0.9), line(0.5), line(0.6)], rises=True)
    assert isnan(few.longer)
    assert "within the budget with 1 of 3 seeds only" in few.sentence("AUROC")
    none = catching_up.of(transfer, [line(0.5)] * 3, rises=True)
    assert none.sentence("AUROC").startswith("Scratch did not come to what")
    assert none.sentence("AUROC").endswith("within the budget.")
    assert "–" in catching_up.table({(1.0, "full"): none}, "auroc", 20).text()


def test_a_measure_that_falls():
    found = catching_up.of([line(0.9, 0.5)], [line(0.9, 0.7, 0.3)], rises=False)
    assert found.target == [0.5]
    assert found.scratch[0].steps == pytest.approx(25)
