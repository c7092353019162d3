"""Logits of many pictures, each counted once: the forward pass that every evaluation uses."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from tl_jax import compilation, forward, sharding
from tl_jax.backbones.anatomy import Backbone, Leaves, inference_graph
from tl_jax.data.feed import Split, eval_batches


class Predictor:
    """A model in inference mode, compiled once for each shape of a batch."""

    def __init__(self, model: Backbone, recipe: forward.Recipe, mesh: Mesh) -> None:
        self.mesh, self.sequence = mesh, recipe.task.sequence
        self.width = recipe.task.width(recipe.classes)
        graph = inference_graph(model)
        self._static = (forward.predict, graph, recipe.inference)
        self._predict = jax.jit(partial(forward.predict, graph, recipe))
        self._compiled: dict[tuple[tuple[int, ...], ...], jax.stages.Compiled] = {}

    def logits(
        self,
        params: Leaves,
        stats: Leaves,
        pictures: Split,
        batch_size: int,
        *,
        check: Callable[[], None] = lambda: None,
    ) -> np.ndarray:
        """Logits (n, K) float32 of a split, in its order. ``check`` is called between batches and may
        raise to leave early."""
        if not len(pictures):
            return np.zeros((0, self.width), np.float32)
        size = round_up(min(batch_size, len(pictures)), self.mesh.size)

        where = sharding.batched(self.mesh)

        def function(*rows: jax.Array) -> jax.Array:
            shapes = tuple(one.shape for one in rows)
            if shapes not in self._compiled:
                like = [jax.ShapeDtypeStruct(one.shape, one.dtype, sharding=where) for one in rows]
                self._compiled[shapes] = compilation.program(
                    self._predict, self._static, params, stats, *like
                )
            return self._compiled[shapes](params, stats, *rows)

        beside = [pictures.labels] if self.sequence else []
        return over(function, pictures, size, self.mesh, check=check, beside=beside)


def over(
    function: Callable[..., jax.Array],
    pictures: Split,
    size: int,
    mesh: Mesh,
    *,
    check: Callable[[], None] = lambda: None,
    beside: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """What a jitted function of stored examples (size, …) makes of all of them, (n, …), in host memory; n is
    not 0. ``size`` is a multiple of the mesh; ``check`` is as in `Predictor.logits`. Texts come sorted by
    their length, so that it is called with few shapes. The function also gets the same rows of each array
    (n, …) of ``beside``."""
    where = sharding.batched(mesh)
    kept: np.ndarray | None = None
    done = 0
    order = None if pictures.lengths is None else np.argsort(pictures.lengths, kind="stable")
    for *batch, real in eval_batches(pictures, size, sharding.own_rows(size, where), order, beside):
        check()
        found = sharding.fetch(function(*(sharding.put_rows(rows, where) for rows in batch)))[:real]
        if kept is None:
            kept = np.empty((len(pictures), *found.shape[1:]), found.dtype)
        kept[slice(done, done + real) if order is None else order[done : done + real]] = found
        done += real
    assert kept is not None, "somebody has asked for nothing"
    return kept


def each_shape(
    function: Callable[..., Any], *leaves: Leaves, static: Hashable = None
) -> Callable[[Any], Any]:
    """``function(*leaves, images)`` as one of the images alone, compiled once for each shape of them; with
    ``static`` as `compilation.program` has it, also where several functions are the same."""
    jitted = jax.jit(function)
    compiled: dict[tuple[int, ...], jax.stages.Compiled] = {}

    def call(images: Any) -> Any:
        if images.shape not in compiled:
            arguments = (*leaves, images)
            compiled[images.shape] = (
                compilation.compiled(jitted.lower(*arguments))
                if static is None
                else compilation.program(jitted, static, *arguments)
            )
        return compiled[images.shape](*leaves, images)

    return call


def round_up(number: int, multiple: int) -> int:
    """The smallest multiple that is not below the number."""
    return -(-number // multiple) * multiple
