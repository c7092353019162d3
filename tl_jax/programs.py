"""The compiled functions of a stage, and what they cost."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax import compilation, forward, optim, prefix, sharding, step
from tl_jax.backbones import onednn
from tl_jax.backbones.anatomy import inference_graph, split
from tl_jax.job import Job, Outline


@dataclass(frozen=True)
class Program:
    """The two halves of a step (`tl_jax.step`): ``gradients`` of a batch, or ``micro`` for each piece of it
    (`accumulate`), then the ``update``. The latter two overwrite their state in place; none does the frozen
    leaves. ``state``: the shapes and layouts of what they pass on; ``static``: all that they depend on
    besides their arguments."""

    state: step.State
    static: tuple[Hashable, ...]
    gradients: Any
    micro: Any
    update: Any


def build(job: Job, number: int, start: int | None = None) -> Program:
    """The functions of one stage; nothing is compiled until they are called. ``start``: of the recipe."""
    recipe = replace(job.recipe, start=start)
    plan = job.plans[number]
    plan.set_modes(job.model)
    graph, _, _ = split(job.model)
    share = 1 / job.config.accumulate
    second, shapes = update(job.outline, number)
    # Stated, so that a step's state has the layout the next step was compiled for.
    state = sharding.layouts(shapes, job.mesh)
    everywhere = sharding.replicated(job.mesh)
    settings = repr(job.config.stages[number].to_dict())
    return Program(
        shapes,
        (graph, repr(recipe), repr(plan), settings, share, job.mesh),
        jax.jit(
            partial(step.gradient_step, graph, recipe), out_shardings=(state.params, state.stats, everywhere)
        ),
        jax.jit(
            partial(step.micro_step, graph, recipe, share),
            donate_argnums=(0, 1),
            out_shardings=(state, state.params, everywhere),
        ),
        second,
    )


def update(outline: Outline, number: int) -> tuple[Any, step.State]:
    """The second half of a step of one stage, as in `build`, and the shapes and layouts of its state."""
    plan = outline.plans[number]
    tx = optim.build(outline.config.stages[number], plan)
    trained, _ = plan.partition(outline.params)
    moving, _ = plan.partition_statistics(outline.stats)
    ema = {**trained, **moving} if outline.config.ema else {}
    shapes = step.State(trained, moving, jax.eval_shape(tx.init, trained), ema)
    state = sharding.outline(shapes, outline.mesh)
    where = sharding.layouts(shapes, outline.mesh), sharding.replicated(outline.mesh)
    return jax.jit(partial(step.apply, plan, tx), donate_argnums=0, out_shardings=where), state


@dataclass(frozen=True)
class Cost:
    """Floating-point operations per picture, and bytes of optimiser state.

    ``forward`` and ``step`` are of what a step runs; ``once`` of a frozen prefix that runs before the first
    step and never again, 0 where there is none.
    """

    forward: float
    step: float
    once: float
    optimiser_bytes: int

    @property
    def backward(self) -> float:
        """What a step takes beyond the forward pass: gradients, augmentation and the update."""
        return self.step - self.forward


def cost(job: Job, number: int, start: int | None) -> Cost:
    """What one stage's step costs, by XLA's own count of the compiled programs. ``start``: of the recipe."""
    job = replace(job, mesh=sharding.make_mesh(1, 1, 1))  # what a device does not do is not counted
    plan, program = job.plans[number], build(job, number, start)
    _, frozen = plan.partition(job.base_params)
    _, still = plan.partition_statistics(job.base_stats)
    state = program.state
    anchors = state.params if job.config.loss.l2_sp else {}
    weights = jnp.ones(job.recipe.classes, np.float32)
    rows = job.config.batch_size // job.config.accumulate
    if start is None:
        stored = job.data.train.images
        images = jax.ShapeDtypeStruct((rows, *stored.shape[1:]), stored.dtype)
        measured, once = prefix.stored(job, rows), 0.0
    else:
        images = measured = prefix.outline(job, start, rows)
        below = jax.jit(prefix.function(job, start))
        once = _of(below, job.base_params, job.base_stats, prefix.stored(job, rows)) / rows
    truth = job.data.train.labels
    batch = {"image": images, "label": jax.ShapeDtypeStruct((rows, *truth.shape[1:]), truth.dtype)}
    groups = np.zeros(len(plan.groups), np.float32)
    zero = np.float32(0)
    hyper = step.Hyper(groups, groups, zero, zero, zero)
    fixed = step.Fixed(frozen, still, anchors, weights)
    key = jax.random.key(0)
    recipe = replace(job.recipe, start=start)
    predict = jax.jit(partial(forward.predict, inference_graph(job.model), recipe))
    beside = [batch["label"]] if job.recipe.task.sequence else []
    return Cost(
        _of(predict, job.base_params, job.base_stats, measured, *beside) / rows,
        (
            _of(program.gradients, state, fixed, batch, None, key, np.int32(0), zero)
            + _of(program.update, state, state.params, hyper)
        )
        / rows,
        once,
        optim.nbytes(optim.moments(state.opt)),
    )


def _of(function: Any, *arguments: Any) -> float:
    return flops(compilation.compiled(function.lower(*arguments)))


def flops(compiled: jax.stages.Compiled) -> float:
    """XLA's count for one call on one device, and that of `onednn`; NaN on backends that do not count."""
    found = compiled.cost_analysis()
    if not found:
        return float("nan")
    called = onednn.flops(compiled.as_text() or "") if onednn.available() else 0.0
    return float(found.get("flops", float("nan"))) + called
