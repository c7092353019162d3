"""The training of a group of heads: one program takes the steps of all, on features that lie in memory once.

Each head has its own batches, random keys and numbers, as its config and seed say, its own best measurement,
and its own end where it stops early: from there on it rests while others go on. So each comes to what
`tl_jax.run` gives it, to float tolerance, since another program computes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax import compilation, optim, programs, sharding, step
from tl_jax.backbones.anatomy import Leaves
from tl_jax.data.sources.errors import counted
from tl_jax.journal import PAUSE
from tl_jax.lab.heads import Arguments, HeadsPredictor, stepper
from tl_jax.lab.members import Member
from tl_jax.pace import Clock, left_over
from tl_jax.prefix import Cut
from tl_jax.snapshot import Best, Progress
from tl_jax.supply import Supply
from tl_jax.train import refuse_divergence

T = TypeVar("T")


class NotTogetherError(RuntimeError):
    """Why the runs of a group are trained one by one after all."""


def head_of(leaves: Mapping[str, T]) -> dict[str, T]:
    """The leaves of the head."""
    return {path: leaf for path, leaf in leaves.items() if path.startswith("head/")}


class Group:
    """Trains members; ``cuts`` are those of their stages. `best` and `test_logits` are for afterwards."""

    def __init__(self, every: Sequence[Member], cuts: Sequence[Cut], say: Callable[[str], None]) -> None:
        self.members, self.cuts, self.say = every, cuts, say
        self.job = job = every[0].job
        self.config = job.config
        self.supply = Supply(job, cuts, self._tell)
        self.progress = Progress()  # of all of them, as long as one goes on
        self.clock, self.said = Clock(self.progress), time.monotonic()
        self.params = sharding.place(job.base_params, job.mesh)
        self.stats = sharding.place(job.base_stats, job.mesh)
        self.below = {path: leaf for path, leaf in self.params.items() if not path.startswith("head/")}
        stacked = {
            path: np.stack([member.job.base_params[path] for member in every])
            for path in head_of(job.base_params)
        }
        self.heads = sharding.replicate(stacked, job.mesh)
        self.moments: optim.Moments = {}
        self.best_heads = {path: leaf.copy() for path, leaf in stacked.items()}
        self.best_logits = np.zeros((len(job.data.val), len(every), job.recipe.classes), np.float32)
        where = sharding.replicated(job.mesh)
        seeds = np.array([member.run.seed for member in every], np.int32)
        self.keys = jax.jit(jax.vmap(jax.random.key), out_shardings=where)(seeds)
        self.class_weights = sharding.replicate(job.class_weights, job.mesh)
        self.measure_every = job.steps(self.config.select.every)
        self.log_every = job.steps(self.config.log_every)
        self.predictor: HeadsPredictor

    def run(self) -> None:
        """Trains all to their ends. Raises `NotTogetherError` where features are not kept on the device."""
        others = counted(len(self.members) - 1, "other head")
        self._tell(f"trained together with {others}; these lines were written at the end")
        try:
            for number in range(len(self.job.plans)):
                self._stage(number)
        finally:
            self.supply.close()
        for member in self.members:
            member.progress.seconds = self.progress.seconds / len(self.members)
            member.progress.prefix_seconds = self.progress.prefix_seconds / len(self.members)

    def best(self, i: int) -> Best:
        """The best measurement of member ``i``."""
        heads = {path: leaf[i] for path, leaf in self.best_heads.items()}
        params = {**self.params, **sharding.replicate(heads, self.job.mesh)}
        return Best(params, self.stats, self.best_logits[:, i])

    def test_logits(self) -> np.ndarray:
        """Logits (n, members, K) float32 of the test split by the best weights of each."""
        pictures, number = self.job.data.test, len(self.cuts) - 1
        if len(pictures):
            served = self.supply.kept.test(number, self.cuts[number], self.params, self.stats)
            if served is not None:
                return self.predictor.logits(sharding.replicate(self.best_heads, self.job.mesh), served)
        found = [self.supply.test_logits(self.best(i), number) for i in range(len(self.members))]
        return np.stack(found, axis=1)

    def _stage(self, number: int) -> None:
        """As `tl_jax.train.Trainer` does it, for all members that have not failed."""
        job, cut, name = self.job, self.cuts[number], self.config.stages[number].name
        assert cut.start is not None
        with self.clock.paused():
            state, own, fixed = self._enter(number)
        self.progress.prefix_seconds += self.supply.begin(number, self.params, self.stats)
        store, rows = self.supply.batch(0)
        if self.supply.behind != cut.start or rows is None:
            raise NotTogetherError(f"stage {name!r}: what its frozen prefix makes is not kept on the device")
        self.clock.lap()
        self.predictor = HeadsPredictor(job, cut.start, self.below, self.stats)
        each = Arguments(self.members, number, views=max(cut.views, 1))
        program, flops = None, 0.0
        for member in self.members:
            member.end = member.progress.stage_start + job.durations[number]
        metrics: step.Metrics = {}
        while True:
            due = [i for i, member in enumerate(self.members) if self._is_measure_due(member)]
            if due:
                with self.clock.paused(state):
                    self._measure(number, due, {**own, **state.params, **state.ema}, metrics)
            going = [not member.rests for member in self.members]
            if not any(going):
                break
            arguments = (fixed, store, state, own, *each(going), self.keys)
            if program is None:
                with self.clock.paused():
                    program, flops = self._compile(number, cut.start, arguments)
            state, metrics = program(*arguments)
            self.progress.step += 1
            walked = [member for member, goes in zip(self.members, going, strict=True) if goes]
            for member in walked:
                member.progress.step += 1
                member.progress.flops += flops
            self._log(walked, metrics, name)
        for member in self.members:
            member.progress.end_stage()
        self.heads, self.moments = {**own, **state.params}, optim.moments(state.opt)

    def _enter(self, number: int) -> tuple[step.State, Leaves, step.Fixed]:
        """The state of all heads at the start of a stage, their frozen leaves, and what they share."""
        job, settings, plan = self.job, self.config.stages[number], self.job.plans[number]
        heads, moments = self.heads, self.moments
        if number and settings.restore_best:
            found = {
                path: leaf.copy() for path, leaf in self.best_heads.items()
            }  # which may change meanwhile
            heads = sharding.replicate(found, job.mesh)
        if number and optim.kind(settings) != optim.kind(self.config.stages[number - 1]):
            self._tell(f"stage {settings.name!r}: another optimiser, so its state starts anew")
            moments = {}
        trained, own = plan.partition(heads)
        opt = optim.with_moments(jax.vmap(optim.build(settings, plan).init)(trained), moments)
        ema = trained if self.config.ema else {}
        anchors: Leaves = {}
        if self.config.loss.l2_sp:
            anchors = {path: self.params[path] for path in trained if path in job.pretrained_paths}
        # A step overwrites its state in place: nothing else may hold the same memory.
        state = step.State(*jax.tree.map(jnp.copy, (trained, {}, opt, ema)))
        state = jax.device_put(state, sharding.replicated(job.mesh))
        return state, own, step.Fixed(self.below, self.stats, anchors, self.class_weights)

    def _compile(self, number: int, start: int, arguments: tuple[Any, ...]) -> tuple[Any, float]:
        """The compiled step, and the operations that it takes for each head."""
        began, stage = time.monotonic(), self.config.stages[number].name
        program = compilation.compiled(stepper(self.job, number, start).lower(*arguments))
        flops = programs.flops(program) * self.job.mesh.size / len(self.members)
        seconds = (time.monotonic() - began) / len(self.members)
        for member in self.members:
            member.compiled(stage, flops / self.config.batch_size, seconds)
        self.said = time.monotonic()
        return program, flops

    def _is_measure_due(self, member: Member) -> bool:
        progress = member.progress
        if member.failure is not None or progress.measured >= progress.step:
            return False
        return progress.step % self.measure_every == 0 or progress.step >= member.end

    def _measure(self, number: int, due: Sequence[int], heads: Leaves, metrics: step.Metrics) -> None:
        """Validation of all, which counts for those that are due."""
        name, metric = self.config.stages[number].name, self.config.select.metric
        stopping = self.config.early_stopping
        logits = self.predictor.logits(heads, self.supply.val)
        kept, metrics = sharding.fetch(heads), jax.device_get(metrics)
        for i in due:
            member, progress = self.members[i], self.members[i].progress
            if self._has_diverged(i, metrics, name):
                continue
            values = self.job.quick(logits[:, i])
            better = progress.measure(number, values[metric], self.job.rises, min_delta=stopping.min_delta)
            if better:
                self.best_logits[:, i] = logits[:, i]
                for path, leaf in kept.items():
                    self.best_heads[path][i] = leaf[i]
            share = self.progress.seconds / len(self.members)
            member.measured(values, stage=name, better=better, seconds=share)
            if 0 < stopping.patience <= progress.failed:
                member.stopped_early(name)
                member.end = progress.step

    def _log(self, walked: Sequence[Member], metrics: step.Metrics, stage: str) -> None:
        """What the members that are due tell of their last step; now and then a line about all of them."""
        due = [
            one for one in walked if one.progress.step % self.log_every == 0 or one.progress.step == one.end
        ]
        if not due:
            return
        metrics = jax.device_get(metrics)
        n, batch = len(self.members), self.config.batch_size
        rate = self.clock.lap() * batch * n
        left = max(one.total - one.progress.step for one in walked) * batch * n / max(rate, 1e-9)
        for i, member in enumerate(self.members):
            if member in due and not self._has_diverged(i, metrics, stage):
                member.stepped(_row(metrics, i), stage=stage, rate=rate, left=left)
        if time.monotonic() - self.said >= PAUSE:
            self.said = time.monotonic()
            self.say(f"{n} heads together: step {self.progress.step}, {left_over(left)}")

    def _has_diverged(self, i: int, metrics: step.Metrics, stage: str) -> bool:
        """Whether the last step of member ``i`` made it fail."""
        member = self.members[i]
        try:
            refuse_divergence(_row(metrics, i), member.progress.step, stage)
        except FloatingPointError as error:
            member.failure = error
        return member.failure is not None

    def _tell(self, text: str) -> None:
        for member in self.members:
            member.say(text)


def _row(metrics: step.Metrics, i: int) -> step.Metrics:
    return jax.tree.map(lambda leaf: leaf[i], metrics)
