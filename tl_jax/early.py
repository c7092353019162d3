"""What is compiled before a job's weights are there: the update of its first stage.

It is the larger half of what a step compiles, and needs no more than the shapes of what is trained. So XLA
works on it while Python reads or draws the weights and traces the other half.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np

from tl_jax import compilation, programs, step
from tl_jax.job import Outline


class Early:
    """The compiled update of a run's first stage, or nothing where `begin` was not called."""

    def __init__(self) -> None:
        self._shapes: step.State | None = None
        self._compiling: Future[jax.stages.Compiled] | None = None

    def begin(self, outline: Outline) -> None:
        """Traces the update; compiles it in a thread."""
        update, state = programs.update(outline, 0)
        groups, zero = np.zeros(len(outline.plans[0].groups), np.float32), np.float32(0)
        hyper = step.Hyper(groups, groups, zero, zero, zero)
        lowered = update.lower(state, state.params, hyper)
        pool = ThreadPoolExecutor(1)
        self._shapes, self._compiling = state, pool.submit(compilation.compiled, lowered)
        pool.shutdown(wait=False)

    def take(self, stage: int, state: step.State) -> Future[jax.stages.Compiled] | None:
        """What was begun, if that is the update of ``stage`` for a state like this one."""
        fits = stage == 0 and self._shapes is not None and _fits(state, self._shapes)
        return self._compiling if fits else None


def _fits(state: step.State, shapes: step.State) -> bool:
    """Whether a program for ``shapes`` takes the state as it lies."""
    if jax.tree.structure(state) != jax.tree.structure(shapes):
        return False
    return all(
        (leaf.shape, leaf.dtype) == (wanted.shape, wanted.dtype)
        and (not leaf.committed or leaf.sharding.is_equivalent_to(wanted.sharding, leaf.ndim))
        for leaf, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(shapes), strict=True)
    )
