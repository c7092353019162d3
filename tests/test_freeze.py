from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.toy import outline, toy
from tl_jax import defaults
from tl_jax.backbones.anatomy import merge, part_of, split, statistics
from tl_jax.freeze import FROZEN, PlanError, plan


def stage(**changes):
    return {**defaults.stage(), "name": "s", **changes}


def rule(path, **changes):
    return {**defaults.rule(), "path": path, **changes}


PARTS = ["stem", "blocks/0", "blocks/1", "blocks/2", "blocks/3", "neck", "head"]
PRESETS = {
    "head": PARTS[6:],
    "last 1": PARTS[4:],
    "last 4": PARTS[1:],
    "level 2": PARTS[3:],
    "level 1": PARTS[1:],
    "all": PARTS,
}


@pytest.mark.parametrize("train", PRESETS)
def test_presets_train_whole_parts(train):
    made = plan(outline(), stage(train=train))
    trained = {part_of(path) for path, label in made.labels.items() if label != FROZEN}
    frozen = {part_of(path) for path, label in made.labels.items() if label == FROZEN}
    if train == "head":
        assert trained == {"head"}
    else:
        assert trained == set(PRESETS[train])
    assert not trained & frozen


def test_norms_and_biases_train_those_everywhere_and_the_head():
    labels = plan(outline(), stage(train="norms")).labels
    trained = {path for path, label in labels.items() if label != FROZEN}
    assert trained == {p for p in labels if "/norm/" in p or p.startswith("head/")}
    labels = plan(outline(), stage(train="biases")).labels
    trained = {path for path, label in labels.items() if label != FROZEN}
    assert trained == {p for p in labels if p.endswith("/bias") or p.startswith("head/")}


def test_the_prefix_ends_at_the_first_block_that_moves():
    assert plan(outline(), stage(train="head")).prefix == 4
    assert plan(outline(), stage(train="last 1")).prefix == 3
    assert plan(outline(), stage(train="last 4")).prefix == 0
    assert plan(outline(), stage(train="all")).prefix == -1
    assert plan(outline(), stage(train="norms")).prefix == -1
    adapting = [rule("blocks/1/norm/.*", train=False, batch_norm="adapt")]
    assert plan(outline(), stage(train="head", rules=adapting)).prefix == 1


@settings(deadline=None, max_examples=20)
@given(decay=st.floats(0.1, 1.0))
def test_layer_decay_counts_blocks_from_the_head(decay):
    model = outline()
    made = plan(model, stage(train="all", layer_decay=decay))
    scale = {group.name: group.lr_scale for group in made.groups}
    for path, label in made.labels.items():
        assert scale[label] == pytest.approx(decay ** (5 - model.depth(path)))


def test_layer_decay_numbers_the_whole_model_whatever_is_frozen():
    made = plan(outline(), stage(train="last 2", layer_decay=0.5))
    assert [(g.name, g.lr_scale) for g in made.groups] == [
        ("blocks 2", 0.25),
        ("blocks 3", 0.5),
        ("neck", 1.0),
        ("head", 1.0),
    ]


def test_first_matching_rule_wins_and_the_preset_covers_the_rest():
    rules = [rule("blocks/3/conv/kernel", lr_scale=0.1, weight_decay=0.3), rule("blocks/3/.*", train=False)]
    made = plan(outline(), stage(train="all", rules=rules, weight_decay=0.01))
    groups = {group.name: group for group in made.groups}
    own = groups[made.labels["blocks/3/conv/kernel"]]
    assert (own.lr_scale, own.weight_decay) == (0.1, 0.3)
    assert made.labels["blocks/3/conv/bias"] == FROZEN
    assert made.labels["blocks/2/conv/bias"] == "blocks 0-2"


def test_decay_spares_vectors_unless_a_rule_says_otherwise():
    made = plan(outline(), stage(train="all", weight_decay=0.1))
    assert all(path.endswith("/kernel") for path in made.decayed)
    assert len(made.decayed) == 6
    named = plan(outline(), stage(train="all", rules=[rule("stem/conv/bias", weight_decay=0.1)]))
    assert named.decayed == {"stem/conv/bias"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rules": [rule("blocks/3/conv")]}, ["rules[0]", "whole path", "blocks/3/conv/"]),
        ({"rules": [rule("blocks/.*"), rule("blocks/2/.*")]}, ["rules[1]", "earlier rules"]),
        ({"rules": [rule(".*", train=False)]}, ["trains nothing"]),
        ({"train": "last 5"}, ["4 blocks"]),
        ({"train": "last 0"}, ["4 blocks"]),
        ({"train": "level 3"}, ["2 levels"]),
        ({"train": "haed"}, ["'head'", "'last K'"]),
    ],
)
def test_mistakes_are_named(changes, words):
    with pytest.raises(PlanError) as error:
        plan(outline(), stage(**changes))
    for word in words:
        assert word in str(error.value)


def test_all_problems_come_at_once():
    with pytest.raises(PlanError) as error:
        plan(outline(), stage(train="last 9", rules=[rule("nothing"), rule("blocks/x/.*")]))
    assert all(word in str(error.value) for word in ("rules[0]", "rules[1]", "last 9"))


@pytest.mark.parametrize(("mode", "live_layers"), [("auto", 2), ("frozen", 0), ("adapt", 5), ("train", 5)])
def test_batch_norm_mode_decides_which_statistics_move(mode, live_layers):
    model = toy()
    made = plan(model, stage(train="last 2", batch_norm=mode))
    made.set_modes(model)
    graph, params, stats = split(model)
    moving, still = made.partition_statistics(stats)
    assert len(moving) == 2 * live_layers
    images = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))
    ran = merge(graph, params, stats)
    ran(images, key=jax.random.key(0))
    after = statistics(ran)
    for path in still:
        assert jnp.array_equal(after[path], stats[path])
    for path in moving:
        assert not jnp.array_equal(after[path], stats[path])


def test_adapt_keeps_the_layers_own_scale_and_bias():
    made = plan(outline(), stage(train="all", batch_norm="adapt"))
    frozen = {path for path, label in made.labels.items() if label == FROZEN}
    assert frozen == {p for p in made.labels if "/norm/" in p and not p.startswith("neck")}


def test_frozen_parts_are_in_inference_mode_whole():
    model = outline()
    made = plan(model, stage(train="last 1"))
    made.set_modes(model)
    assert [block.dropout.deterministic for block in model.blocks] == [True, True, True, False]
    assert [block.norm.use_running_average for block in model.blocks] == [True, True, True, False]
    assert model.head.dropout.deterministic is False
