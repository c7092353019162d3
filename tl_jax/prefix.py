"""The frozen prefix of a stage, run once for each picture instead of once for each step: whether, and where
what it makes is kept.

Below the first block that trains, or whose statistics move, nothing changes while a stage lasts. Where
pictures are not augmented either, or ``cache.views`` says how many augmented views of each are enough, what
comes out there is computed at the start of the stage and takes the pictures' place, in batches and at
validation (`tl_jax.kept`). Without augmentation results equal those without it to float tolerance, since
other programs compute them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from tl_jax import cache_folder, forward
from tl_jax.backbones.anatomy import Leaves, inference_graph
from tl_jax.data import augment
from tl_jax.data.sources.errors import counted
from tl_jax.job import Job

KIND = "prefix"
"""What entries in the cache folder are called."""

WORTH_IT = 0.9
"""Share of the forward passes above which nothing is kept: it costs another program and the memory."""


@dataclass(frozen=True)
class Cut:
    """Where a stage's prefix is cut: after ``start`` blocks, one more than there are for "after the neck", or
    None for not at all; and ``why``, in words about the prefix. ``views`` augmented views of each training
    picture are kept, 0: pictures as they are."""

    start: int | None
    why: str
    views: int = 0


def cut(job: Job, number: int) -> Cut:
    """Whether stage ``number`` keeps what its frozen prefix makes of the pictures (``cache.prefix``).

    Raises ValueError where the config insists on it and it cannot be.
    """
    cache, stage = job.config.cache, job.config.stages[number]
    if cache.prefix == "off":
        return Cut(None, "it runs at every step, as cache.prefix says")
    start, views = _start(job, number), _views(job.config)
    obstacle = f"{job.plans[number].lowest} moves" if start < 0 else _unlike(job.config)
    place = ""
    if not obstacle:
        place, obstacle = _place(job, start, views)
    if obstacle and cache.prefix == "on":
        raise ValueError(f'cache.prefix="on", but in stage {stage.name!r} {obstacle}')
    if obstacle:
        return Cut(None, f"it is not kept: {obstacle}")
    once, without = _passes(job, number, views)
    if once > WORTH_IT * without and cache.prefix == "auto":
        return Cut(None, f"it is not kept: that would take {once:,} forward passes, the stage {without:,}")
    n, m = len(job.data.train), len(job.data.val)
    which = f"each of {n + m:,} {job.data.noun}s"
    if views:
        which = f"{counted(views, 'view')} of each of {n:,} pictures and {m:,} pictures of validation"
    what = "it" if start <= len(job.model.blocks) else "all but the head"
    return Cut(start, f"{what} runs once for {which}, {once:,} times instead of {without:,}; {place}", views)


def cuts(job: Job) -> list[Cut]:
    """`cut` for every stage. Raises ValueError, with every stage that cannot be as the config insists."""
    found, problems = [], []
    for number in range(len(job.plans)):
        try:
            found.append(cut(job, number))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("\n".join(problems))
    return found


def notes(job: Job) -> Iterator[str]:
    """A line where ``cache.views`` is set and does nothing."""
    cache = job.config.cache
    if not cache.views:
        return
    if cache.prefix == "off":
        yield 'note: cache.prefix="off", so cache.views does nothing'
    elif not augment.changes(job.config.augment):
        yield "note: pictures are not augmented, so cache.views does nothing"
    else:
        for number, stage in enumerate(job.config.stages):
            if _start(job, number) < 0:
                what = f"{job.plans[number].lowest} moves"
                yield f"note: stage {stage.name!r}: {what}, so cache.views does nothing there"


def folder(config: ConfigDict) -> Path | None:
    """The folder that keeps it for other runs, None for none. With several processes there is none: they
    would have to agree on what each host's disk holds and has room for."""
    return cache_folder.locate(config.cache.dir, KIND) if jax.process_count() == 1 else None


def dtype(config: ConfigDict) -> np.dtype:
    """What is kept is of this dtype."""
    name = config.precision if config.cache.dtype == "auto" else config.cache.dtype
    return jnp.dtype(name)


def amount(nbytes: int) -> str:
    """Bytes in words."""
    return f"{nbytes / 1e6:,.1f} MB" if nbytes >= 1e6 else f"{nbytes / 1e3:,.1f} kB"


def outline(job: Job, start: int, rows: int) -> jax.ShapeDtypeStruct:
    """Shape and dtype of what is kept of ``rows`` pictures after the first ``start`` blocks."""
    return jax.eval_shape(function(job, start), job.base_params, job.base_stats, stored(job, rows))


def stored(job: Job, rows: int) -> jax.ShapeDtypeStruct:
    """Shape and dtype of ``rows`` examples as validation stores them."""
    images = job.data.val.images
    return jax.ShapeDtypeStruct((rows, *images.shape[1:]), images.dtype)


def function(job: Job, start: int) -> Any:
    """`forward.prefix` of parameters, statistics and stored pictures, as it is kept. Training pictures come
    with a key and the row of the first picture, and each is augmented as these say."""
    run = partial(forward.prefix, inference_graph(job.model), replace(job.recipe, start=start))

    def keep(
        params: Leaves, stats: Leaves, images: jax.Array, key: jax.Array | None = None, first: Any = 0
    ) -> jax.Array:
        keys = None
        if key is not None:
            keys = jax.vmap(partial(jax.random.fold_in, key))(first + jnp.arange(len(images)))
        return run(params, stats, images, keys).astype(dtype(job.config))

    return keep


def _start(job: Job, number: int) -> int:
    """Blocks below the cut, -1 where nothing lies below what moves; a neck at rest is below it too."""
    plan, n = job.plans[number], len(job.model.blocks)
    return n + 1 if plan.prefix == n and "neck" not in plan.moving else plan.prefix


def _views(config: ConfigDict) -> int:
    return config.cache.views if augment.changes(config.augment) else 0


def _unlike(config: ConfigDict) -> str:
    """What keeps a picture from being the same at every visit, in words; "" for nothing."""
    if not augment.changes(config.augment):
        return ""
    if not config.cache.views:
        return "pictures are augmented, so that no two epochs are alike (cache.views would keep some)"
    if config.augment.mixup or config.augment.cutmix:
        return "mixup and cutmix mix the pictures of a batch, and what is kept is of single ones"
    return ""


def _place(job: Job, start: int, views: int) -> tuple[str, str]:
    """Where what is kept will lie, in words, or what stands against it."""
    data, cache = job.config.data, job.config.cache
    one = outline(job, start, 1)
    each = one.size * one.dtype.itemsize
    train = max(views, 1) * len(job.data.train) * each
    size, batch = train + len(job.data.val) * each, job.config.batch_size * each
    if 0 < data.device_budget < batch:
        return "", f"a batch of it takes {batch:,} bytes, more than data.device_budget={data.device_budget:,}"
    where = "on the device" if train <= data.device_budget else "in memory"
    if size > data.host_budget:
        too_large = f"it would take {amount(size)}, more than data.host_budget={data.host_budget:,}"
        found = folder(job.config)
        if found is None and jax.process_count() > 1:
            return "", f"{too_large}, and several processes keep nothing on disk"
        if found is None:
            return "", f'{too_large}, and cache.dir="" leaves no folder for it'
        if size > cache.disk_budget:
            return "", f"{too_large} and more than cache.disk_budget={cache.disk_budget:,}"
        if cache.prefix == "auto" and jax.default_backend() != "cpu":
            return "", f'{too_large}, and a disk would keep the device waiting (cache.prefix="on" insists)'
        try:
            with cache_folder.aside(found, KIND):
                free = shutil.disk_usage(found).free + cache_folder.holds(found, KIND)
        except OSError as error:
            return "", f"{too_large}, and cache.dir cannot be written: {error}"
        if free < size:
            return "", f"{too_large}, and {found} has room for {free:,} bytes"
        where = f"on the device and in {found}" if train <= data.device_budget else f"in {found}"
    return f"{amount(size)} are kept {where}, as {one.dtype}", ""


def visits(job: Job, number: int, views: int) -> tuple[int, int]:
    """Pictures that stage ``number`` runs its prefix on where it is kept, and pictures that it measures on
    validation."""
    n, m = len(job.data.train), len(job.data.val)
    start, length = sum(job.durations[:number]), job.durations[number]
    end, every = start + length, job.steps(job.config.select.every)
    measured = end // every - start // every + (end % every > 0)
    return max(views, 1) * n + m, measured * m


def _passes(job: Job, number: int, views: int) -> tuple[int, int]:
    """Forward passes through the prefix: with what it makes kept, and with the prefix run at every step and
    every measurement."""
    once, measured = visits(job, number, views)
    return once, job.durations[number] * job.config.batch_size + measured
