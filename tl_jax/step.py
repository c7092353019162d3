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
from tl_jax.backbones.anatomy import Leaves
from tl_jax.forward import Recipe, loss, pull, shown
from tl_jax.freeze import FreezePlan

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

    ``batch``: ``image``, stored pictures (B, h, w, c) uint8 or texts (B, n) int32, and ``label`` (B, …);
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
