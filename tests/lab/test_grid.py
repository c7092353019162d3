"""Variations of a config, and every one with every seed."""

from __future__ import annotations

import pytest

from tl_jax.config import complete
from tl_jax.lab.grid import Variation, grid, patched

BASE = complete(
    dict(
        data=dict(root="pictures"),
        model=dict(pretrained="embedded"),
        stages=[dict(name="a", train="head"), dict(name="b", train="all")],
    )
)


def test_every_variation_has_every_seed():
    found = grid(
        BASE, [Variation("low", {"stages[1].lr": 1e-4}), Variation("high", {"stages[1].lr": 1e-2})], [3, 4]
    )
    assert [run.name for run in found] == ["low/seed-3", "low/seed-4", "high/seed-3", "high/seed-4"]
    assert [(run.config.stages[1].lr, run.config.seed) for run in found] == [
        (1e-4, 3),
        (1e-4, 4),
        (1e-2, 3),
        (1e-2, 4),
    ]
    assert len({run.digest for run in found}) == 4
    assert BASE.stages[1].lr == complete(dict(stages=[dict(train="all")], **ROOT)).stages[0].lr, "untouched"


ROOT = dict(data=dict(root="pictures"), model=dict(pretrained="embedded"))


def test_a_patch_may_replace_what_holds_others():
    found = patched(BASE, {"stages": [dict(train="last 1")], "evaluation.bootstrap": 7})
    assert [stage.train for stage in found.stages] == ["last 1"]
    assert found.evaluation.bootstrap == 7


def test_the_same_config_has_the_same_digest():
    one, other = (grid(BASE, [Variation("a", {"stages[0].lr": 1e-3})], [0])[0] for _ in range(2))
    assert one.digest == other.digest


def test_all_problems_of_all_variations_are_told_at_once():
    with pytest.raises(ValueError) as caught:
        grid(BASE, [Variation("x", {"stages[0].lr": -1.0}), Variation("y", {"batch_size": 0})], [0])
    assert "x, stages[0].lr: " in str(caught.value)
    assert "y, batch_size: " in str(caught.value)


@pytest.mark.parametrize("names", [["a", "a"], ["a/b"], [""], [".. /x"]])
def test_names_that_cannot_be_folders_are_refused(names):
    with pytest.raises(ValueError, match="names of their own"):
        grid(BASE, [Variation(name, {}) for name in names], [0])


def test_a_key_that_is_not_there_is_an_error():
    with pytest.raises(KeyError, match="batch_sise"):
        patched(BASE, {"batch_sise": 3})
