"""A frozen prefix run over all pictures of a split: the program, what decides its outcome, and running it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import jax
import jaxlib.version
import numpy as np

from tl_jax import compilation, prefix, sharding
from tl_jax.backbones.anatomy import Leaves, inference_graph, part_of
from tl_jax.data import Rows, Split, store
from tl_jax.data.feed import eval_batches
from tl_jax.data.mapped import release
from tl_jax.data.sources.errors import counted
from tl_jax.job import Job
from tl_jax.pace import left_over
from tl_jax.predictor import round_up
from tl_jax.prefix import Cut

SECONDS = 10.0
"""Between two lines about progress."""

VIEWS = 2**32 - 1
"""Folded into the run's key for the views, as no step is."""


class Program:
    """A traced program, compiled when it is first asked for."""

    def __init__(self, lowered: jax.stages.Lowered) -> None:
        self.lowered = lowered

    @cached_property
    def compiled(self) -> jax.stages.Compiled:
        return compilation.compiled(self.lowered)

    @cached_property
    def digest(self) -> bytes:
        return hashlib.blake2b(self.lowered.as_text().encode(), digest_size=16).digest()


Programs = dict[tuple[Any, ...], Program]
"""Those of one run, for passes that differ in their split alone."""


class Pass:
    """The frozen prefix of stage ``number`` over split ``name``, "train", "val" or "test": its program, one
    of ``programs`` where it is among them, and the shape and dtype of what that makes. ``params`` and
    ``stats`` are those that the stage begins with, or comes to."""

    def __init__(
        self,
        job: Job,
        number: int,
        cut: Cut,
        params: Leaves,
        stats: Leaves,
        name: str,
        *,
        programs: Programs | None = None,
    ) -> None:
        assert cut.start is not None
        self.job, self.number, self.start, self.name = job, number, cut.start, name
        self.params, self.stats = params, stats
        self.pictures: Split = getattr(job.data, name)
        self.views = cut.views if name == "train" else 0
        n, each = len(self.pictures), self.pictures.images.shape[1:]
        settings, data = job.config.evaluation, job.data
        self.rows = rows(settings.batch_size, job.mesh.size, len(data.train), len(data.val))
        self.where = sharding.batched(job.mesh)
        self.key = jax.jit(self._key, out_shardings=sharding.replicated(job.mesh))
        programs, wanted = {} if programs is None else programs, (self.start, self.views > 0, each)
        if wanted not in programs:
            programs[wanted] = self._program()
        self.program = programs[wanted]
        out = self.program.lowered.out_info
        self.shape, self.dtype = (max(self.views, 1) * n, *out.shape[1:]), np.dtype(out.dtype)

    def _program(self) -> Program:
        stored = self.pictures.images
        images = jax.ShapeDtypeStruct((self.rows, *stored.shape[1:]), stored.dtype, sharding=self.where)
        drawn = (self.key(np.int32(0)), np.int32(0)) if self.views else ()
        arguments = (self.params, self.stats, images, *drawn)
        static = (prefix.function, inference_graph(self.job.model), repr(self.job.recipe), self.start)
        function = jax.jit(prefix.function(self.job, self.start))
        return compilation.once(
            (static, prefix.dtype(self.job.config), compilation.shapes(*arguments)),
            lambda: Program(function.lower(*arguments)),
        )

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def stage(self) -> str:
        """How lines of the log begin."""
        return f"stage {self.job.config.stages[self.number].name!r}"

    @property
    def inputs(self) -> str:
        """What the prefix is run on, in words."""
        views = f"{counted(self.views, 'view')} of each of " if self.views else ""
        return f"{views}{counted(len(self.pictures), self.job.data.noun)} of {self.name}"

    def split(self, values: np.ndarray) -> Split:
        """The split with ``values`` in the place of its pictures, in their file where there is one; each view
        is an example of its own."""
        tiled = {
            name: np.tile(getattr(self.pictures, name), max(self.views, 1))
            for name in ("ids", "labels", "groups")
        }
        columns = {key: np.tile(column, max(self.views, 1)) for key, column in self.pictures.columns.items()}
        images = Rows(values, np.arange(len(values))) if isinstance(values, np.memmap) else values
        padded = self.start <= len(self.job.model.blocks)
        return replace(self.pictures, **tiled, columns=columns, images=images, padded=padded)

    def digest(self) -> str:
        """Of everything that decides what will be made, to its bits: the program itself as XLA gets it (the
        network's code, the cut, preprocessing, augmentation, precision, shapes, devices), the weights below
        the cut, the pictures in their order, the random key of the views, versions and processors."""
        job, data = self.job, self.job.data
        drawn = (job.config.seed, self.number, self.views) if self.views else ()
        kinds = sorted({device.device_kind for device in job.mesh.devices.flat})
        flags, threads = os.environ.get("XLA_FLAGS", ""), compilation.threads()
        facts = (
            *(store.VERSION, jax.__version__, jaxlib.version.__version__, flags, kinds, threads),
            *(self.name, data.fingerprint, self.shape, str(self.dtype), drawn),
        )
        digest = hashlib.blake2b(json.dumps(facts).encode(), digest_size=16)
        digest.update(self.program.digest)
        for name in self.pictures.ids.tolist():
            digest.update(f"\0{name}".encode())
        for path, leaf in sorted({**self.params, **self.stats}.items()):
            # What lies above the cut must not decide what is found.
            if job.model.depth(path) <= self.start and part_of(path) != "head":
                value = np.ascontiguousarray(jax.device_get(leaf))
                digest.update(f"\0{path} {value.dtype} {value.shape}".encode())
                digest.update(value.reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    def fill(self, values: np.ndarray, say: Callable[[str], None]) -> None:
        """Computes it all. ``say`` gets a line every few seconds."""
        compiled = self.program.compiled
        began = last = time.monotonic()
        running: tuple[int, int, jax.Array] | None = None
        for at, real, made in self._batches(compiled):
            # One batch ahead, so that reading and copying overlap the computation.
            if running is not None:
                _put(values, *running)
            running, now = (at, real, made), time.monotonic()
            if at and now - last >= SECONDS:
                last, left = now, (len(values) - at) * (now - began) / at
                done = f"{at:,} of {len(values):,}"
                say(f"{self.stage}: the frozen prefix ran on {done}, {left_over(left)}")
        assert running is not None, "no split is empty"
        _put(values, *running)

    def _batches(self, compiled: Any) -> Iterator[tuple[int, int, jax.Array]]:
        """Where each batch begins, how many of its rows count, and what is made of it, as it is begun."""
        n, own = len(self.pictures), sharding.own_rows(self.rows, self.where)
        for view in range(max(self.views, 1)):
            key = self.key(np.int32(view))
            for at, (images, real) in zip(
                range(0, n, self.rows), eval_batches(self.pictures, self.rows, own), strict=True
            ):
                drawn = (key, np.int32(at)) if self.views else ()
                batch = sharding.put_rows(images, self.where)
                yield view * n + at, real, compiled(self.params, self.stats, batch, *drawn)

    def _key(self, view: Any) -> jax.Array:
        """The random key of a view of the training pictures."""
        key = jax.random.key(self.job.config.seed)
        for fold in (VIEWS, self.number, view):
            key = jax.random.fold_in(key, fold)
        return key


def rows(most: int, multiple: int, *counts: int) -> int:
    """How many rows batches of several splits have, so that the fewest are padding: between half of ``most``
    and ``most``, rounded up to a multiple of the mesh; the largest that is as good."""
    most = min(most, max(counts))
    choices = {round_up(size, multiple) for size in range((most + 1) // 2, most + 1)}
    return min(choices, key=lambda size: (sum(round_up(n, size) for n in counts), -size))


def _put(values: np.ndarray, at: int, real: int, made: jax.Array) -> None:
    values[at : at + real] = sharding.fetch(made)[:real]
    release(values)
