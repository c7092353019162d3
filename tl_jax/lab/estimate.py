"""What a grid will cost, before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tl_jax import prefix, programs, sharding
from tl_jax.freeze import count
from tl_jax.job import Job, prepare
from tl_jax.lab.grid import Run
from tl_jax.pace import spell
from tl_jax.predictor import Predictor
from tl_jax.text_table import aligned


def table(grid: Sequence[Run]) -> str:
    """A line a variation: its runs, what they train, operations, and seconds if all of them run as fast as
    the forward pass of the first does now."""
    rows = [["variation", "runs", "trained parameters", "TFLOP a run", "time a run"]]
    speed, total = 0.0, 0.0
    for run in {run.variation.name: run for run in grid}.values():
        job = prepare(run.config, say=lambda line: None)
        speed = speed or _speed(job)
        runs = sum(other.variation.name == run.variation.name for other in grid)
        cost = operations(job)
        total += runs * cost / speed
        trained = max(count(plan.partition(job.base_params)[0]) for plan in job.plans)
        rows.append(
            [run.variation.name, str(runs), f"{trained:,}", f"{cost / 1e12:,.1f}", spell(cost / speed)]
        )
    lines = aligned(rows, left=1)
    lines.append(
        f"{len(grid)} runs, {spell(total)} at {speed / 1e9:,.0f} GFLOP/s, the speed of a forward pass"
    )
    return "\n".join(lines)


def operations(job: Job) -> float:
    """Floating-point operations of a run: steps, measurements, frozen prefixes, and the test split."""
    total, forward = 0.0, 0.0
    for number, cut in enumerate(prefix.cuts(job)):
        cost = programs.cost(job, number, cut.start)
        once, measured = prefix.visits(job, number, cut.views)
        total += job.durations[number] * job.config.batch_size * cost.step
        total += measured * cost.forward + once * cost.once
        forward = cost.forward + cost.once
    return total + len(job.data.test) * forward


def _speed(job: Job) -> float:
    """Operations a second of the network's forward pass, compiled and warm."""
    predictor, pictures = Predictor(job.model, job.recipe, job.mesh), job.data.val
    rows = job.config.evaluation.batch_size
    leaves = sharding.place(job.base_params, job.mesh), sharding.place(job.base_stats, job.mesh)
    predictor.logits(*leaves, pictures, rows)
    began = time.monotonic()
    predictor.logits(*leaves, pictures, rows)
    seconds = time.monotonic() - began
    return len(pictures) * programs.cost(job, 0, None).forward / seconds
