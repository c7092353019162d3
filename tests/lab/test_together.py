"""Heads trained together: what each leaves is what a run of its own leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import tl_jax
from tests import fixtures, tiny
from tl_jax import pretrained
from tl_jax.config import complete
from tl_jax.lab import group as groups
from tl_jax.lab import runner
from tl_jax.lab.grid import Variation, grid
from tl_jax.lab.records import Records

VIT = str(Path(fixtures.__file__).parent / "vit")
HEAD = dict(name="head", train="head", duration="4 epochs", lr=1e-3, weight_decay=0.01)
LOW = Variation("low", {})
HIGH = Variation("high", {"stages[0].lr": 0.3, "stages[0].warmup": "3 steps", "stages[0].clip": 0.0})


def config(folder, **changes):
    settings = {
        "augment": {},
        "model": dict(pretrained=VIT, dropout=0.3),
        "loss": dict(class_weights=(1.0, 2.5)),
        "stages": [HEAD],
        **changes,
    }
    made = tiny.config(folder, **settings)
    made["data"]["image_size"] = 24
    return complete(made)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.make_folder(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def done(folder, tmp_path_factory):
    """A finished grid: its runs, folder and outcome, and what it said."""
    runs, root = grid(config(folder), [LOW, HIGH], [0, 1]), tmp_path_factory.mktemp("grid")
    said: list[str] = []
    return runs, root, runner.execute(runs, root, say=said.append), said


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_near(found, wanted, where=""):
    """Equal, numbers to float tolerance, but for seconds."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys(), where
        for key in wanted.keys() - {"seconds", "examples_per_second", "flops"}:
            assert_near(found[key], wanted[key], f"{where}/{key}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), where
        for i, pair in enumerate(zip(found, wanted, strict=True)):
            assert_near(*pair, f"{where}/{i}")
    elif isinstance(wanted, float):
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5, err_msg=where)
    else:
        assert found == wanted, where


def assert_same(run, root, alone):
    """The run below ``root`` is as one of `tl_jax.run` leaves it in ``alone``."""
    own = root / run.name
    result = tl_jax.run(run.config, alone, quiet=True)
    kept = json.loads((own / "result.json").read_text())
    assert_near(kept, result)
    assert kept["flops"] == pytest.approx(result["flops"], rel=0.2)
    assert_near(lines(own / "metrics.jsonl"), lines(alone / "metrics.jsonl"))
    weights = load_file(own / "model" / "model.safetensors")
    for name, array in load_file(alone / "model" / "model.safetensors").items():
        np.testing.assert_allclose(weights[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
    for name in ("plan.txt", "load_report.txt", "config.json"):
        found, wanted = ((place / name).read_text().splitlines() for place in (own, alone))
        assert [line for line in found if "FLOP" not in line] == [
            line for line in wanted if "FLOP" not in line
        ]
    names = {path.name for path in alone.iterdir()} - {path.name for path in own.iterdir()}
    assert names == {"checkpoints"}


@pytest.mark.parametrize("number", [0, 3])
def test_each_is_a_run_of_its_own(done, number, tmp_path):
    runs, root, _, _ = done
    assert_same(runs[number], root, tmp_path / "alone")


@pytest.mark.slow
def test_with_all_that_can_differ(folder, tmp_path):
    """Two stages, the second from the best and with other moments; averages, batches in pieces, two devices;
    early stops after different steps."""
    second = dict(HEAD, name="again", optimizer="sgd", lr=0.05, restore_best=True, duration="3 epochs")
    base = config(
        folder,
        stages=[HEAD, second],
        ema=0.5,
        accumulate=2,
        mesh=dict(data=2),
        early_stopping=dict(patience=2),
        select=dict(metric="auroc", every="2 steps"),
    )
    high = Variation("high", {"stages[0].lr": 0.5, "stages[1].schedule": "constant", "stages[1].lr": 0.2})
    runs = grid(base, [LOW, high], [0, 1])
    assert not runner.execute(runs, tmp_path / "grid", say=lambda line: None).failed
    results = [json.loads((tmp_path / "grid" / run.name / "result.json").read_text()) for run in runs]
    ends = {tuple(stage["end"] for stage in result["stages"]) for result in results}
    assert len(ends) > 1, "or nobody stopped early"
    for run in (runs[0], runs[3]):
        assert_same(run, tmp_path / "grid", tmp_path / "alone" / run.name)


@pytest.mark.slow
def test_heads_with_hidden_layers_and_one_unit(folder, tmp_path):
    head = dict(name="mlp", sizes=(8,), dropout=0.2, output="sigmoid")
    runs = grid(config(folder, model=dict(pretrained=VIT, head=head)), [LOW, HIGH], [0, 1])
    said: list[str] = []
    assert not runner.execute(runs, tmp_path / "grid", say=said.append).failed
    assert any(line.startswith("4 heads trained in") for line in said)
    assert_same(runs[3], tmp_path / "grid", tmp_path / "alone")


def test_a_head_that_came_with_the_weights_is_pulled_back_to_them(folder, tmp_path):
    """No seed draws anything then."""
    arch = dict(tiny.VIT, num_hidden_layers=1, image_size=24)
    model, _ = pretrained.scratch(arch, num_classes=2, seed=5)
    pretrained.export(model, tmp_path / "weights", classes=("a", "b"))
    base = config(folder, model=dict(pretrained=str(tmp_path / "weights")), loss=dict(l2_sp=0.1))
    strong = Variation("strong", {"loss.l2_sp": 30.0})
    runs = grid(base, [LOW, strong], [0, 1])
    outcome = runner.execute(runs, tmp_path / "grid", say=lambda line: None)
    assert {line["together"] for line in outcome.records} == {4}
    assert_same(runs[2], tmp_path / "grid", tmp_path / "alone")


def test_a_line_a_run(done):
    runs, root, outcome, said = done
    assert not outcome.failed
    assert outcome.records == Records(root / "runs.jsonl").read()
    assert [line["name"] for line in outcome.records] == [run.name for run in runs]
    assert {line["together"] for line in outcome.records} == {4}
    assert said[0] == "4 heads are trained together, on features that are kept once"
    assert [text.split("  ")[0] for text in said if text.startswith("[")] == [
        f"[{number}/4] {run.name}" for number, run in enumerate(runs, 1)
    ]
    seconds = [line["seconds"] for line in outcome.records]
    assert len({one["train"] for one in seconds}) == 1, "of what all did, each has its share"
    assert all(one["start"] >= one["total"] > one["train"] > 0 for one in seconds)
    log = (root / runs[0].name / "log.txt").read_text()
    assert "trained together with 3 other heads" in log
    assert log.index("stage 1 'head'") < log.index("step      3  head  val: ") < log.index("test:")


def test_a_finished_group_is_not_run_again(done):
    runs, root, outcome, _ = done
    said: list[str] = []
    assert runner.execute(runs, root, say=said.append).records == outcome.records
    assert said == ["4 of 4 runs are finished already"]


def test_one_by_one_where_that_is_asked_for(folder, tmp_path):
    said: list[str] = []
    outcome = runner.execute(grid(config(folder), [LOW], [0, 1]), tmp_path, together=False, say=said.append)
    assert [line["together"] for line in outcome.records] == [1, 1]
    assert len(said) == 2
    assert (tmp_path / "low" / "seed-0" / "checkpoints").is_dir()


@pytest.mark.slow
def test_one_by_one_where_features_are_not_kept(folder, tmp_path):
    """A stage so short that a pass over all pictures is not worth while."""
    base = config(folder, stages=[dict(HEAD, duration="1 steps")])
    said: list[str] = []
    outcome = runner.execute(grid(base, [LOW], [0, 1]), tmp_path, say=said.append)
    assert [line["together"] for line in outcome.records] == [1, 1]
    assert said[1].startswith("they are trained one by one: stage 'head', the frozen prefix: it is not kept")


@pytest.mark.slow
def test_one_by_one_where_pictures_are_streamed(folder, tmp_path):
    base = config(folder, data=dict(config(folder).data, device_budget=0))
    said: list[str] = []
    assert not runner.execute(grid(base, [LOW], [0, 1]), tmp_path, say=said.append).failed
    assert "one by one" in said[1]


def test_one_that_diverges_fails_alone(folder, tmp_path):
    broken = Variation("broken", {"stages[0].lr": 1e38, "stages[0].clip": 0.0})
    runs = grid(config(folder), [broken, LOW], [0])
    said: list[str] = []
    outcome = runner.execute(runs, tmp_path, say=said.append)
    assert [line["variation"] for line in outcome.records] == ["low"]
    assert outcome.records[0]["test"]["nll"]["value"] < 2
    assert "learning rate" in outcome.failed["broken/seed-0"]
    own = tmp_path / "broken" / "seed-0"
    assert "FloatingPointError" in (own / "failure.txt").read_text()
    assert {"config.json", "plan.txt", "log.txt", "metrics.jsonl"} <= {path.name for path in own.iterdir()}
    assert not (own / "result.json").exists()
    again = runner.execute(runs, tmp_path, say=said.append)
    assert list(again.failed) == ["broken/seed-0"], "it is tried again, now alone"


def test_a_group_larger_than_the_device_is_trained_in_parts(folder, tmp_path, monkeypatch):
    sizes: list[int] = []
    run = groups.Group.run

    def counting(self):
        sizes.append(len(self.members))
        run(self)

    monkeypatch.setattr(groups.Group, "run", counting)
    head = 4 * (16 * 2 + 2)
    base = config(folder, data=dict(config(folder).data, device_budget=24 * 24 * 24 * 3))
    runs = grid(base, [LOW], range(3))
    monkeypatch.setattr("tl_jax.lab.together.STATES", base.data.device_budget // (2 * head))
    outcome = runner.execute(runs, tmp_path, say=lambda line: None)
    assert sizes == [2, 1]
    assert [line["together"] for line in outcome.records] == [2, 2, 1]


def test_an_interruption_loses_the_group_alone(folder, tmp_path, monkeypatch):
    runs = grid(config(folder), [LOW], [0, 1])
    said: list[str] = []

    def interrupted(self, *arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(groups.Group, "_measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            runner.execute(runs, tmp_path, say=said.append)
    assert said[-1] == "interrupted: the same command starts 2 of 2 heads of this group again"
    assert not (tmp_path / "low").exists()
    assert len(runner.execute(runs, tmp_path, say=said.append).records) == 2
