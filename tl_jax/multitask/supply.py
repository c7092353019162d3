"""What the steps and measurements of several tasks read: each task's own supply, by the union's leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tl_jax.backbones.anatomy import Leaves
from tl_jax.multitask.job import Jobs
from tl_jax.prefix import Cut
from tl_jax.snapshot import Best
from tl_jax.supply import Supply


class Supplies:
    """As `Supply`, with a dict of each task where that has one of something. ``cuts``: of each task."""

    def __init__(self, jobs: Jobs, cuts: Mapping[str, Sequence[Cut]], say: Callable[[str], None]) -> None:
        self.union = jobs.union
        self.each = {name: Supply(one, cuts[name], _named(name, say)) for name, one in jobs.each.items()}

    @property
    def behind(self) -> dict[str, int | None]:
        return {name: one.behind for name, one in self.each.items()}

    def begin(self, number: int, params: Leaves, stats: Leaves) -> float:
        return sum(one.begin(number, *self._views(name, params, stats)) for name, one in self.each.items())

    def batch(self, step: int) -> tuple[dict[str, Any], dict[str, Any]]:
        found = {name: one.batch(step) for name, one in self.each.items()}
        return {name: store for name, (store, _) in found.items()}, {
            n: rows for n, (_, rows) in found.items()
        }

    def val_logits(self, params: Leaves, stats: Leaves, check: Callable[[], None]) -> dict[str, np.ndarray]:
        return {
            name: one.val_logits(*self._views(name, params, stats), check) for name, one in self.each.items()
        }

    def test_logits(self, best: Best, number: int) -> dict[str, np.ndarray]:
        found = {}
        for name, one in self.each.items():
            params, stats = self._views(name, best.params, best.stats)
            found[name] = one.test_logits(Best(params, stats, best.logits[name]), number)
        return found

    def close(self) -> None:
        for one in self.each.values():
            one.close()

    def _views(self, name: str, params: Leaves, stats: Leaves) -> tuple[Leaves, Leaves]:
        return self.union.view(name, params), self.union.view(name, stats)


def _named(name: str, say: Callable[[str], None]) -> Callable[[str], None]:
    return lambda line: say(f"task {name!r}: {line}")
