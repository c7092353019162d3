"""What Linux's counters say, read from a folder that looks like /proc."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.contention import Counters, Reading, Unsupported

TICK = 1 / os.sysconf("SC_CLK_TCK")


def process(proc: Path, pid: int, parent: int, *times: int, name: str = "python") -> None:
    """``times``: utime, stime, and the same of children that were waited for, in ticks."""
    fields = ["S", parent, *[0] * 9, *times, *[0] * 30]
    (proc / str(pid)).mkdir(exist_ok=True)
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(map(str, fields))}\n")


def test_own_time_is_that_of_the_process_and_all_below_it(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  100 20 30 9999 500 6 7 8 55 5\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    process(tmp_path, 10, 1, 5, 4, 3, 2)
    process(tmp_path, 11, 10, 20, 10, 0, 0, name="a (strange) name")
    process(tmp_path, 12, 11, 100, 0, 0, 0)
    process(tmp_path, 13, 1, 1000, 1000, 0, 0)
    (tmp_path / "self").mkdir()
    (tmp_path / "14").mkdir()  # a process that has just ended
    found = Counters(tmp_path).read(10)
    # Neither idle nor waiting for a disk; guests are in the time of users already.
    assert found.busy == pytest.approx((100 + 20 + 30 + 6 + 7 + 8) * TICK)
    assert found.own == pytest.approx((14 + 30 + 100) * TICK)


def test_others_are_what_is_left() -> None:
    before, after = Reading(wall=10, busy=100, own=50), Reading(wall=12, busy=104, own=53)
    assert after.others_since(before) == pytest.approx(0.5)
    assert Reading(wall=12, busy=103, own=53.01).others_since(before) == 0


def test_without_counters_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="not there, so that nobody knows what else"):
        Counters(tmp_path)


def test_this_machine_has_them() -> None:
    counters = Counters()
    before = counters.read(os.getpid())
    enough = os.times().user + 0.1
    while os.times().user < enough:
        pass
    after = counters.read(os.getpid())
    assert after.own > before.own
    assert after.busy > before.busy
    assert after.wall > before.wall
