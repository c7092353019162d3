from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.toy import outline
from tl_jax import defaults, optim, schedule
from tl_jax.backbones.anatomy import split
from tl_jax.freeze import plan


def leaves(model, seed=0):
    """Random values for every parameter of an outline."""
    _, params, _ = split(model)
    rng = np.random.default_rng(seed)
    return {path: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32) for path, leaf in params.items()}


def scalars(made, lr):
    return dict(
        lr={group.name: lr * group.lr_scale for group in made.groups},
        weight_decay={group.name: group.weight_decay for group in made.groups},
    )


def stage(**changes):
    return {**defaults.stage(), "name": "s", **changes}


@pytest.mark.parametrize(
    ("settings", "reference"),
    [
        (dict(optimizer="adamw", weight_decay=0.1), lambda: optax.adamw(1e-2, weight_decay=0.1)),
        (dict(optimizer="adam", weight_decay=0.1), lambda: optax.adam(1e-2)),
        (dict(optimizer="sgd", momentum=0.9), lambda: optax.sgd(1e-2, momentum=0.9)),
        (dict(optimizer="sgd", momentum=0.0), lambda: optax.sgd(1e-2)),
    ],
)
def test_one_group_equals_optax(settings, reference):
    model = outline()
    made = plan(model, stage(train="all", **settings))
    params = theirs = leaves(model)
    tx, other = optim.build(stage(**settings), made), reference()
    if settings["optimizer"] == "adamw":
        other = optax.adamw(
            1e-2, weight_decay=0.1, mask=lambda tree: {path: path in made.decayed for path in tree}
        )
    state, their_state = tx.init(params), other.init(theirs)
    for seed in range(3):
        grads = leaves(model, seed)
        updates, state = tx.update(grads, state, params, **scalars(made, 1e-2))
        params = optax.apply_updates(params, updates)
        updates, their_state = other.update(grads, their_state, theirs)
        theirs = optax.apply_updates(theirs, updates)
    for path in params:
        np.testing.assert_allclose(params[path], theirs[path], rtol=1e-5, atol=1e-6)


def test_one_transformation_serves_the_whole_tree_and_the_trained_leaves():
    model = outline()
    made = plan(model, stage(train="last 1", weight_decay=0.5))
    tx = optim.build(stage(), made)
    params, grads = leaves(model), leaves(model, 1)
    whole, _ = tx.update(grads, tx.init(params), params, **scalars(made, 0.1))
    trained, frozen = made.partition(params)
    part, _ = tx.update(made.partition(grads)[0], tx.init(trained), trained, **scalars(made, 0.1))
    for path in trained:
        assert jnp.array_equal(whole[path], part[path])
        assert jnp.any(part[path] != 0)
    for path in frozen:
        assert not whole[path].any()


def test_frozen_leaves_have_no_state():
    model = outline()
    params = leaves(model)
    sizes = []
    for train in ("all", "last 2", "head"):
        made = plan(model, stage(train=train))
        state = optim.build(stage(), made).init(params)
        assert set(optim.moments(state)) == set(made.partition(params)[0])
        sizes.append(sum(leaf.nbytes for leaf in jax.tree.leaves(state)))
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3


def test_a_late_leaf_has_its_own_bias_correction():
    model = outline()
    params, lr = leaves(model), 1e-3
    first, second = (plan(model, stage(train=train)) for train in ("head", "last 1"))
    tx = optim.build(stage(), first)
    trained, _ = first.partition(params)
    state = tx.init(trained)
    for seed in range(30):
        grads = first.partition(leaves(model, seed))[0]
        _, state = tx.update(grads, state, trained, **scalars(first, lr))
    kept = optim.moments(state)

    tx = optim.build(stage(), second)
    trained, _ = second.partition(params)
    state = optim.with_moments(tx.init(trained), kept)
    for path, moment in optim.moments(state).items():
        assert moment.count == (30 if path.startswith("head/") else 0)
    updates, _ = tx.update(second.partition(leaves(model, 99))[0], state, trained, **scalars(second, lr))
    # Adam's first step is the learning rate in every entry, whatever the gradient's size.
    for path, update in updates.items():
        if not path.startswith("head/"):
            np.testing.assert_allclose(jnp.abs(update), lr, rtol=1e-3)


def test_clip_measures_all_leaves_together():
    grads = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
    length = optim.norm(grads)
    assert length == 5
    clipped = optim.clip(grads, jnp.float32(1.0), length)
    assert optim.norm(clipped) == pytest.approx(1.0)
    for limit in (0.0, 10.0):
        kept = optim.clip(grads, jnp.float32(limit), length)
        assert all(jnp.array_equal(kept[k], grads[k]) for k in grads)


@pytest.mark.parametrize("kind", ["constant", "linear", "cosine"])
def test_schedules_warm_up_and_end_where_they_should(kind):
    shares = [schedule.factor(kind, t, steps=100, warmup=10, final=0.1) for t in range(100)]
    assert 0 < shares[0] < shares[5] < shares[9] < 1
    assert shares[10] == 1
    assert shares == sorted(shares[:10]) + sorted(shares[10:], reverse=True)
    assert shares[-1] == pytest.approx(1.0 if kind == "constant" else 0.1, abs=0.02)


def test_schedule_of_a_single_step_moves():
    assert schedule.factor("cosine", 0, steps=1) == 1


def test_momentum_is_handed_on_only_where_both_stages_have_it():
    stages = [dict(optimizer="sgd", momentum=m) for m in (0.9, 0.5, 0.0)]
    assert optim.kind(stages[0]) == optim.kind(stages[1]) != optim.kind(stages[2])
    assert optim.kind(dict(optimizer="adam")) == optim.kind(dict(optimizer="adamw"))
