"""Logits of many pictures, each counted once: the forward pass that every evaluation uses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh

from tl_jax import sharding, step
from tl_jax.backbones.anatomy import Backbone, Leaves, inference_graph
from tl_jax.data.feed import Split, eval_batches


class Predictor:
    """A model in inference mode, compiled once for one batch size."""

    def __init__(self, model: Backbone, recipe: step.Recipe, mesh: Mesh) -> None:
        self.mesh, self.classes = mesh, recipe.classes
        self._predict = jax.jit(partial(step.predict, inference_graph(model), recipe))

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
        size = min(batch_size, _round_up(len(pictures), self.mesh.size))
        found = []
        for images, real in eval_batches(pictures, _round_up(size, self.mesh.size)):
            check()
            images = jax.device_put(images, sharding.batched(self.mesh))
            found.append(np.asarray(self._predict(params, stats, images))[:real])
        return np.concatenate(found) if found else np.zeros((0, self.classes), np.float32)


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
