"""The first stage's update, compiled before the weights are there."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from tl_jax import optim, sharding, step
from tl_jax.config import complete
from tl_jax.early import Early
from tl_jax.job import Job, prepare


@pytest.fixture(scope="module", params=[{}, {"gray": "sum"}])
def begun(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Early, Job]:
    folder = tiny.make_folder(tmp_path_factory.mktemp("pictures"))
    settings, early = tiny.config(folder, ema=0.9), Early()
    settings["model"] = {**settings["model"], **request.param}
    return early, prepare(complete(settings), lambda line: None, ahead=early.begin)


def state_of(job: Job, number: int) -> step.State:
    """The state that a stage begins with, as training lays it out."""
    plan = job.plans[number]
    trained, _ = plan.partition(sharding.place(job.base_params, job.mesh))
    moving, _ = plan.partition_statistics(sharding.place(job.base_stats, job.mesh))
    opt = optim.build(job.config.stages[number], plan).init(trained)
    return jax.tree.map(jnp.copy, step.State(trained, moving, opt, {**trained, **moving}))


def test_the_outline_foretells_the_weights(begun: tuple[Early, Job]) -> None:
    early, job = begun
    state = state_of(job, 0)
    compiling = early.take(0, state)
    assert compiling is not None
    groups, zero = np.full(len(job.plans[0].groups), 0.1, np.float32), np.float32(0)
    gradients = jax.tree.map(jnp.ones_like, state.params)
    before = jax.tree.map(np.array, state.params)
    after, _ = compiling.result()(state, gradients, step.Hyper(groups, groups, zero, zero, zero))
    assert all(not np.array_equal(after.params[path], before[path]) for path in before)


def test_another_stage_or_state_is_not_served(begun: tuple[Early, Job]) -> None:
    early, job = begun
    state = state_of(job, 0)
    assert early.take(1, state) is None
    assert early.take(0, replace(state, ema={})) is None
    path = next(iter(state.params))
    other = {**state.params, path: state.params[path][None]}
    assert early.take(0, replace(state, params=other)) is None
    assert Early().take(0, state) is None
