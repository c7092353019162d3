"""The loop over stages; nothing clever.

Where a run stands is a `Progress`: the step, and the steps at which finished stages ended (early
stopping moves those). Batches, augmentation and dropout are pure functions of (seed, step), the stage
is one of (step, ends), so a resumed run repeats exactly what the uninterrupted one would have done.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax import checkpoint, optim, programs, schedule, sharding, step
from tl_jax.backbones.anatomy import Leaves
from tl_jax.data.feed import Feed
from tl_jax.evaluation import is_better, quick
from tl_jax.interrupt import Interrupted, Stop
from tl_jax.job import Job
from tl_jax.journal import Journal
from tl_jax.predictor import Predictor
from tl_jax.tasks import classification
from tl_jax.workdir import Workdir


@dataclass
class Progress:
    """Where a run stands; part of every checkpoint.

    ``ends``: last steps of finished stages; ``measured``: the last step at which validation was
    measured; ``best``: ``{"step", "stage", "value"}`` of the best measurement; ``stage_best`` and
    ``patience``: early stopping's reference in this stage, and how many measurements failed it.
    """

    step: int = 0
    ends: list[int] = field(default_factory=list)
    measured: int = 0
    best: dict[str, Any] | None = None
    stage_best: float | None = None
    patience: int = 0

    @property
    def stage(self) -> int:
        return len(self.ends)

    @property
    def stage_start(self) -> int:
        return self.ends[-1] if self.ends else 0


class Trainer:
    """Takes a job from its first step, or from its last checkpoint, to its end."""

    def __init__(self, job: Job, workdir: Workdir, journal: Journal, stop: Stop) -> None:
        self.job, self.workdir, self.journal, self.stop = job, workdir, journal, stop
        self.config = job.config
        self.progress = Progress()
        self.seconds = 0.0
        self.params = sharding.replicate(job.base_params, job.mesh)
        self.stats = sharding.replicate(job.base_stats, job.mesh)
        self.key = sharding.replicate_key(jax.random.key(self.config.seed), job.mesh)
        self.predictor = Predictor(job.model, job.recipe, job.mesh)
        weights = classification.class_weights(
            self.config.loss.class_weights, job.data.train.labels, job.data.classes
        )
        self.class_weights = sharding.replicate(weights, job.mesh)
        self.feed = Feed(
            job.data.train,
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            device_budget=self.config.data.device_budget,
            sharding=sharding.batched(job.mesh),
        )
        self.state: step.State
        self.fixed: step.Fixed

    def run(self) -> tuple[Leaves, Leaves]:
        """Trains to the end; the best checkpoint's parameters and statistics."""
        start = time.monotonic()
        try:
            moments = self._resume()
            self.journal.open(self.progress.step)
            self.journal.start_bar(self.progress.step, self._total())
            while self.progress.stage < len(self.job.plans):
                moments = self._stage(self.progress.stage, moments)
        finally:
            self.feed.close()
        self.seconds = time.monotonic() - start
        return self._best()

    def _stage(self, number: int, moments: optim.Moments) -> optim.Moments:
        """Trains one stage, from its start or from the middle; returns the optimiser's moments."""
        job, progress = self.job, self.progress
        settings = self.config.stages[number]
        end = progress.stage_start + job.durations[number]
        self._enter(number, moments)
        take_step = self._compiled(number)
        self.stop.graceful = True
        mark, since = time.monotonic(), progress.step
        metrics: step.Metrics | None = None
        while True:
            if progress.measured < progress.step and self._measure_due(end):
                self._measure(number)
                mark, since = time.monotonic(), progress.step
                if self._exhausted():
                    self.journal.say(
                        f"stage {settings.name!r} stopped early at step {progress.step}: "
                        f"{self.config.select.metric} has not improved for {progress.patience} measurements"
                    )
                    end = progress.step
            if progress.step >= end:
                break
            if progress.step % job.checkpoint_every == 0 and progress.step > progress.stage_start:
                self._save(number)
            try:
                self.stop.check()
            except Interrupted:
                self._save(number)
                self.journal.say(
                    f"asked to stop: saved step {progress.step}; the same command goes on from there"
                )
                raise
            metrics = take_step(progress.step)
            progress.step += 1
            if progress.step % job.log_every == 0 or progress.step == end:
                rate = self._log(number, metrics, time.monotonic() - mark, progress.step - since)
                mark, since = time.monotonic(), progress.step
                self.journal.advance(
                    progress.step,
                    total=self._total(),
                    stage=settings.name,
                    note=f"loss {float(metrics['loss']):.4f}  {rate:.0f} images/s",
                )
            else:
                self.journal.advance(progress.step, total=self._total(), stage=settings.name)
        self.stop.graceful = False
        self.params = {**self.fixed.params, **self.state.params}
        self.stats = {**self.fixed.stats, **self.state.stats}
        progress.ends.append(progress.step)
        progress.stage_best, progress.patience = None, 0
        self._save(number)
        return optim.moments(self.state.opt)

    def _enter(self, number: int, moments: optim.Moments) -> None:
        """Sets the state up for a stage whose leaves are in ``self.params`` and ``self.stats``."""
        job, progress, settings = self.job, self.progress, self.config.stages[number]
        plan = job.plans[number]
        if progress.step == progress.stage_start:
            if settings.restore_best and progress.best:
                self.params, self.stats = self._best()
            if number and optim.kind(settings) != optim.kind(self.config.stages[number - 1]):
                self.journal.say(f"stage {settings.name!r}: another optimiser, so its state starts anew")
                moments = {}
        trained, frozen = plan.partition(self.params)
        moving, still = plan.partition_statistics(self.stats)
        opt = optim.with_moments(optim.build(settings, plan).init(trained), moments)
        averaged = {**trained, **moving} if self.config.ema else {}
        ema = {path: self.ema.get(path, leaf) for path, leaf in averaged.items()}
        # A step overwrites its state: nothing else may hold the same memory.
        self.state = step.State(*jax.tree.map(jnp.copy, (trained, moving, opt, ema)))
        anchors: Leaves = {}
        if self.config.loss.l2_sp:
            kept = {path: job.base_params[path] for path in trained if path in job.pretrained_paths}
            anchors = sharding.replicate(kept, job.mesh)
        self.fixed = step.Fixed(frozen, still, anchors, self.class_weights)
        self.ema = {}

    def _compiled(self, number: int) -> Any:
        """The stage's step as a function of the step number; it moves ``self.state`` along."""
        job, settings, plan = self.job, self.config.stages[number], self.job.plans[number]
        program = programs.build(job, number)
        start, length = self.progress.stage_start, job.durations[number]
        warmup = job.steps(settings.warmup, total=length)
        parts = self.config.accumulate

        def take_step(number: int) -> step.Metrics:
            store, index = self.feed.batch(number)
            hyper = _hyper(self.config, settings, plan, number - start, length, warmup)
            at = np.int32(number)
            if parts == 1:
                self.state, metrics = program.whole(self.state, self.fixed, store, index, self.key, at, hyper)
                return metrics
            total = jax.tree.map(jnp.zeros_like, self.state.params)
            loss = 0.0
            for part, (piece, rows) in enumerate(_pieces(store, index, parts)):
                self.state, total, share = program.micro(
                    self.state, total, self.fixed, piece, rows, self.key, at, np.int32(part), hyper.l2_sp
                )
                loss = loss + share
            self.state, metrics = program.finish(self.state, total, self.state.stats, hyper)
            return {"loss": loss, **metrics}

        return take_step

    def _measure_due(self, end: int) -> bool:
        return self.progress.step % self.job.measure_every == 0 or self.progress.step >= end

    def _measure(self, number: int) -> None:
        """Validation now: keeps the best weights and early stopping's count."""
        progress, metric = self.progress, self.config.select.metric
        params, stats = self._evaluated()
        val = self.job.data.val
        logits = self.predictor.logits(
            params, stats, val, self.config.evaluation.batch_size, check=self._check_while_measuring
        )
        values = quick(logits, val.labels, positive=self.job.positive)
        self.journal.record(progress.step, {f"val/{name}": value for name, value in values.items()})
        value = values[metric]
        better = progress.best is None or is_better(metric, value, progress.best["value"])
        if better:
            progress.best = {"step": progress.step, "stage": number, "value": value}
        reference, delta = progress.stage_best, self.config.early_stopping.min_delta
        if reference is None or is_better(metric, value, reference, min_delta=delta):
            progress.stage_best, progress.patience = value, 0
        else:
            progress.patience += 1
        progress.measured = progress.step
        shown = "  ".join(f"{name} {v:.4f}" for name, v in values.items() if v is not None)
        mark = "  (best so far)" if better else ""
        self.journal.say(f"step {progress.step:>6}  {self.config.stages[number].name}: val {shown}{mark}")
        if better:
            arrays = {"params": self._touched(params, number), "stats": self._touched(stats, number)}
            checkpoint.save(self.workdir.best, progress.step, arrays, {"stage": number})

    def _check_while_measuring(self) -> None:
        """A stop asked for during validation saves first; the measurement is made on resuming."""
        try:
            self.stop.check()
        except Interrupted:
            self._save(self.progress.stage)
            raise

    def _exhausted(self) -> bool:
        patience = self.config.early_stopping.patience
        return 0 < patience <= self.progress.patience

    def _evaluated(self) -> tuple[Leaves, Leaves]:
        """The weights and statistics that count: the averages where there are any."""
        params = {**self.fixed.params, **self.state.params}
        stats = {**self.fixed.stats, **self.state.stats}
        return (
            {path: self.state.ema.get(path, leaf) for path, leaf in params.items()},
            {path: self.state.ema.get(path, leaf) for path, leaf in stats.items()},
        )

    def _log(self, number: int, metrics: step.Metrics, seconds: float, steps: int) -> float:
        metrics = jax.device_get(metrics)
        loss, at = float(metrics["loss"]), self.progress.step
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} at step {at} (stage {self.config.stages[number].name!r}): the "
                "learning rate is probably too high, or the precision too low. Lower stages[…].lr or add "
                "a warm-up; the last checkpoint is from before this."
            )
        rate = steps * self.config.batch_size / max(seconds, 1e-9)
        groups = {
            f"{kind}/{name}": float(value)
            for name, values in metrics["groups"].items()
            for kind, value in values.items()
        }
        self.journal.record(
            at,
            {
                "stage": self.config.stages[number].name,
                "epoch": at * self.config.batch_size / len(self.job.data.train),
                "loss": loss,
                "grad_norm": float(metrics["grad_norm"]),
                **groups,
                "images_per_second": rate,
            },
        )
        return rate

    def _total(self) -> int:
        """Steps of the whole run, as far as is known now."""
        return self.progress.stage_start + sum(self.job.durations[self.progress.stage :])

    def _touched(self, leaves: Leaves, number: int) -> Leaves:
        touched = self.job.touched(number)
        return {path: leaf for path, leaf in leaves.items() if path in touched}

    def _save(self, number: int) -> None:
        """Writes everything that is not in the pretrained file. The best is pruned only afterwards, so
        that no moment leaves a run without the best its record names."""
        state = self.state
        arrays = {
            "params": self._touched({**self.fixed.params, **state.params}, number),
            "stats": self._touched({**self.fixed.stats, **state.stats}, number),
            "opt": optim.moments(state.opt),
            "ema": state.ema,
        }
        record = {"progress": asdict(self.progress), "stage": number, **self._identity()}
        checkpoint.save(self.workdir.last, self.progress.step, arrays, record)
        checkpoint.prune(self.workdir.last, self.progress.step)
        checkpoint.prune(self.workdir.best, self.progress.best and self.progress.best["step"])

    def _identity(self) -> dict[str, Any]:
        return {
            "weights": self.job.load_report.identity,
            "data": self.job.data.fingerprint,
            "threads": len(os.sched_getaffinity(0)),
            "devices": self.job.mesh.size,
        }

    def _resume(self) -> optim.Moments:
        """Takes the state from the last checkpoint, if there is one."""
        self.ema: Leaves = {}
        at = checkpoint.latest(self.workdir.last)
        if at is None:
            checkpoint.prune(self.workdir.best, None)
            return {}
        record = checkpoint.record(self.workdir.last, at)
        self._check_identity(record)
        self.progress, number = Progress(**record["progress"]), record["stage"]
        trained, _ = self.job.plans[number].partition(self.params)
        moving, _ = self.job.plans[number].partition_statistics(self.stats)
        opt = optim.moments(optim.build(self.config.stages[number], self.job.plans[number]).init(trained))
        target = {
            "params": self._touched(self.params, number),
            "stats": self._touched(self.stats, number),
            "opt": sharding.replicate(opt, self.job.mesh),
            "ema": {**trained, **moving} if self.config.ema else {},
        }
        arrays = checkpoint.restore(self.workdir.last, at, target)
        self.params, self.stats = {**self.params, **arrays["params"]}, {**self.stats, **arrays["stats"]}
        in_stage = self.progress.stage == number
        self.ema = arrays["ema"] if in_stage else {}
        checkpoint.prune(self.workdir.best, self.progress.best and self.progress.best["step"])
        self.journal.say(f"resuming from step {at} of {self._total()}")
        return arrays["opt"]

    def _check_identity(self, record: dict[str, Any]) -> None:
        now = self._identity()
        changed = [name for name in ("weights", "data") if record[name] != now[name]]
        if changed:
            raise ValueError(
                f"cannot resume in {self.workdir.root}: the pretrained {' and the '.join(changed)} "
                f"changed since this run began; restore them, or start anew in another --workdir"
            )
        moved = [name for name in ("threads", "devices") if record[name] != now[name]]
        if moved:
            told = ", ".join(f"{name} {record[name]} → {now[name]}" for name in moved)
            self.journal.say(
                f"note: resuming on another machine shape ({told}): equal to float tolerance only"
            )

    def _best(self) -> tuple[Leaves, Leaves]:
        """Parameters and statistics of the best measurement, whole."""
        best = self.progress.best
        assert best is not None, "every stage ends with a measurement"
        params = sharding.replicate(self.job.base_params, self.job.mesh)
        stats = sharding.replicate(self.job.base_stats, self.job.mesh)
        target = {
            "params": self._touched(params, best["stage"]),
            "stats": self._touched(stats, best["stage"]),
        }
        arrays = checkpoint.restore(self.workdir.best, best["step"], target)
        return {**params, **arrays["params"]}, {**stats, **arrays["stats"]}


def _hyper(config: Any, settings: Any, plan: Any, at: int, length: int, warmup: int) -> step.Hyper:
    """The numbers of step ``at`` of a stage."""
    share = schedule.factor(settings.schedule, at, steps=length, warmup=warmup, final=settings.final_lr)
    # The average warms up, so that the first weights do not weigh on it for long.
    ema = min(config.ema, (1 + at) / (10 + at))
    return step.Hyper(
        lr=np.float32([settings.lr * share * group.lr_scale for group in plan.groups]),
        weight_decay=np.float32([group.weight_decay for group in plan.groups]),
        clip=np.float32(settings.clip),
        l2_sp=np.float32(config.loss.l2_sp),
        ema=np.float32(ema),
    )


def _pieces(store: Any, index: Any, parts: int) -> Iterable[tuple[Any, Any]]:
    """A batch as ``parts`` micro-batches."""
    if index is not None:
        return ((store, rows) for rows in np.split(np.asarray(index), parts))
    rows = len(store["label"]) // parts
    return (({k: v[i * rows : (i + 1) * rows] for k, v in store.items()}, None) for i in range(parts))
