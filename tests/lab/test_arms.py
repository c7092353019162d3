"""Arms of one budget, that differ in nothing but what they are to differ in."""

from __future__ import annotations

import numpy as np
import pytest

from tests import tiny
from tl_jax import config as configs
from tl_jax import pretrained
from tl_jax.config import complete
from tl_jax.job import prepare
from tl_jax.lab import arms
from tl_jax.lab.grid import grid

STAGES = [
    dict(name="head", train="head", duration="2 epochs", lr=1e-2),
    dict(name="rest", train="last 2", duration="6 epochs", lr=1e-3, warmup="1 epochs", layer_decay=0.8),
]
PICTURES = 80


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    weights = tmp_path_factory.mktemp("weights")
    model, _ = pretrained.scratch(tiny.VIT, num_classes=3)
    pretrained.export(model, weights, classes=["x", "y", "z"])
    folder = tiny.make_folder(tmp_path_factory.mktemp("p"))
    found = tiny.config(
        folder, stages=STAGES, model=dict(pretrained=str(weights)), preprocess=dict(mean=(0.3,))
    )
    return complete(found)


def run(config, arm, *, fraction=0.25, seed=5, wanted="", lr=1e-3):
    limit = arms.budget(config, PICTURES, wanted)
    one = arms.variation(config, arm, lr, limit, fraction=fraction, seed=seed, pictures=20)
    return grid(config, [one], [seed])[0].config


def test_every_arm_takes_the_same_steps_whatever_the_fraction(config):
    assert arms.budget(config, PICTURES).steps == 80
    for wanted, steps in (("", 80), ("31 steps", 31), ("2 epochs", 20)):
        for arm in arms.ARMS:
            found = run(config, arm, wanted=wanted)
            assert sum(int(stage.duration.removesuffix(" steps")) for stage in found.stages) == steps
            assert found.early_stopping.patience == 0
            assert found.select.every == f"{max(1, round(steps / 20))} steps"
            configs.validate(found)


def test_what_each_arm_trains(config):
    trains = {arm: [stage.train for stage in run(config, arm).stages] for arm in arms.ARMS}
    assert trains == {
        "scratch": ["all"],
        "linear_probe": ["head"],
        "full": ["all"],
        "lp_ft": ["head", "all"],
        "own": ["head", "last 2"],
    }
    own, scratch, full = (run(config, arm, wanted="41 steps").stages for arm in ("own", "scratch", "full"))
    assert [stage.duration for stage in own] == ["10 steps", "31 steps"]
    assert [stage.warmup for stage in own] == ["0 steps", "5 steps"], "a sixth, as in the config"
    assert (full[0].warmup, full[0].layer_decay, scratch[0].layer_decay) == ("7 steps", 0.8, 1.0)


def test_rates(config):
    found = arms.rates(config)
    assert found == {
        "scratch": 1e-3,
        "linear_probe": 1e-2,
        "full": 1e-3,
        "lp_ft": pytest.approx(3e-4),
        "own": 1e-3,
    }
    probe = complete(tiny.config("pictures", stages=[dict(train="head", lr=1e-2)]))
    assert arms.rates(probe)["full"] == pytest.approx(1e-3)
    assert [stage.lr for stage in run(config, "lp_ft", lr=2e-4).stages] == [1e-2, 2e-4]


def test_scratch_differs_from_full_in_its_weights_alone(config):
    ours, theirs = run(config, "full"), run(config, "scratch")
    differing = {line.partition(":")[0] for line in configs.differences(ours, theirs)}
    assert differing == {"model.keep", "stages[0].name", "stages[0].layer_decay"}
    full, scratch = (prepare(one, lambda line: None) for one in (ours, theirs))
    assert scratch.recipe == full.recipe
    assert scratch.model.spec == full.model.spec
    assert scratch.data.fingerprint == full.data.fingerprint
    assert scratch.intake.facts(scratch.data) == full.intake.facts(full.data)
    assert not scratch.pretrained_paths
    head = {path for path in full.base_params if path.startswith("head/")}
    assert full.pretrained_paths == full.base_params.keys() - head
    np.testing.assert_allclose(*(job.base_params["head/linear/kernel"] for job in (full, scratch)), rtol=1e-6)
    kernels = [path for path in full.base_params if path.endswith("kernel") and path not in head]
    assert all(full.base_params[p].shape == scratch.base_params[p].shape for p in full.base_params)
    # The pretrained weights of this test are random too, of seed 0: another draw of the same.
    assert not any(np.array_equal(full.base_params[p], scratch.base_params[p]) for p in kernels)


def test_a_budget_of_fewer_steps_than_stages_is_refused(config):
    with pytest.raises(ValueError, match="1 steps is too short for 2 stages"):
        run(config, "lp_ft", wanted="1 steps")
    with pytest.raises(ValueError, match="too short for 2 stages"):
        run(config, "own", wanted="1 steps")


def test_all_labels_are_no_draw(config):
    assert run(config, "full", fraction=1.0).data.train_seed == -1
    assert run(config, "full", fraction=0.5, seed=7).data.train_seed == 7
