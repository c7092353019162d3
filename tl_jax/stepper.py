"""The steps of one stage as one call, whether a batch goes through at once or in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax import compilation, programs, schedule, sharding, step
from tl_jax.early import Early
from tl_jax.job import Job

Batch = tuple[Any, Any]
"""What `data.feed.Feed.batch` gives: examples, and the rows of them; of several tasks, a dict of each."""

Shape = tuple[tuple[int, ...], ...]


class Stepper:
    """Takes the steps of stage ``number``, which begins at step ``start``.

    ``key`` is the run's random key; steps fold their own number into it. ``behind`` is how many blocks
    batches have behind them, None where they are pictures (`tl_jax.prefix`). ``early`` may hold a part that
    is compiled already; ``program`` is in the place of the job's own. `compile` comes before the first step
    that has a batch of its shape, with that step's arguments.
    """

    def __init__(
        self,
        job: Job,
        number: int,
        *,
        start: int,
        key: jax.Array,
        behind: int | None = None,
        early: Early | None = None,
        program: programs.Program | None = None,
    ) -> None:
        self.number, self.early = number, early or Early()
        self.job, self.start, self.key = job, start, key
        self.settings, self.plan = job.config.stages[number], job.plans[number]
        self.length = job.durations[number]
        self.warmup = job.steps(self.settings.warmup, total=self.length)
        self.program = program or programs.build(job, number, behind)
        self.parts = job.config.accumulate
        self.firsts: dict[Shape, jax.stages.Compiled] = {}
        self._flops: dict[Shape, float] = {}
        self.update: jax.stages.Compiled | None = None

    def knows(self, batch: Batch) -> bool:
        """Whether what a step calls is compiled for batches of this shape."""
        return _shape(batch) in self.firsts

    def flops(self, batch: Batch) -> float:
        """Floating-point operations of a step with a batch of this shape, which must be known."""
        return self._flops[_shape(batch)]

    def compile(self, state: step.State, fixed: step.Fixed, batch: Batch, at: int) -> None:
        """Compiles what a step calls with batches of this shape."""
        hyper, key, number = self.hyper(at), self.key, np.int32(at)
        if self.parts == 1:
            function, arguments = self.program.gradients, (state, fixed, *batch, key, number, hyper.l2_sp)
        else:
            total, piece = jax.tree.map(jnp.zeros_like, state.params), next(self._pieces(batch))
            function = self.program.micro
            arguments = (state, total, fixed, *piece, key, number, np.int32(0), hyper.l2_sp)
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(self._compiled, "first", function, arguments)
            if self.update is None:
                update = self.early.take(self.number, state)
                if update is None:
                    arguments = (state, state.params, hyper)
                    update = pool.submit(self._compiled, "update", self.program.update, arguments)
                self.update = update.result()
            made = self.firsts[_shape(batch)] = first.result()
        on_each = self.parts * programs.flops(made) + programs.flops(self.update)
        self._flops[_shape(batch)] = on_each * self.job.mesh.size

    def __call__(
        self, state: step.State, fixed: step.Fixed, batch: Batch, at: int, hyper: step.Hyper | None = None
    ) -> tuple[step.State, step.Metrics]:
        """Step ``at`` of the run, with its own numbers or those of ``hyper``. ``state`` is overwritten; use
        the one that comes back."""
        assert self.update is not None, "compile comes first"
        first, hyper = self.firsts[_shape(batch)], hyper or self.hyper(at)
        if self.parts == 1:
            grads, stats, loss = first(state, fixed, *batch, self.key, np.int32(at), hyper.l2_sp)
            state, metrics = self.update(replace(state, stats=stats), grads, hyper)
            return state, {**_named(loss), **metrics}
        total = jax.tree.map(jnp.zeros_like, state.params)
        losses = []
        for part, piece in enumerate(self._pieces(batch)):
            state, total, share = first(
                state, total, fixed, *piece, self.key, np.int32(at), np.int32(part), hyper.l2_sp
            )
            losses.append(share)
        state, metrics = self.update(state, total, hyper)
        return state, {**_named(jax.tree.map(lambda *shares: sum(shares), *losses)), **metrics}

    def _compiled(self, half: str, function: Any, arguments: tuple[Any, ...]) -> jax.stages.Compiled:
        return compilation.program(function, (half, *self.program.static), *arguments)

    def hyper(self, at: int) -> step.Hyper:
        """The numbers of step ``at``, as the config has them."""
        within = at - self.start
        return schedule.hyper(self.job.config, self.settings, self.plan, within, self.length, self.warmup)

    def _pieces(self, batch: Batch) -> Iterator[Batch]:
        """A batch as micro-batches, each laid over all devices."""
        layout = sharding.batched(self.job.mesh)
        for part in range(self.parts):
            yield _piece(*batch, part, self.parts, layout)


def _piece(store: Any, index: Any, part: int, parts: int, layout: Any) -> Batch:
    """One of so many equal parts of a batch, or of the batches of several tasks."""
    if "image" not in store:
        each = {name: _piece(store[name], index[name], part, parts, layout) for name in store}
        stores, rows = ({name: one[i] for name, one in each.items()} for i in range(2))
        return stores, rows
    rows = len(store["image"] if index is None else index) // parts
    own = slice(part * rows, (part + 1) * rows)
    if index is not None:
        return store, jax.device_put(index[own], layout)
    return {name: jax.device_put(value[own], layout) for name, value in store.items()}, None


def _named(loss: Any) -> dict[str, Any]:
    """The loss, or what a step of several tasks says of each."""
    return loss if isinstance(loss, dict) else {"loss": loss}


def _shape(batch: Batch) -> Shape:
    """What differs between the batches of a stage: texts are padded to one of a few lengths."""
    return tuple(leaf.shape for leaf in jax.tree.leaves(batch[0]))
