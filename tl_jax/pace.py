"""How fast training goes, and how long it will still take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tl_jax.snapshot import Progress


class Clock:
    """Steps a second, and the training time in ``progress.seconds``, evaluation left out."""

    def __init__(self, progress: Progress) -> None:
        self.restart(progress)

    def restart(self, progress: Progress) -> None:
        self.since, self.step = time.monotonic(), progress.step

    def lap(self, progress: Progress) -> float:
        seconds, steps = time.monotonic() - self.since, progress.step - self.step
        progress.seconds += seconds
        self.restart(progress)
        return steps / max(seconds, 1e-9)


def left_over(seconds: float) -> str:
    """Time left, in words."""
    return f"{seconds:.0f} s left" if seconds < 100 else f"{seconds / 60:.0f} min left"
