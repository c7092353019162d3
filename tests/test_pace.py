"""The clock counts training and nothing else."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace

import pytest

from tl_jax import pace
from tl_jax.pace import Clock, left_over
from tl_jax.snapshot import Progress


@pytest.fixture
def time(monkeypatch):
    """A time that passes only when told."""
    time = SimpleNamespace(now=100.0)
    monkeypatch.setattr(pace.time, "monotonic", lambda: time.now)
    return time


def test_pauses_do_not_count_and_laps_span_them(time):
    progress = Progress(step=10, seconds=7.0)
    clock = Clock(progress)
    time.now, progress.step = 102.0, 14
    with clock.paused():
        time.now = 150.0
    time.now, progress.step = 153.0, 20
    assert clock.lap() == pytest.approx(10 / 5)
    assert progress.seconds == pytest.approx(12.0)
    time.now, progress.step = 154.0, 23
    assert clock.lap() == pytest.approx(3.0)
    assert progress.seconds == pytest.approx(13.0)


def test_a_pause_that_fails_still_ends(time):
    progress = Progress()
    clock = Clock(progress)
    time.now = 102.0
    with suppress(RuntimeError), clock.paused():
        time.now = 200.0
        raise RuntimeError
    time.now = 201.0
    clock.lap()
    assert progress.seconds == pytest.approx(3.0)


def test_work_under_way_is_training_time(time):
    """A step that is still being computed when the pause begins belongs to the training."""

    class Pending:
        def block_until_ready(self):
            time.now += 3.0

    progress = Progress()
    clock = Clock(progress)
    time.now = 102.0
    with clock.paused({"params": Pending()}):
        assert progress.seconds == pytest.approx(5.0)
        time.now = 120.0
    clock.lap(Pending())
    assert progress.seconds == pytest.approx(8.0)


def test_left_over_in_words():
    assert left_over(42.4) == "42 s left"
    assert left_over(1500) == "25 min left"
