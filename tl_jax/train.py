"""The loop over stages; nothing clever.

Batches, augmentation and dropout are pure functions of (seed, step); the stage is one of the step and
the recorded ends of the stages before it (early stopping moves those). So a resumed run repeats
exactly what the uninterrupted one would have done.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax import optim, sharding, step
from tl_jax.backbones.anatomy import Leaves
from tl_jax.early import Early
from tl_jax.interrupt import Interrupted, Stop
from tl_jax.job import Job
from tl_jax.journal import Journal
from tl_jax.pace import Clock
from tl_jax.prefix import Cut
from tl_jax.programs import Program
from tl_jax.snapshot import Best, Progress, Snapshot, Snapshots
from tl_jax.stepper import Batch, Stepper
from tl_jax.supply import Supply
from tl_jax.workdir import Workdir


class Trainer:
    """Takes a job from its first step, or from its last snapshot, to its end."""

    def __init__(
        self,
        job: Job,
        cuts: Sequence[Cut],
        workdir: Workdir,
        journal: Journal,
        stop: Stop,
        early: Early | None = None,
        supply: Any = None,
    ) -> None:
        self.early = early
        self.job, self.journal, self.stop, self.config = job, journal, stop, job.config
        self.workdir = workdir
        self.snapshots = Snapshots(job, workdir)
        self.supply = supply or Supply(job, cuts, journal.say)
        self.measure_every = job.steps(self.config.select.every)
        self.checkpoint_every = job.steps(self.config.checkpoint.every)
        self.log_every = job.steps(self.config.log_every)
        everywhere = sharding.replicated(job.mesh)
        self.key = jax.jit(jax.random.key, out_shardings=everywhere)(np.int32(self.config.seed))
        self.class_weights = sharding.replicate(job.class_weights, job.mesh)
        self.progress: Progress
        self.clock: Clock
        self.state: step.State
        self.fixed: step.Fixed

    def run(self) -> Best:
        """Trains to the end; the best measurement."""
        self.reach(len(self.job.plans))
        return self.snapshots.best(self.progress)

    def reach(self, stage: int) -> Snapshot:
        """Trains, from where the run is, until ``stage`` is to begin; what that begins with."""
        try:
            snapshot = self.snapshots.resume(self.journal.say)
            if snapshot is not None:
                self.journal.say(f"going on from step {snapshot.progress.step}")
            snapshot = snapshot or self.snapshots.start()
            self.progress = snapshot.progress
            self.clock = Clock(self.progress)
            self.journal.open(self.progress.step, self.progress.measured)
            self.journal.start_bar(self.progress.step, self._total())
            while self.progress.stage < stage:
                snapshot = self._stage(self.progress.stage, snapshot)
        finally:
            self.supply.close()
        return snapshot

    def begin(self, number: int, snapshot: Snapshot) -> Stepper:
        """Makes everything ready for the steps of a stage, from its start or from the middle."""
        with self.clock.paused():
            self._enter(number, snapshot)
        snapshot = self._snapshot()
        # Work of the training, which counts as its time but says nothing of the pace of steps.
        self.progress.prefix_seconds += self.supply.begin(number, snapshot.params, snapshot.stats)
        self.clock.lap()
        return Stepper(
            self.job,
            number,
            start=self.progress.stage_start,
            key=self.key,
            behind=self.supply.behind,
            early=self.early,
            program=self.program(number),
        )

    def program(self, number: int) -> Program | None:
        """What a stage's steps call, in the place of the job's own."""
        return None

    def _stage(self, number: int, snapshot: Snapshot) -> Snapshot:
        """Trains one stage, from its start or from the middle, and returns what it hands on.

        Each round measures, saves and takes a step, in this order, so that a snapshot of step S resumes
        exactly there: a due measurement that is not in it is made again before the next step. The end of
        a stage is saved as the last snapshot of the stage with its end recorded.
        """
        progress, name = self.progress, self._name(number)
        stepper = self.begin(number, snapshot)
        end = progress.stage_start + self.job.durations[number]
        metrics: step.Metrics | None = None
        self.stop.graceful = True
        while True:
            if progress.measured < progress.step and self._is_measure_due(end):
                with self.clock.paused(self.state):
                    if metrics is not None:
                        refuse_divergence(metrics, progress.step, name)
                    self._measure(number)
                if 0 < self.config.early_stopping.patience <= progress.failed:
                    self.journal.stopped_early(
                        progress.step, name, self.config.select.metric, progress.failed
                    )
                    end = progress.step
            if progress.step >= end:
                break
            if progress.step % self.checkpoint_every == 0 and progress.step > progress.stage_start:
                with self.clock.paused(self.state):
                    self.snapshots.save(self._snapshot(), number)
            self._leave_if_asked(number)
            metrics = self._take_step(stepper, name)
            if progress.step % self.log_every == 0 or progress.step == end:
                self._log(number, metrics)
            self.journal.advance(progress.step, total=self._total(), stage=name)
        self.stop.graceful = False
        progress.end_stage()
        handed_on = self._snapshot()
        with self.clock.paused(self.state):
            self.snapshots.save(handed_on, number)
        return replace(handed_on, ema={})

    def _enter(self, number: int, snapshot: Snapshot) -> None:
        """Sets the state up for a stage, at its start or in its middle."""
        progress, settings, plan = self.progress, self.config.stages[number], self.job.plans[number]
        params, stats, moments = snapshot.params, snapshot.stats, snapshot.moments
        if progress.step == progress.stage_start and number > 0:
            if settings.restore_best:
                best = self.snapshots.best(progress)
                params, stats = best.params, best.stats
            if optim.kind(settings) != optim.kind(self.config.stages[number - 1]):
                self.journal.say(f"stage {settings.name!r}: another optimiser, so its state starts anew")
                moments = {}
        trained, frozen = plan.partition(params)
        moving, still = plan.partition_statistics(stats)
        opt = optim.with_moments(optim.build(settings, plan).init(trained), moments)
        averaged = {**trained, **moving} if self.config.ema else {}
        ema = {path: snapshot.ema.get(path, leaf) for path, leaf in averaged.items()}
        # A step overwrites its state in place: nothing else may hold the same memory.
        self.state = step.State(*jax.tree.map(jnp.copy, (trained, moving, opt, ema)))
        anchors: Leaves = {}
        if self.config.loss.l2_sp:
            kept = {p: self.job.base_params[p] for p in trained if p in self.job.pretrained_paths}
            anchors = sharding.place(kept, self.job.mesh)
        self.fixed = step.Fixed(frozen, still, anchors, self.class_weights)

    def _take_step(self, stepper: Stepper, stage: str) -> step.Metrics:
        at, batch = self.progress.step, self.supply.batch(self.progress.step)
        if not stepper.knows(batch):
            with self.clock.paused():
                self._compile(stepper, stage, batch)
        self.state, metrics = stepper(self.state, self.fixed, batch, at)
        self.progress.step += 1
        self.progress.flops += stepper.flops(batch)
        return metrics

    def _compile(self, stepper: Stepper, stage: str, batch: Batch) -> None:
        """Compiles the stage's step; what a step costs goes into the log and into plan.txt."""
        began = time.monotonic()
        stepper.compile(self.state, self.fixed, batch, self.progress.step)
        each = stepper.flops(batch) / self.config.batch_size
        self.journal.compiled(stage, each, time.monotonic() - began)

    def _is_measure_due(self, end: int) -> bool:
        return self.progress.step % self.measure_every == 0 or self.progress.step >= end

    def _measure(self, number: int) -> None:
        """Validation now: keeps the best weights, and early stopping's count."""
        progress, metric = self.progress, self.config.select.metric
        snapshot = self._snapshot()
        params = {path: snapshot.ema.get(path, leaf) for path, leaf in snapshot.params.items()}
        stats = {path: snapshot.ema.get(path, leaf) for path, leaf in snapshot.stats.items()}
        logits = self.supply.val_logits(params, stats, lambda: self._leave_if_asked(number))
        values = self.job.quick(logits)
        delta = self.config.early_stopping.min_delta
        better = progress.measure(number, values[metric], self.job.rises, min_delta=delta)
        if better:
            self.snapshots.save_best(progress.step, number, Best(params, stats, logits))
        self.journal.measured(
            progress.step, values, stage=self._name(number), better=better, seconds=progress.seconds
        )

    def _leave_if_asked(self, number: int) -> None:
        """Saves and leaves if a signal came; a measurement under way is made again on resuming."""
        try:
            self.stop.check()
        except Interrupted:
            self.snapshots.save(self._snapshot(), number)
            self.journal.say(
                f"asked to stop: saved step {self.progress.step}; the same command goes on from there"
            )
            raise

    def _snapshot(self) -> Snapshot:
        """The state as it is now."""
        return Snapshot(
            self.progress,
            {**self.fixed.params, **self.state.params},
            {**self.fixed.stats, **self.state.stats},
            optim.moments(self.state.opt),
            self.state.ema,
        )

    def _log(self, number: int, metrics: step.Metrics) -> None:
        metrics = jax.device_get(metrics)
        at, batch = self.progress.step, self.config.batch_size
        stage = self._name(number)
        rate = self.clock.lap() * batch
        refuse_divergence(metrics, at, stage)
        epoch = at * batch / self.job.examples
        self.journal.stepped(at, metrics, stage=stage, epoch=epoch, rate=rate)
        loss = float(metrics["loss"])
        left = (self._total() - at) * batch / max(rate, 1e-9)
        self.journal.pace(at, total=self._total(), stage=stage, loss=loss, rate=rate, left=left)

    def _total(self) -> int:
        """Steps of the whole run, as far as is known now."""
        return self.progress.stage_start + sum(self.job.durations[self.progress.stage :])

    def _name(self, number: int) -> str:
        return self.config.stages[number].name


def refuse_divergence(metrics: step.Metrics, at: int, stage: str) -> None:
    """Raises FloatingPointError where the loss or the gradient of step ``at`` is not finite. The weights may
    be lost while outputs still look sane: a ReLU may make 0 of NaN."""
    found = {"loss": float(metrics["loss"]), "gradient's norm": float(metrics["grad_norm"])}
    for name, value in found.items():
        if not np.isfinite(value):
            raise FloatingPointError(
                f"the {name} is {value} at step {at} (stage {stage!r}): the learning rate is probably too "
                "high, or the precision too low. Lower stages[…].lr or lengthen stages[…].warmup, and choose "
                "a new --workdir."
            )
