"""Turns, and what becomes of samples that others disturbed."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import pairs
from benchmarks.contention import Reading

SECONDS = {"a": 2.0, "b": 4.0}


class World:
    """A clock and counters that only move when a way is called. ``busy``: for each call in order, how many
    processors others keep busy; after the last, none."""

    def __init__(self, *busy: float) -> None:
        self.busy, self.calls, self.now = list(busy), [], Reading(0.0, 0.0, 0.0)

    def way(self, name: str) -> Any:
        def call() -> None:
            self.calls.append(name)
            others = self.busy.pop(0) if self.busy else 0.0
            took = SECONDS[name]
            self.now = Reading(
                self.now.wall + took, self.now.busy + took * (2 + others), self.now.own + took * 2
            )

        return call

    def read(self, pid: int) -> Reading:
        return self.now

    def turns(self, rounds: int, **options: Any) -> dict[str, pairs.Samples]:
        ways = {name: self.way(name) for name in SECONDS}
        counters: Any = self
        return pairs.turns(ways, rounds=rounds, counters=counters, **options)


def test_ways_alternate_and_the_first_call_does_not_count() -> None:
    world = World(1.0, 1.0)
    found = world.turns(3)
    assert world.calls == ["a", "b"] * 4
    assert found["a"].seconds == (2.0, 2.0, 2.0)
    assert (found["a"].median, found["b"].median, found["b"].discarded) == (2.0, 4.0, 0)


def test_a_contended_sample_is_discarded_and_made_again() -> None:
    world = World(0.0, 0.0, 0.05, 0.5, 0.0, 0.0)
    found = world.turns(2)
    assert world.calls == ["a", "b"] * 4
    assert (len(found["a"].seconds), found["a"].discarded) == (3, 0)
    assert (len(found["b"].seconds), found["b"].discarded) == (2, 1)
    assert found["a"].others[0] == pytest.approx(0.05)
    assert max(found["b"].others) <= pairs.LIMIT


def test_without_enough_clean_samples_there_is_no_result() -> None:
    world = World(*[0.0, 0.7] * 1000)
    with pytest.raises(pairs.Contended, match=r"up to 0\.70 processors busy.* only 0 of b; try again"):
        world.turns(2)
    assert len(world.calls) == 2 + 2 * 2 * pairs.PATIENCE


def test_each_way_has_its_own_process() -> None:
    asked = []

    class Named(World):
        def read(self, pid: int) -> Reading:
            asked.append(pid)
            return super().read(pid)

    Named().turns(1, pids={"a": 7, "b": 8}, warm_up=0)
    assert asked == [7, 7, 8, 8]


def test_no_result_is_a_sentence_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    def main(argv: list[str]) -> int:
        raise pairs.Contended("too busy")

    with pytest.raises(SystemExit) as raised:
        pairs.run(main)
    assert raised.value.code == "no result: too busy"  # Python prints it and ends with 1
