"""Pure functions of a training step: examples → loss → gradients → update.

Only the trained leaves are differentiated: `gradients` closes over the frozen ones, so their
backward pass is never built, whatever is clipped, logged or averaged afterwards. What may change from
step to step without another compilation (learning rates, decays, step number, seeds) is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from tl_jax import optim
from tl_jax.backbones.anatomy import Leaves, merge, onward, statistics, upto
from tl_jax.freeze import FreezePlan
from tl_jax.inputs import Pictures, Texts
from tl_jax.tasks import Task

Metrics = dict[str, Any]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """What a step changes, and may therefore overwrite in place.

    ``params``: the trained leaves; ``stats``: the BatchNorm statistics that move; ``opt``: the
    optimiser's state; ``ema``: moving averages of both (empty where off).
    """

    params: Leaves
    stats: Leaves
    opt: optax.OptState
    ema: Leaves


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Fixed:
    """What a step only reads.

    ``params`` and ``stats``: the frozen ones; ``anchors``: pretrained values of trained leaves, which
    L2-SP pulls towards (empty where off); ``class_weights`` (K,).
    """

    params: Leaves
    stats: Leaves
    anchors: Leaves
    class_weights: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Hyper:
    """The numbers of one step, all traced. ``lr`` and ``weight_decay`` (G,) in the plan's order."""

    lr: Any
    weight_decay: Any
    clip: Any
    l2_sp: Any
    ema: Any


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


def _outputs(model: Any, x: jax.Array, recipe: Recipe, key: jax.Array | None = None) -> jax.Array:
    if recipe.start is None:
        return model(x, key=key)
    x = _cast_array(x, recipe)  # it may have been kept in another precision
    return onward(model, x if recipe.start > len(model.blocks) else model.unpack(x), recipe.start, key=key)


def gradients(
    graph: nnx.GraphDef,
    recipe: Recipe,
    state: State,
    fixed: Fixed,
    batch: Mapping[str, jax.Array],
    key: jax.Array,
    l2_sp: Any = 0.0,
) -> tuple[Leaves, Leaves, jax.Array]:
    """Gradients of the trained leaves, moved statistics, and the loss of one batch, a scalar.

    ``batch``: ``image``, stored pictures (B, h, w, c) uint8 or texts (B, n) int32, and ``label`` (B,) int32;
    ``graph`` in the stage's modes; ``key`` decides augmentation, mixing and dropout. With ``fixed.anchors``,
    ``l2_sp``/2 times the squared distance to them is in the loss (Li et al. 2018, eq. 2, without the term for
    new layers).
    """
    x, target, model_key = shown(recipe, batch, key)

    def objective(params: Leaves) -> tuple[jax.Array, Leaves]:
        every, stats = {**fixed.params, **params}, {**fixed.stats, **state.stats}
        value, moved = loss(graph, recipe, every, stats, x, target, fixed.class_weights, model_key)
        return value + pull(params, fixed.anchors, l2_sp), {path: moved[path] for path in state.stats}

    (value, stats), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
    return grads, stats, value


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


def apply(
    plan: FreezePlan, tx: optax.GradientTransformationExtraArgs, state: State, grads: Leaves, hyper: Hyper
) -> tuple[State, Metrics]:
    """One update of the trained leaves, and what it did.

    ``hyper.clip`` bounds the global norm of ``grads`` (0: no bound). The metrics are scalars: ``grad_norm``
    before clipping and, under ``groups``, each group's ``lr``, ``grad_norm`` and ``update_ratio``, the length
    of the update over that of the weights.
    """
    length = optim.norm(grads)
    clipped = optim.clip(grads, hyper.clip, length)
    names = [group.name for group in plan.groups]
    lr, decay = dict(zip(names, hyper.lr, strict=True)), dict(zip(names, hyper.weight_decay, strict=True))
    updates: Any
    updates, opt = tx.update(clipped, state.opt, state.params, lr=lr, weight_decay=decay)
    params: Any = optax.apply_updates(state.params, updates)
    averaged = {**params, **state.stats}
    ema = {path: hyper.ema * old + (1 - hyper.ema) * averaged[path] for path, old in state.ema.items()}

    def by_group(leaves: Leaves, name: str) -> jax.Array:
        return optim.norm({path: leaf for path, leaf in leaves.items() if plan.labels[path] == name})

    groups = {
        group.name: {
            "lr": lr[group.name],
            "grad_norm": by_group(grads, group.name),
            "update_ratio": by_group(updates, group.name)
            / jnp.maximum(by_group(state.params, group.name), 1e-12),
        }
        for group in plan.groups
    }
    return State(params, state.stats, opt, ema), {"grad_norm": length, "groups": groups}


def gradient_step(
    graph: nnx.GraphDef,
    recipe: Recipe,
    state: State,
    fixed: Fixed,
    store: Mapping[str, jax.Array],
    index: jax.Array | None,
    key: jax.Array,
    step: jax.Array,
    l2_sp: jax.Array,
) -> tuple[Leaves, Leaves, jax.Array]:
    """`gradients` of one batch, the first half of a step; `apply` is the second.

    ``store`` and ``index`` are what `data.feed.Feed.batch` gives; ``key`` is the run's, and ``step`` is
    folded into it. They are two programs, because only this one runs the network: most of what there is to
    compile is the update of hundreds of leaves, which needs no data, calls no library and so can be kept.
    """
    key = jax.random.fold_in(key, step)
    return gradients(graph, recipe, state, fixed, take(store, index), key, l2_sp)


def micro_step(
    graph: nnx.GraphDef,
    recipe: Recipe,
    share: float,
    state: State,
    total: Leaves,
    fixed: Fixed,
    store: Mapping[str, jax.Array],
    index: jax.Array | None,
    key: jax.Array,
    step: jax.Array,
    part: jax.Array,
    l2_sp: jax.Array,
) -> tuple[State, Leaves, jax.Array]:
    """Adds ``share`` of the gradients of micro-batch ``part`` to ``total``; returns the state with moved
    statistics, the new total, and this part's share of the loss. Called several times a step rather than
    scanned: on a CPU, convolution gradients inside a loop run many times slower."""
    key = jax.random.fold_in(jax.random.fold_in(key, step), part)
    grads, stats, loss = gradients(graph, recipe, state, fixed, take(store, index), key, l2_sp)
    total = {path: total[path] + share * grad for path, grad in grads.items()}
    return replace(state, stats=stats), total, share * loss


def take(store: Mapping[str, jax.Array], index: jax.Array | None) -> dict[str, jax.Array]:
    """The batch: rows ``index`` of a resident store, or a streamed store as it is."""
    if index is None:
        return dict(store)
    return {name: jnp.take(rows, index, axis=0) for name, rows in store.items()}


def _cast(leaves: Leaves, recipe: Recipe) -> Leaves:
    """Weights in the precision of the computation; statistics stay float32."""
    return {path: _cast_array(leaf, recipe) for path, leaf in leaves.items()}


def _cast_array(leaf: jax.Array, recipe: Recipe) -> jax.Array:
    return leaf.astype(recipe.precision) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
