"""Many heads at once: the step of one (`tl_jax.step`) and its prediction, mapped over all of them.

Leaves of the head have a leading axis, a row a head; the network below, the features and their labels are
shared. Structure is shared too: which leaves are trained, the optimiser, dropout, the schedule's length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from tl_jax import compilation, forward, optim, schedule, sharding, step
from tl_jax.backbones.anatomy import Leaves, inference_graph, split
from tl_jax.data import Split, order
from tl_jax.freeze import FreezePlan
from tl_jax.job import Job
from tl_jax.lab.members import Member
from tl_jax.predictor import over, round_up

AHEAD = 64
"""Steps whose batches are drawn at once."""


def stepper(job: Job, number: int, start: int) -> Any:
    """The jitted step of all heads in stage ``number``, on what ``start`` blocks made of the pictures.

    It takes ``fixed`` and ``store`` (`tl_jax.step`), which all share, then with a row a head: the state, the
    head's frozen leaves, what `Arguments` gives, and its random key. Returns the state and metrics, a row a
    head.
    """
    plan = job.plans[number]
    plan.set_modes(job.model)
    graph, _, _ = split(job.model)
    tx, recipe = optim.build(job.config.stages[number], plan), replace(job.recipe, start=start)
    one = partial(_step, graph, recipe, plan, tx, job.config.accumulate)
    mapped = jax.vmap(one, in_axes=(None, None, 0, 0, 0, 0, 0, 0, 0))
    return jax.jit(mapped, donate_argnums=2, out_shardings=sharding.replicated(job.mesh))


def _step(
    graph: nnx.GraphDef,
    recipe: forward.Recipe,
    plan: FreezePlan,
    tx: optax.GradientTransformationExtraArgs,
    parts: int,
    fixed: step.Fixed,
    store: Mapping[str, jax.Array],
    state: step.State,
    own: Leaves,
    hyper: step.Hyper,
    rows: jax.Array,
    at: jax.Array,
    active: jax.Array,
    key: jax.Array,
) -> tuple[step.State, step.Metrics]:
    """What `tl_jax.stepper.Stepper` does, for one head, as one program; nothing where it is not active."""
    fixed, moved = replace(fixed, params={**fixed.params, **own}), state
    if parts == 1:
        grads, stats, loss = step.gradient_step(
            graph, recipe, state, fixed, store, rows, key, at, hyper.l2_sp
        )
        moved = replace(state, stats=stats)
    else:
        grads, loss = jax.tree.map(jnp.zeros_like, state.params), jnp.float32(0)
        for part, piece in enumerate(jnp.split(rows, parts)):
            moved, grads, share = step.micro_step(
                graph,
                recipe,
                1 / parts,
                moved,
                grads,
                fixed,
                store,
                piece,
                key,
                at,
                jnp.int32(part),
                hyper.l2_sp,
            )
            loss = loss + share
    moved, metrics = step.apply(plan, tx, moved, grads, hyper)
    state = jax.tree.map(lambda new, old: jnp.where(active, new, old), moved, state)
    return state, {"loss": loss, **metrics}


class Arguments:
    """What differs from step to step of stage ``number``, a row a member: its `step.Hyper`, the rows (B,) of
    its batch, its step, and whether it takes that. ``views``: of each training picture."""

    def __init__(self, every: Sequence[Member], number: int, *, views: int) -> None:
        self.members, self.number, self.views = every, number, views
        job = every[0].job
        self.length = job.durations[number]
        self.warmups = [
            job.steps(member.job.config.stages[number].warmup, total=self.length) for member in every
        ]
        self.where = NamedSharding(job.mesh, PartitionSpec(None, job.mesh.axis_names))
        self._drawn: dict[int, tuple[int, np.ndarray]] = {}

    def __call__(self, going: Sequence[bool]) -> tuple[step.Hyper, jax.Array, np.ndarray, np.ndarray]:
        """``going``: of each member, whether it takes the step."""
        hyper = [self._hyper(*pair) for pair in zip(self.members, self.warmups, strict=True)]
        steps = [member.progress.step for member in self.members]
        rows = [self._rows(member.run.seed, at) for member, at in zip(self.members, steps, strict=True)]
        return (
            jax.tree.map(lambda *numbers: np.stack(numbers), *hyper),
            jax.device_put(np.stack(rows), self.where),
            np.array(steps, np.int32),
            np.array(going),
        )

    def _hyper(self, member: Member, warmup: int) -> step.Hyper:
        config, plan = member.job.config, member.job.plans[self.number]
        within = member.progress.step - member.progress.stage_start
        return schedule.hyper(config, config.stages[self.number], plan, within, self.length, warmup)

    def _rows(self, seed: int, at: int) -> np.ndarray:
        """Batch ``at`` of a seed; those of many steps are drawn at once."""
        job = self.members[0].job
        chunk, place = divmod(at, AHEAD)
        if seed not in self._drawn or self._drawn[seed][0] != chunk:
            batch, n = job.config.batch_size, len(job.data.train)
            steps, sizes = range(chunk * AHEAD, (chunk + 1) * AHEAD), job.data.train.sizes
            rows = [order.indices(seed, one, batch, n, self.views, sizes) for one in steps]
            self._drawn[seed] = chunk, np.stack(rows)
        return self._drawn[seed][1][place]


class HeadsPredictor:
    """Logits of all heads by features that ``start`` blocks made, compiled once for each shape of a batch.
    ``params`` and ``stats`` are those of the network below."""

    def __init__(self, job: Job, start: int, params: Leaves, stats: Leaves) -> None:
        recipe, graph = replace(job.recipe, start=start), inference_graph(job.model)
        self.job, self.below = job, (params, stats)
        self._compiled: dict[tuple[int, ...], jax.stages.Compiled] = {}

        def predict(params: Leaves, stats: Leaves, heads: Leaves, features: jax.Array) -> jax.Array:
            def one(head: Leaves) -> jax.Array:
                return forward.predict(graph, recipe, {**params, **head}, stats, features)

            return jax.vmap(one, out_axes=1)(heads)

        self._predict = jax.jit(predict)

    def logits(self, heads: Leaves, features: Split) -> np.ndarray:
        """Logits (n, heads, K) float32 of a split, in its order."""
        mesh = self.job.mesh
        size = round_up(min(self.job.config.evaluation.batch_size, len(features)), mesh.size)
        shape = (size, *features.images.shape[1:])
        if shape not in self._compiled:
            batch = jax.ShapeDtypeStruct(shape, features.images[:0].dtype, sharding=sharding.batched(mesh))
            lowered = self._predict.lower(*self.below, heads, batch)
            self._compiled[shape] = compilation.compiled(lowered)
        return over(partial(self._compiled[shape], *self.below, heads), features, size, mesh)
