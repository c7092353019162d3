"""The step of several tasks: one gradient of the sum of their losses, then the update of any other step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from tl_jax import forward, programs, sharding, step
from tl_jax.backbones.anatomy import Leaves, split
from tl_jax.forward import Recipe
from tl_jax.multitask.config import LOSS
from tl_jax.multitask.job import Jobs
from tl_jax.multitask.union import Union
from tl_jax.programs import Program
from tl_jax.step import Fixed, State

Tasks = dict[str, tuple[nnx.GraphDef, Recipe, float]]
"""Each task's network, recipe, and what its loss counts."""


def build(jobs: Jobs, number: int, behind: Mapping[str, int | None]) -> Program:
    """As `programs.build`; ``behind``: of each task's recipe."""
    parts: Tasks = {}
    for name, one in jobs.each.items():
        one.plans[number].set_modes(one.model)
        recipe = replace(one.recipe, start=behind[name])
        parts[name] = split(one.model)[0], recipe, jobs.weights[name]
    share = 1 / jobs.config.accumulate
    second, shapes = programs.update(jobs.outline, number)
    state = sharding.layouts(shapes, jobs.mesh)
    everywhere = sharding.replicated(jobs.mesh)
    settings = repr(jobs.config.stages[number].to_dict())
    static = tuple((name, graph, repr(recipe), weight) for name, (graph, recipe, weight) in parts.items())
    return Program(
        shapes,
        (static, jobs.union, repr(jobs.plans[number]), settings, share, jobs.mesh),
        jax.jit(
            partial(_gradient_step, jobs.union, parts), out_shardings=(state.params, state.stats, everywhere)
        ),
        jax.jit(
            partial(_micro_step, jobs.union, parts, share),
            donate_argnums=(0, 1),
            out_shardings=(state, state.params, everywhere),
        ),
        second,
    )


def gradients(
    union: Union,
    parts: Tasks,
    state: State,
    fixed: Fixed,
    batches: Mapping[str, Mapping[str, jax.Array]],
    key: jax.Array,
    l2_sp: Any = 0.0,
) -> tuple[Leaves, Leaves, dict[str, jax.Array]]:
    """Gradients of the trained leaves of all tasks, moved statistics, and losses: `LOSS`, of all of them,
    ``loss/NAME``, and where weights are learned ``weight/NAME``.

    The loss is Σ w_t L_t; with learned weights, Σ w_t (exp(-s_t) L_t + s_t / 2) with a log-variance s_t for
    each task (Kendall et al. 2018, eq. 7 and 10).
    """
    shown = {
        name: forward.shown(recipe, batches[name], jax.random.fold_in(key, number))
        for number, (name, (_, recipe, _)) in enumerate(parts.items())
    }

    def objective(params: Leaves) -> tuple[jax.Array, tuple[Leaves, dict[str, jax.Array]]]:
        every, stats = {**fixed.params, **params}, {**fixed.stats, **state.stats}
        moved: dict[str, Leaves] = {}
        told: dict[str, jax.Array] = {}
        total = jnp.zeros(())
        for name, (graph, recipe, weight) in parts.items():
            x, target, own_key = shown[name]
            value, moved[name] = forward.loss(
                graph,
                recipe,
                union.view(name, every),
                union.view(name, stats),
                x,
                target,
                fixed.class_weights[name],
                own_key,
            )
            told[f"{LOSS}/{name}"] = value
            if union.learned:
                log_variance = every[union.balance(name)]
                told[f"weight/{name}"] = jnp.exp(-log_variance)
                value = jnp.exp(-log_variance) * value + 0.5 * log_variance
            total = total + weight * value
        total = total + forward.pull(params, fixed.anchors, l2_sp)
        after = union.stats(moved)
        return total, ({path: after[path] for path in state.stats}, {LOSS: total, **told})

    (_, (stats, told)), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
    return grads, stats, told


def _gradient_step(
    union: Union,
    parts: Tasks,
    state: State,
    fixed: Fixed,
    stores: Mapping[str, Any],
    index: Mapping[str, Any],
    key: jax.Array,
    at: jax.Array,
    l2_sp: jax.Array,
) -> tuple[Leaves, Leaves, dict[str, jax.Array]]:
    batches = {name: step.take(stores[name], index[name]) for name in parts}
    return gradients(union, parts, state, fixed, batches, jax.random.fold_in(key, at), l2_sp)


def _micro_step(
    union: Union,
    parts: Tasks,
    share: float,
    state: State,
    total: Leaves,
    fixed: Fixed,
    stores: Mapping[str, Any],
    index: Mapping[str, Any],
    key: jax.Array,
    at: jax.Array,
    part: jax.Array,
    l2_sp: jax.Array,
) -> tuple[State, Leaves, dict[str, jax.Array]]:
    batches = {name: step.take(stores[name], index[name]) for name in parts}
    key = jax.random.fold_in(jax.random.fold_in(key, at), part)
    grads, stats, told = gradients(union, parts, state, fixed, batches, key, l2_sp)
    total = {path: total[path] + share * grad for path, grad in grads.items()}
    return replace(state, stats=stats), total, jax.tree.map(lambda value: share * value, told)
