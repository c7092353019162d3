"""What a run must remember to go on as if nothing had happened, and its best weights so far.

A snapshot holds every leaf that may differ from the pretrained file, the optimiser's moments, the
averages and the `Progress`; of the weights that cannot have changed it holds only their identity.
``last`` and ``best`` are kept apart, so that keeping the best never costs the one to resume from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import jax

from tl_jax import checkpoint, compilation, optim, sharding
from tl_jax.backbones.anatomy import Leaves
from tl_jax.evaluation import is_better
from tl_jax.job import Job
from tl_jax.workdir import Workdir, WorkdirError


@dataclass
class Progress:
    """Where a run stands.

    ``ends``: last steps of finished stages; ``measured``: the last step at which validation was
    measured; ``best``: ``{"step", "stage", "value"}`` of the best measurement; ``stage_best`` and
    ``failed``: early stopping's reference in this stage, and how many measurements in a row failed it;
    ``seconds``: time spent training, ``prefix_seconds`` of it in frozen prefixes; ``flops``: floating-point
    operations of the steps, NaN where nobody counts them.
    """

    step: int = 0
    ends: list[int] = field(default_factory=list)
    measured: int = 0
    best: dict[str, Any] | None = None
    stage_best: float | None = None
    failed: int = 0
    seconds: float = 0.0
    prefix_seconds: float = 0.0
    flops: float = 0.0

    def measure(self, stage: int, value: float | None, rises: bool, *, min_delta: float) -> bool:
        """Takes in what was measured now, of which more is better if it ``rises``; whether it is the best so
        far."""
        better = self.best is None or is_better(rises, value, self.best["value"])
        if better:
            self.best = {"step": self.step, "stage": stage, "value": value}
        if self.stage_best is None or is_better(rises, value, self.stage_best, min_delta=min_delta):
            self.stage_best, self.failed = value, 0
        else:
            self.failed += 1
        self.measured = self.step
        return better

    def end_stage(self) -> None:
        self.ends.append(self.step)
        self.stage_best, self.failed = None, 0

    @property
    def stage(self) -> int:
        return len(self.ends)

    @property
    def stage_start(self) -> int:
        return self.ends[-1] if self.ends else 0


@dataclass(frozen=True)
class Snapshot:
    """``params`` and ``stats`` are whole; ``moments`` and ``ema`` those of the stage in progress."""

    progress: Progress
    params: Leaves
    stats: Leaves
    moments: optim.Moments
    ema: Leaves


@dataclass(frozen=True)
class Best:
    """What the best measurement measured: ``params`` and ``stats``, whole, and what they made of validation,
    ``logits`` (n, K) float32, of several tasks a dict of each."""

    params: Leaves
    stats: Leaves
    logits: Any


class Snapshots:
    """The snapshots of one run."""

    def __init__(self, job: Job, workdir: Workdir) -> None:
        self.job, self.workdir = job, workdir

    def start(self) -> Snapshot:
        """A run before its first step."""
        params, stats = self._base()
        return Snapshot(Progress(), params, stats, {}, {})

    def save(self, snapshot: Snapshot, stage: int) -> None:
        """Writes the state of a run in, or at the end of, ``stage``. Older ones are deleted only
        afterwards, so that no moment leaves a run without what its record names. They are counted and not
        named by their step, which may be saved more than once."""
        arrays = {
            "params": self._touched(snapshot.params, stage),
            "stats": self._touched(snapshot.stats, stage),
            "moments": snapshot.moments,
            "ema": snapshot.ema,
        }
        progress = snapshot.progress
        record = {"progress": asdict(progress), "stage": stage, **self._identity()}
        number = (checkpoint.latest(self.workdir.last) or 0) + 1
        checkpoint.save(self.workdir.last, number, arrays, record)
        checkpoint.prune(self.workdir.last, number)
        checkpoint.prune(self.workdir.best, progress.best["step"] if progress.best else None)

    def resume(self, say: Callable[[str], None]) -> Snapshot | None:
        """The last snapshot, or None where there is none to go on from.

        Raises WorkdirError where the weights or the data are not those the run began with.
        """
        at = checkpoint.latest(self.workdir.last)
        if at is None:
            checkpoint.prune(self.workdir.best, None)
            return None
        record = checkpoint.record(self.workdir.last, at)
        self._check(record, say)
        progress, stage = Progress(**record["progress"]), record["stage"]
        plan, settings = self.job.plans[stage], self.job.config.stages[stage]
        params, stats = self._base()
        trained, _ = plan.partition(params)
        moving, _ = plan.partition_statistics(stats)
        moments = optim.moments(jax.eval_shape(optim.build(settings, plan).init, trained))
        target = {
            "params": self._touched(params, stage),
            "stats": self._touched(stats, stage),
            "moments": sharding.outline(moments, self.job.mesh),
            "ema": {**trained, **moving} if self.job.config.ema else {},
        }
        arrays = checkpoint.restore(self.workdir.last, at, target)
        checkpoint.prune(self.workdir.best, progress.best["step"] if progress.best else None)
        return Snapshot(
            progress,
            {**params, **arrays["params"]},
            {**stats, **arrays["stats"]},
            arrays["moments"],
            # A stage that is over hands its weights on, not their averages.
            arrays["ema"] if progress.stage == stage else {},
        )

    def save_best(self, step: int, stage: int, best: Best) -> None:
        checkpoint.save(self.workdir.best, step, self._kept(best, stage), {"stage": stage})

    def best(self, progress: Progress) -> Best:
        """The best measurement so far. There is one."""
        assert progress.best is not None, "every stage ends with a measurement"
        base = Best(*self._base(), self.job.unmeasured)
        target = self._kept(base, progress.best["stage"])
        arrays = checkpoint.restore(self.workdir.best, progress.best["step"], target)
        return Best({**base.params, **arrays["params"]}, {**base.stats, **arrays["stats"]}, arrays["logits"])

    def _base(self) -> tuple[Leaves, Leaves]:
        mesh = self.job.mesh
        return sharding.place(self.job.base_params, mesh), sharding.place(self.job.base_stats, mesh)

    def _kept(self, best: Best, stage: int) -> dict[str, Any]:
        """The arrays of a checkpoint."""
        params, stats = self._touched(best.params, stage), self._touched(best.stats, stage)
        return {"params": params, "stats": stats, "logits": best.logits}

    def _touched(self, leaves: Leaves, stage: int) -> Leaves:
        touched = self.job.touched(stage)
        return {path: leaf for path, leaf in leaves.items() if path in touched}

    def _identity(self) -> dict[str, Any]:
        return {
            **self.job.identity,
            "threads": compilation.threads(),
            "devices": self.job.mesh.size,
            "fsdp": self.job.mesh.shape[sharding.FSDP],
        }

    def _check(self, record: Mapping[str, Any], say: Callable[[str], None]) -> None:
        now = self._identity()
        changed = [name for name in ("weights", "data") if record[name] != now[name]]
        if changed:
            raise WorkdirError(
                f"cannot go on in {self.workdir.root}: the {' and the '.join(changed)} changed since this "
                "run began. Restore them, or start anew in another --workdir."
            )
        moved = [name for name in ("threads", "devices", "fsdp") if record.get(name, 1) != now[name]]
        if moved:
            told = ", ".join(f"{name} {record.get(name, 1)} → {now[name]}" for name in moved)
            say(f"note: going on with another machine shape ({told}): results equal to float tolerance only")
