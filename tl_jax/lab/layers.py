"""What every layer of a network makes of pictures, in one forward pass."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax import sharding
from tl_jax.backbones.anatomy import Backbone, Leaves, inference_graph, merge, run
from tl_jax.backbones.anatomy import split as take_apart
from tl_jax.data import Split
from tl_jax.forward import Recipe
from tl_jax.job import Job
from tl_jax.predictor import each_shape, over, round_up


def names(model: Backbone) -> list[str]:
    """ "stem", "blocks/0", …, "neck"."""
    return ["stem", *(f"blocks/{i}" for i in range(len(model.blocks))), "neck"]


def of_pictures(
    job: Job, splits: Sequence[Split], model: Backbone | None = None
) -> list[dict[str, np.ndarray]]:
    """For each split, layer → features (n, c) float32: means over the map, of the neck what the head gets.
    ``model``: in the place of the job's own."""
    model = model or job.model
    everywhere = sharding.replicated(job.mesh)
    params, stats = (jax.device_put(leaves, everywhere) for leaves in take_apart(model)[1:])
    graph, widths = inference_graph(model), list[int]()

    def apply(params: Leaves, stats: Leaves, images: jax.Array) -> jax.Array:
        found = features(merge(graph, params, stats), job.recipe, images)
        widths[:] = [one.shape[1] for one in found]
        return jnp.concatenate([one.astype(jnp.float32) for one in found], axis=1)

    function = each_shape(apply, params, stats)
    made = []
    for split in splits:
        size = round_up(min(job.config.evaluation.batch_size, len(split)), job.mesh.size)
        wide = over(function, split, size, job.mesh)
        parts = np.split(wide, np.cumsum(widths)[:-1], axis=1)
        made.append(dict(zip(names(model), parts, strict=True)))
    return made


def features(network: Backbone, recipe: Recipe, images: jax.Array) -> list[jax.Array]:
    """One (B, c) a layer, in the order of `names`, of stored examples."""
    carry = network.stem(recipe.input.network(images))
    n = len(network.blocks)
    last, taps = run(network, carry, taps=range(n))
    means = [network.mean(one) for one in (carry, *(taps[i] for i in range(n)))]
    return [*means, network.neck(last)]
