"""How fast training goes, and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    from tl_jax.snapshot import Progress


class Clock:
    """Adds the time that training takes to ``progress.seconds``; tells steps a second between two laps.

    Compiling, measuring and saving happen inside ``paused`` and do not count. Steps are dispatched ahead
    of their results, so a pause first waits for the work that is under way: that is training time.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.lap_seconds, self.lap_step = 0.0, progress.step
        self.since = time.monotonic()

    @contextmanager
    def paused(self, under_way: Any = None) -> Iterator[None]:
        """Stops the clock once the arrays of the tree ``under_way`` are computed, and starts it again."""
        self._count(under_way)
        try:
            yield
        finally:
            self.since = time.monotonic()

    def lap(self, under_way: Any = None) -> float:
        """Steps a second since the lap before, once the arrays of ``under_way`` are computed."""
        self._count(under_way)
        seconds, steps = self.lap_seconds, self.progress.step - self.lap_step
        self.lap_seconds, self.lap_step = 0.0, self.progress.step
        return steps / max(seconds, 1e-9)

    def _count(self, under_way: Any) -> None:
        jax.block_until_ready(under_way)
        now = time.monotonic()
        self.progress.seconds += now - self.since
        self.lap_seconds += now - self.since
        self.since = now


def left_over(seconds: float) -> str:
    """Time left, in words."""
    return f"{spell(seconds)} left"


def spell(seconds: float) -> str:
    """A length of time, in words."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"
