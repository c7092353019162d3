"""What the network makes of a batch: input → logits, or → loss, as pure functions of all its leaves.

A `Recipe` says how stored examples become its input and labels its targets. Nothing here knows which leaves
train: `tl_jax.step` differentiates `loss` by those that do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from tl_jax import optim
from tl_jax.backbones.anatomy import Leaves, merge, onward, statistics, upto
from tl_jax.inputs import Pictures, Texts
from tl_jax.tasks import Task


@dataclass(frozen=True)
class Recipe:
    """Static facts of how stored examples become the network's input, and labels targets.

    ``precision`` "float32" or "bfloat16". ``start`` is None where batches hold examples as they are stored;
    else they hold what the first ``start`` blocks made of them (see `tl_jax.prefix`), which then is the
    ``image`` of a batch.
    """

    task: Task
    classes: int
    input: Pictures | Texts
    label_smoothing: float = 0.0
    precision: str = "float32"
    start: int | None = None

    @property
    def inference(self) -> tuple[Any, ...]:
        """What a forward pass depends on, as a key."""
        return (self.task, self.classes, *self.input.inference, self.precision, self.start)


def predict(
    graph: nnx.GraphDef,
    recipe: Recipe,
    params: Leaves,
    stats: Leaves,
    images: jax.Array,
    labels: jax.Array | None = None,
) -> jax.Array:
    """Logits (B, K), float32, of stored examples, or of what `prefix` made of them; ``graph`` in inference
    mode. ``labels`` (B, …) where the task of a language model asks for them."""
    model = merge(graph, _cast(params, recipe), stats)
    x = images if recipe.start is not None else _cast_array(recipe.input.network(images), recipe)
    outputs = _outputs(model, x, recipe)
    found = recipe.task.logits(outputs) if labels is None else recipe.task.scored(outputs, labels)
    return found.astype(jnp.float32)


def prefix(
    graph: nnx.GraphDef,
    recipe: Recipe,
    params: Leaves,
    stats: Leaves,
    images: jax.Array,
    keys: jax.Array | None = None,
) -> jax.Array:
    """What the first ``recipe.start`` blocks make of stored examples: (B, …) in the precision of the
    computation; ``graph`` in inference mode. With ``keys`` (B,) they are training pictures on their canvas
    (B, h, w, c), and each is augmented as its key says."""
    assert recipe.start is not None
    model = merge(graph, _cast(params, recipe), stats)
    x = recipe.input.network(images) if keys is None else recipe.input.view(images, keys)
    found = upto(model, _cast_array(x, recipe), recipe.start)
    return model.pack(found) if isinstance(found, Mapping) else found


def shown(
    recipe: Recipe, batch: Mapping[str, jax.Array], key: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What the network is shown of a batch, its targets, and the key of its dropout."""
    picture_key, mix_key, model_key = jax.random.split(key, 3)
    target = recipe.task.targets(batch["label"], recipe.classes, recipe.label_smoothing)
    if recipe.start is not None:
        return batch["image"], target, model_key
    images, target = recipe.input.shown(batch["image"], target, picture_key, mix_key)
    return _cast_array(images, recipe), target, model_key


def loss(
    graph: nnx.GraphDef,
    recipe: Recipe,
    params: Leaves,
    stats: Leaves,
    x: jax.Array,
    target: jax.Array,
    weights: jax.Array,
    key: jax.Array,
) -> tuple[jax.Array, Leaves]:
    """The task's loss, a scalar, of all leaves of a network on what `shown` gives, and the statistics that it
    leaves behind."""
    model = merge(graph, _cast(params, recipe), stats)
    outputs = _outputs(model, x, recipe, key)
    return recipe.task.loss(outputs, target, weights), statistics(model)


def pull(params: Leaves, anchors: Leaves, l2_sp: Any) -> Any:
    """What L2-SP adds to a loss; nothing where there are no anchors."""
    if not anchors:
        return 0.0
    return 0.5 * l2_sp * optim.squares({path: params[path] - anchor for path, anchor in anchors.items()})


def _outputs(model: Any, x: jax.Array, recipe: Recipe, key: jax.Array | None = None) -> jax.Array:
    if recipe.start is None:
        return model(x, key=key)
    x = _cast_array(x, recipe)  # it may have been kept in another precision
    return onward(model, x if recipe.start > len(model.blocks) else model.unpack(x), recipe.start, key=key)


def _cast(leaves: Leaves, recipe: Recipe) -> Leaves:
    """Weights in the precision of the computation; statistics stay float32."""
    return {path: _cast_array(leaf, recipe) for path, leaf in leaves.items()}


def _cast_array(leaf: jax.Array, recipe: Recipe) -> jax.Array:
    return leaf.astype(recipe.precision) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
