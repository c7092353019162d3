"""What the compiled functions of a stage are made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import ClosedJaxpr, Jaxpr

from tests import tiny
from tl_jax import optim, programs, schedule, step
from tl_jax.config import complete
from tl_jax.job import Job, prepare

REPEATED = ("scan", "while", "cond")


def convolutions(jaxpr: Jaxpr, inside: str = "") -> Iterator[str]:
    """For each convolution the loop or branch that it sits in, "" for none. A choice by platform is no
    branch: compiling leaves one of them."""
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name == "conv_general_dilated":
            yield inside
        by_platform = equation.params.get("branches_platforms") is not None
        within = name if name in REPEATED and not by_platform else inside
        for parameter in jax.tree.leaves(equation.params, is_leaf=lambda leaf: isinstance(leaf, ClosedJaxpr)):
            if isinstance(parameter, ClosedJaxpr):
                yield from convolutions(parameter.jaxpr, within)
            elif isinstance(parameter, Jaxpr):
                yield from convolutions(parameter, within)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tiny.make_folder(tmp_path_factory.mktemp("pictures"))
    settings = tiny.config(folder, accumulate=2, ema=0.9)
    settings["augment"] = dict(rotate=5.0, brightness=0.1, erase=0.5, mixup=0.2, cutmix=0.2)
    return prepare(complete(settings), say=lambda line: None)


def arguments(job: Job, number: int) -> tuple[Any, ...]:
    """State, fixed leaves, store, index, key, step number and hyper-parameters of a stage's step."""
    plan = job.plans[number]
    trained, frozen = plan.partition(job.base_params)
    moving, still = plan.partition_statistics(job.base_stats)
    opt = optim.build(job.config.stages[number], plan).init(trained)
    images, labels = job.data.train.images[:8], job.data.train.labels[:8]
    return (
        step.State(trained, moving, opt, {**trained, **moving}),
        step.Fixed(frozen, still, {}, jnp.ones(job.recipe.classes)),
        {"image": jnp.asarray(images), "label": jnp.asarray(labels, jnp.int32)},
        jnp.arange(8),
        jax.random.key(0),
        np.int32(0),
        schedule.hyper(job.config, job.config.stages[number], plan, 0, 10, 0),
    )


@pytest.mark.parametrize("number", [0, 1])
def test_no_convolution_sits_in_a_loop_or_a_branch(job: Job, number: int) -> None:
    """XLA:CPU runs the gradients of convolutions there tens of times slower."""
    program, (state, fixed, store, index, key, at, hyper) = (
        programs.build(job, number),
        arguments(job, number),
    )
    whole = program.gradients.trace(state, fixed, store, index, key, at, hyper.l2_sp)
    total = jax.tree.map(jnp.zeros_like, state.params)
    micro = program.micro.trace(state, total, fixed, store, index[:4], key, at, np.int32(0), hyper.l2_sp)
    for traced in (whole, micro):
        found = list(convolutions(traced.jaxpr.jaxpr))
        assert found, "the walk did not reach the network"
        assert set(found) == {""}


def test_the_walk_sees_into_loops_and_branches() -> None:
    def conv(x: jax.Array) -> jax.Array:
        return jax.lax.conv(x, jnp.ones((1, 1, 3, 3)), (1, 1), "SAME")

    def program(x: jax.Array) -> jax.Array:
        x, _ = jax.lax.scan(lambda x, _: (jax.jit(conv)(x), None), x, length=2)
        x = jax.lax.cond(x.sum() > 0, conv, lambda x: x, x)
        x = jax.lax.platform_dependent(x, cpu=conv, default=conv)
        return jax.lax.while_loop(lambda x: x.sum() > 0, conv, conv(x))

    traced = jax.jit(program).trace(jnp.ones((1, 1, 4, 4)))
    assert list(convolutions(traced.jaxpr.jaxpr)) == ["scan", "cond", "", "", "", "while"]
