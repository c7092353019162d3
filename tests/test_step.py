"""The rules that the training step rests on, on a small network with BatchNorm and dropout."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.toy import toy
from tl_jax import defaults, forward, optim, sharding, step
from tl_jax.backbones.anatomy import merge, set_mode, split
from tl_jax.freeze import plan
from tl_jax.inputs import Pictures
from tl_jax.tasks import TASKS

N, SIZE = 16, 8


def recipe(*, augment=None, **changes):
    half = (0.5,) * 3
    pictures = Pictures(SIZE, 3, half, half, augment or defaults.augment())
    return forward.Recipe(**{**dict(task=TASKS["classification"], classes=2, input=pictures), **changes})


@pytest.fixture(scope="module")
def store():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (N, SIZE, SIZE, 3), np.uint8)
    return {"image": jnp.asarray(images), "label": jnp.asarray(rng.integers(0, 2, N), jnp.int32)}


class Run:
    """One stage on the toy: everything a step takes."""

    def __init__(self, *, ema=0.0, l2_sp=0.0, how=None, weights=(1.0, 1.0), **settings):
        self.settings = {**defaults.stage(), "name": "s", "lr": 1e-2, **settings}
        self.recipe, model = how or recipe(), toy()
        self.plan = plan(model, self.settings)
        self.plan.set_modes(model)
        self.graph, self.params, self.stats = split(model)
        trained, frozen = self.plan.partition(self.params)
        moving, still = self.plan.partition_statistics(self.stats)
        self.tx = optim.build(self.settings, self.plan)
        averaged = {**trained, **moving} if ema else {}
        self.state = step.State(trained, moving, self.tx.init(trained), averaged)
        anchors = dict(trained) if l2_sp else {}
        self.fixed = step.Fixed(frozen, still, anchors, jnp.asarray(weights))
        groups = self.plan.groups
        self.hyper = step.Hyper(
            np.float32([self.settings["lr"] * group.lr_scale for group in groups]),
            np.float32([group.weight_decay for group in groups]),
            np.float32(self.settings["clip"]),
            np.float32(l2_sp),
            np.float32(ema),
        )
        self.key = jax.random.key(0)
        self.function = jax.jit(self.whole)

    def whole(self, state, fixed, store, index, key, number, hyper):
        """Both halves of a step as one."""
        grads, stats, loss = step.gradient_step(
            self.graph, self.recipe, state, fixed, store, index, key, number, hyper.l2_sp
        )
        state, metrics = step.apply(self.plan, self.tx, replace(state, stats=stats), grads, hyper)
        return state, {"loss": loss, **metrics}

    def steps(self, store, n, rows=N):
        state, losses = self.state, []
        for number in range(n):
            index = jnp.arange(rows) if rows == N else jnp.arange(rows) + number
            state, metrics = self.function(
                state, self.fixed, store, index, self.key, np.int32(number), self.hyper
            )
            losses.append(float(metrics["loss"]))
        return state, losses, metrics

    def lowered(self, store):
        arguments = (self.state, self.fixed, store, jnp.arange(N), self.key, np.int32(0), self.hyper)
        return self.function.lower(*arguments)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("train", ["head", "last 2", "norms"])
def test_frozen_leaves_keep_their_bits(store, train, optimizer):
    """With weight decay, clipping and averaging on, over several steps."""
    run = Run(train=train, optimizer=optimizer, weight_decay=0.1, clip=0.5, ema=0.9, batch_norm="auto")
    state, _, _ = run.steps(store, 4)
    trained, frozen = run.plan.partition(run.params)
    _, still = run.plan.partition_statistics(run.stats)
    assert state.params.keys() == trained.keys()
    for path, leaf in frozen.items():
        assert jnp.array_equal(run.fixed.params[path], leaf)
        assert path not in state.ema
    for path, leaf in still.items():
        assert jnp.array_equal(run.fixed.stats[path], leaf)
    for path, leaf in trained.items():
        assert not jnp.array_equal(state.params[path], leaf), f"{path} should have moved"


def test_the_output_of_frozen_blocks_does_not_move(store):
    """Parameters, statistics and mode together: what the frozen prefix computes stays the same."""
    run = Run(train="last 1")
    state, _, _ = run.steps(store, 3)

    def prefix(params):
        model = merge(run.graph, params, run.fixed.stats, state.stats)
        carry = model.stem(jnp.ones((2, SIZE, SIZE, 3)))
        for block in model.blocks[:3]:
            carry = block(carry)
        return carry["x"]

    before, after = prefix(run.params), prefix({**run.fixed.params, **state.params})
    assert jnp.array_equal(before, after)


def test_flops_and_optimiser_shrink_as_blocks_freeze(store):
    """By XLA's own count of the compiled step, with clipping, norms and averaging on."""
    flops, bytes_ = [], []
    for train in ("all", "last 3", "last 1", "head"):
        run = Run(train=train, ema=0.9)
        flops.append(run.lowered(store).compile().cost_analysis()["flops"])
        bytes_.append(sum(leaf.nbytes for leaf in jax.tree.leaves(optim.moments(run.state.opt))))
    assert flops == sorted(flops, reverse=True)
    assert bytes_ == sorted(bytes_, reverse=True)
    assert flops[-1] < 0.5 * flops[0]
    assert bytes_[-1] < 0.1 * bytes_[0]


def test_a_head_step_costs_a_forward_pass(store):
    run = Run(train="head")
    model = toy()
    set_mode(model, dropout=False, batch_statistics=False)
    graph, params, stats = split(model)
    once = jax.jit(partial(forward.predict, graph, run.recipe)).lower(params, stats, store["image"])
    ratio = run.lowered(store).compile().cost_analysis()["flops"] / once.compile().cost_analysis()["flops"]
    assert ratio < 1.2


def test_hyper_parameters_do_not_recompile(store):
    run = Run(train="all", ema=0.5)
    for lr in np.linspace(1e-4, 1e-1, 10):
        run.hyper = step.Hyper(np.float32([lr] * len(run.plan.groups)), *list(vars(run.hyper).values())[1:])
        run.steps(store, 1)
    assert run.function._cache_size() == 1


def test_a_step_is_a_pure_function_of_seed_and_number(store):
    how = recipe(augment={**defaults.augment(), "flip": True, "brightness": 0.2, "mixup": 0.3})
    first, again = Run(train="all", how=how), Run(train="all", how=how)
    one, losses, _ = first.steps(store, 3)
    two, same, _ = again.steps(store, 3)
    assert losses == same
    assert all(jnp.array_equal(one.params[path], two.params[path]) for path in one.params)
    again.key = jax.random.key(1)
    assert again.steps(store, 3)[1] != losses


def test_the_loss_falls(store):
    _, losses, _ = Run(train="all", lr=3e-3).steps(store, 30)
    assert losses[-1] < 0.5 * losses[0]


def test_micro_batches_equal_the_whole(store):
    """Without BatchNorm in training mode and dropout, which see only their micro-batch."""
    run = Run(train="all", batch_norm="frozen", weights=(1.0, 3.0))
    model = toy()
    set_mode(model, dropout=False, batch_statistics=False)
    graph, _, _ = split(model)
    whole, _, loss = step.gradients(
        graph, run.recipe, run.state, run.fixed, step.take(store, jnp.arange(N)), run.key
    )
    total = jax.tree.map(jnp.zeros_like, run.state.params)
    summed = 0.0
    for part in range(4):
        _, total, share = step.micro_step(
            graph, run.recipe, 0.25, run.state, total, run.fixed, store,
            jnp.arange(4) + 4 * part, run.key, 0, part, 0.0,
        )  # fmt: skip
        summed = summed + share
    assert float(summed) == pytest.approx(float(loss), rel=1e-5)
    for path in whole:
        np.testing.assert_allclose(total[path], whole[path], rtol=1e-4, atol=1e-6)


def test_eight_devices_give_the_losses_of_one(store):
    how = recipe(augment={**defaults.augment(), "brightness": 0.1})
    losses = []
    for devices in (1, 8):
        run = Run(train="all", how=how, ema=0.9)
        mesh = sharding.make_mesh(devices, 1, N)
        everywhere, cut = sharding.replicated(mesh), sharding.batched(mesh)
        run.state, run.fixed = jax.device_put((run.state, run.fixed), everywhere)
        run.key = jax.device_put(run.key, everywhere)
        here = jax.device_put(store, everywhere)
        state, found = run.state, []
        for number in range(4):
            index = jax.device_put(np.arange(N, dtype=np.int32), cut)
            state, metrics = run.function(state, run.fixed, here, index, run.key, np.int32(number), run.hyper)
            found.append(float(metrics["loss"]))
        losses.append(found)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_the_work_is_shared_among_devices(store):
    flops = []
    for devices in (1, 8):
        run = Run(train="all")
        mesh = sharding.make_mesh(devices, 1, N)
        everywhere = sharding.replicated(mesh)
        index = jax.device_put(np.arange(N, dtype=np.int32), sharding.batched(mesh))
        state, fixed, here, key = jax.device_put((run.state, run.fixed, store, run.key), everywhere)
        lowered = run.function.lower(state, fixed, here, index, key, np.int32(0), run.hyper)
        flops.append(lowered.compile().cost_analysis()["flops"])
    assert flops[1] < 0.3 * flops[0]


def test_l2_sp_pulls_back_to_the_start(store):
    free, held = Run(train="all"), Run(train="all", l2_sp=10.0)
    away = {}
    for name, run in (("free", free), ("held", held)):
        state, _, _ = run.steps(store, 20)
        away[name] = float(optim.norm({p: state.params[p] - run.params[p] for p in state.params}))
    assert away["held"] < 0.5 * away["free"]


def test_averages_follow_weights_and_statistics(store):
    run = Run(train="all", ema=0.5)
    state, _, _ = run.steps(store, 1)
    assert state.ema.keys() == {*state.params, *state.stats}
    start = {**run.params, **run.stats}
    now = {**state.params, **state.stats}
    for path, leaf in state.ema.items():
        np.testing.assert_allclose(leaf, (start[path] + now[path]) / 2, rtol=1e-5, atol=1e-6)


def test_class_weights_scale_the_loss_of_their_class(store):
    light, heavy = Run(train="head"), Run(train="head", weights=(2.0, 2.0))
    assert heavy.steps(store, 1)[1][0] == pytest.approx(2 * light.steps(store, 1)[1][0], rel=1e-5)


def test_bfloat16_computes_low_and_keeps_high(store):
    run = Run(train="all", how=recipe(precision="bfloat16"))
    state, losses, _ = run.steps(store, 3)
    assert np.isfinite(losses).all()
    full = Run(train="all").steps(store, 3)[1]
    np.testing.assert_allclose(losses, full, rtol=0.1)
    for leaf in (*state.params.values(), *state.stats.values()):
        assert leaf.dtype == jnp.float32


def test_metrics_tell_each_group_apart(store):
    run = Run(train="last 2", layer_decay=0.5, clip=0.0)
    _, _, metrics = run.steps(store, 1)
    assert metrics["groups"].keys() == {group.name for group in run.plan.groups}
    for values in metrics["groups"].values():
        assert float(values["grad_norm"]) > 0
        assert float(values["update_ratio"]) > 0
    total = sum(float(values["grad_norm"]) ** 2 for values in metrics["groups"].values()) ** 0.5
    assert float(metrics["grad_norm"]) == pytest.approx(total, rel=1e-5)
