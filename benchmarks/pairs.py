"""Times several ways of doing the same, in turns, and keeps the samples that nothing disturbed.

Turns (A B A B …) make slow drifts of a machine fall on all ways alike. A sample during which other
processes were busy is discarded and made again; where too few clean ones can be had there is no result.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from benchmarks.contention import Counters, Unsupported

LIMIT = 0.1
"""Processors that others may keep busy, on average, during a clean sample."""
PATIENCE = 4
"""Rounds, for each one asked for, after which enough clean samples must have been found."""


class NoResult(Exception):
    """There is nothing to report; the message says why."""


class Contended(NoResult):
    """The machine was too busy."""


class Different(NoResult):
    """The sides do not compute the same."""


@dataclass(frozen=True)
class Samples:
    """``seconds`` of each clean sample, ``others`` the processors busy elsewhere meanwhile, and how many
    samples were ``discarded``."""

    seconds: tuple[float, ...]
    others: tuple[float, ...]
    discarded: int

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def turns(
    ways: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    pids: Mapping[str, int] | None = None,
    warm_up: int = 1,
    counters: Counters | None = None,
) -> dict[str, Samples]:
    """``rounds`` clean samples of each way, after ``warm_up`` calls of each that do not count.

    ``pids``: the process that works for each way, where it is not this one and its children. Raises
    `Contended` where others were so busy that ``PATIENCE * rounds`` rounds did not bring as many.
    """
    counters = counters or Counters()
    own = {name: (pids or {}).get(name, os.getpid()) for name in ways}
    for _ in range(warm_up):
        for call in ways.values():
            call()
    kept: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    discarded = dict.fromkeys(ways, 0)
    busiest = 0.0
    for _ in range(PATIENCE * rounds):
        if all(len(found) >= rounds for found in kept.values()):
            break
        for name, call in ways.items():
            before = counters.read(own[name])
            call()
            after = counters.read(own[name])
            others = after.others_since(before)
            if others <= LIMIT:
                kept[name].append((after.wall - before.wall, others))
            else:
                discarded[name] += 1
                busiest = max(busiest, others)
    short = [f"{len(found)} of {name}" for name, found in kept.items() if len(found) < rounds]
    if short:
        raise Contended(
            f"other processes kept up to {busiest:.2f} processors busy, and of {rounds} clean "
            f"samples there were only {', '.join(short)}; try again when the machine is quiet"
        )
    return {
        name: Samples(tuple(s for s, _ in found), tuple(o for _, o in found), discarded[name])
        for name, found in kept.items()
    }


def seconds(ways: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Median seconds of a call of each way; see `turns`."""
    return {name: found.median for name, found in turns(ways, rounds=rounds).items()}


def run(main: Callable[[list[str]], int]) -> NoReturn:
    """Runs a benchmark's ``main`` with this process's arguments; where there is no result, says why."""
    try:
        sys.exit(main(sys.argv[1:]))
    except (NoResult, Unsupported) as error:
        sys.exit(f"no result: {error}")
