"""The frozen prefix of a stage, run once for each picture instead of once for each step.

Below the first block that trains, or whose statistics move, nothing changes while a stage lasts. Where
pictures are not augmented either, what comes out there is the same in every epoch: it is computed at the
start of the stage and takes the pictures' place, in batches and at validation. Results equal those without
it to float tolerance, since other programs compute them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np

from tl_jax import step
from tl_jax.backbones.anatomy import Leaves, inference_graph
from tl_jax.data import Split, augment
from tl_jax.job import Job
from tl_jax.predictor import over, round_up


@dataclass(frozen=True)
class Cut:
    """Where a stage's prefix is cut: after ``start`` blocks, one more than there are for "after the neck", or
    None for not at all; and ``why``, in words about the prefix."""

    start: int | None
    why: str


def cut(job: Job, number: int) -> Cut:
    """Whether stage ``number`` keeps what its frozen prefix makes of the pictures (``cache.prefix``).

    Raises ValueError where the config insists on it and it cannot be.
    """
    mode, stage = job.config.cache.prefix, job.config.stages[number]
    if mode == "off":
        return Cut(None, "it runs at every step, as cache.prefix says")
    start, budget = _start(job, number), job.config.data.host_budget
    size = _nbytes(job, start) if start >= 0 else 0
    obstacle = ""
    if start < 0:
        obstacle = "the stem moves"
    elif augment.changes(job.config.augment):
        obstacle = "pictures are augmented, so that no two epochs are alike"
    elif size > budget:
        obstacle = f"it would take {size / 1e6:,.0f} MB, more than data.host_budget={budget:,}"
    if obstacle and mode == "on":
        raise ValueError(f'cache.prefix="on", but in stage {stage.name!r} {obstacle}')
    if obstacle:
        return Cut(None, f"it is not kept: {obstacle}")
    epochs = job.durations[number] * job.config.batch_size / len(job.data.train)
    if epochs <= 1 and mode == "auto":
        return Cut(None, "it is not kept: the stage is no longer than an epoch")
    n = len(job.data.train) + len(job.data.val)
    what = "it" if start <= len(job.model.blocks) else "all but the head"
    return Cut(start, f"{what} runs once for each of {n:,} pictures, {size / 1e6:.1f} MB are kept")


def cuts(job: Job) -> list[Cut]:
    """`cut` for every stage."""
    return [cut(job, number) for number in range(len(job.plans))]


def compute(job: Job, start: int, params: Leaves, stats: Leaves, pictures: Split) -> Split:
    """The pictures with what the first ``start`` blocks make of them in their place, in host memory."""
    size = round_up(min(job.config.evaluation.batch_size, len(pictures)), job.mesh.size)
    run = partial(jax.jit(function(job, start)), params, stats)
    return replace(pictures, images=over(run, pictures, size, job.mesh))


def _start(job: Job, number: int) -> int:
    """Blocks below the cut, -1 where the stem moves; a neck at rest is below it too."""
    plan, n = job.plans[number], len(job.model.blocks)
    return n + 1 if plan.prefix == n and "neck" not in plan.moving else plan.prefix


def _nbytes(job: Job, start: int) -> int:
    """Bytes of what is kept of train and val."""
    one = outline(job, start, 1)
    return (len(job.data.train) + len(job.data.val)) * one.size * one.dtype.itemsize


def outline(job: Job, start: int, rows: int) -> jax.ShapeDtypeStruct:
    """Shape and dtype of what the first ``start`` blocks make of ``rows`` pictures."""
    return jax.eval_shape(function(job, start), job.base_params, job.base_stats, stored(job, rows))


def stored(job: Job, rows: int) -> jax.ShapeDtypeStruct:
    """Shape and dtype of ``rows`` pictures as validation stores them."""
    return jax.ShapeDtypeStruct((rows, *job.data.val.images.shape[1:]), np.uint8)


def function(job: Job, start: int) -> Any:
    """`step.prefix` of parameters, statistics and stored pictures."""
    return partial(step.prefix, inference_graph(job.model), replace(job.recipe, start=start))
