"""Which runs of a grid may be trained together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import fixtures, tiny
from tl_jax.config import complete
from tl_jax.lab import alike
from tl_jax.lab.grid import Variation, grid

VIT = str(Path(fixtures.__file__).parent / "vit")
HEAD = dict(name="head", train="head", duration="4 epochs", lr=1e-3, weight_decay=0.01)


def groups(variations, seeds, root, **changes):
    """Groups by name, of variations of a config that trains a head."""
    settings = {"augment": {}, "model": dict(pretrained=VIT), "stages": [HEAD], **changes}
    base = complete(tiny.config("pictures", **settings))
    runs = grid(base, [Variation(name, patch) for name, patch in variations.items()], seeds)
    return [[one.run.name for one in group] for group in alike.groups(runs, root)]


def test_numbers_and_seeds_do_not_matter(tmp_path):
    numbers = {
        "a": {},
        "b": {"stages[0].lr": 0.1, "stages[0].schedule": "linear", "stages[0].warmup": "2 steps"},
        "c": {"stages[0].final_lr": 0.1, "stages[0].weight_decay": 0.1, "stages[0].clip": 0.0},
        "d": {"stages[0].layer_decay": 0.5},
    }
    assert groups(numbers, [0, 1], tmp_path) == [
        [f"{name}/seed-{seed}" for name in "abcd" for seed in (0, 1)]
    ]


def test_structure_does(tmp_path):
    """Each pair is a group of its own."""
    structures = {
        "a": {},
        "undecayed": {"stages[0].weight_decay": 0.0},
        "averaged": {"ema": 0.9},
        "pulled": {"loss.l2_sp": 0.1},
        "dropped": {"model.dropout": 0.5},
        "longer": {"stages[0].duration": "5 epochs"},
        "sgd": {"stages[0].optimizer": "sgd"},
    }
    found = groups(structures, [0, 1], tmp_path)
    assert found == [[f"{name}/seed-0", f"{name}/seed-1"] for name in structures]


def test_rules_may_scale_rates(tmp_path):
    rule = dict(path="head/linear/bias", train=True, lr_scale=2.0, weight_decay=-1.0, batch_norm="")
    found = groups({"a": {}, "b": {"stages[0].rules[0].lr_scale": 3.0}}, [0], tmp_path, stages=[
        dict(HEAD, rules=[rule])
    ])  # fmt: skip
    assert found == [["a/seed-0", "b/seed-0"]]


@pytest.mark.parametrize(
    "changes",
    [
        {"stages": [dict(HEAD, train="last 1")]},
        {"stages": [HEAD, dict(HEAD, name="all", train="all")]},
        {"stages": [dict(HEAD, train="head", rules=[dict(path="neck/.*")])]},
        {"cache": dict(prefix="off")},
        {"augment": dict(rotate=5.0)},
        {"model": dict(pretrained=str(Path(fixtures.__file__).parent / "nowhere"))},
    ],
    ids=["block", "later stage", "neck", "no prefix", "augmented", "no network"],
)
def test_what_has_no_kept_features_is_left_out(changes, tmp_path):
    assert groups({"a": {}}, [0, 1], tmp_path, **changes) == []


@pytest.mark.parametrize(
    "changes",
    [{"model": dict(arch=tiny.VIT)}, {"augment": dict(rotate=5.0), "cache": dict(views=2)}],
    ids=["from scratch", "views"],
)
def test_where_a_seed_makes_the_features_it_must_be_the_same(changes, tmp_path):
    found = groups({"a": {}, "b": {"stages[0].lr": 0.1}}, [0, 1], tmp_path, **changes)
    assert found == [["a/seed-0", "b/seed-0"], ["a/seed-1", "b/seed-1"]]


def test_what_has_begun_or_ended_is_left_out(tmp_path):
    (tmp_path / "a" / "seed-0" / "checkpoints" / "last" / "8").mkdir(parents=True)
    (tmp_path / "a" / "seed-1").mkdir(parents=True)
    (tmp_path / "a" / "seed-1" / "result.json").write_text("{}")
    (tmp_path / "a" / "seed-2").mkdir()
    (tmp_path / "a" / "seed-2" / "plan.txt").write_text("a plan is nothing to go on from")
    assert groups({"a": {}}, range(4), tmp_path) == [["a/seed-2", "a/seed-3"]]
