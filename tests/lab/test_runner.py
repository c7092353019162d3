"""A grid of real runs: skipped, gone on with, failed, recorded."""

from __future__ import annotations

import json
import os
import shutil

import pytest

import tl_jax
from tests import tiny
from tl_jax import compilation
from tl_jax.config import complete
from tl_jax.lab import ledger, runner
from tl_jax.lab.grid import Variation, grid
from tl_jax.lab.records import Records
from tl_jax.workdir import Workdir, WorkdirError

STAGE = dict(name="all", train="all", duration="2 steps", lr=1e-3)
LOW, HIGH = Variation("low", {"stages[0].lr": 1e-4}, {"lr": 1e-4}), Variation("high", {"stages[0].lr": 1e-2})
BROKEN = Variation("broken", {"stages[0].lr": 1e30, "stages[0].clip": 0.0})


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tiny.make_folder(tmp_path_factory.mktemp("pictures"))
    return complete(tiny.config(folder, stages=[STAGE]))


@pytest.fixture(scope="module")
def done(base, tmp_path_factory):
    """A finished grid: its runs, folder and outcome, and what it said."""
    runs, root = grid(base, [LOW, HIGH], [0, 1]), tmp_path_factory.mktemp("grid")
    said: list[str] = []
    return runs, root, runner.execute(runs, root, say=said.append), said


def test_a_line_a_run(done):
    runs, root, outcome, said = done
    assert not outcome.failed
    assert outcome.records == Records(root / "runs.jsonl").read()
    assert [line["name"] for line in outcome.records] == [run.name for run in runs]
    for run, line in zip(runs, outcome.records, strict=True):
        result = json.loads((root / run.name / "result.json").read_text())
        assert line["config"] == run.digest
        assert line["test"]["auroc"]["value"] == result["test"]["auroc"]["value"]
        assert set(line["test"]["nll"]) == {"value", "low", "high"}
        assert line["flops"] > 0
        assert line["trained"] == result["stages"][0]["trained"] > 100
        assert line["seconds"]["start"] > line["seconds"]["train"] > 0
        assert line["peak_bytes"] is None or line["peak_bytes"] > 10_000_000
    assert outcome.records[0]["facts"] == {"lr": 1e-4}
    assert [text.split("  ")[0] for text in said] == [
        f"[{number}/4] {run.name}" for number, run in enumerate(runs, 1)
    ]
    assert "left" in said[0]
    assert "left" not in said[-1]


def test_the_results_are_those_of_single_runs(done, tmp_path):
    """To the bit: sharing programs changes none."""
    runs, root, _, _ = done
    alone = tl_jax.run(runs[-1].config, tmp_path / "alone", quiet=True)
    kept = json.loads((root / runs[-1].name / "result.json").read_text())
    assert alone["test"] == kept["test"]
    weights = "model/model.safetensors"
    assert (tmp_path / "alone" / weights).read_bytes() == (root / runs[-1].name / weights).read_bytes()


def test_what_is_finished_is_not_run_again(done):
    runs, root, outcome, _ = done
    before = (root / runs[0].name / "result.json").stat().st_mtime_ns
    said: list[str] = []
    again = runner.execute(runs[:3], root, say=said.append)
    assert again.records == outcome.records[:3]
    assert said == ["3 of 3 runs are finished already"]
    assert (root / runs[0].name / "result.json").stat().st_mtime_ns == before
    assert len(Records(root / "runs.jsonl").read()) == 4


def test_a_run_whose_folder_is_gone_is_run_again(done, tmp_path):
    runs, root, _, _ = done
    shutil.copytree(root, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / runs[1].name)
    outcome = runner.execute(runs, tmp_path / "copy", say=lambda line: None)
    assert len(outcome.records) == 4
    assert (tmp_path / "copy" / runs[1].name / "result.json").exists()


def test_programs_are_shared(base, tmp_path, monkeypatch):
    """Seeds of one variation, and variations that differ by numbers alone, compile nothing new."""
    kept: list[int] = []
    run = runner.runs.run

    def counting(*arguments, **named):
        result = run(*arguments, **named)
        assert compilation._kept is not None
        kept.append(len(compilation._kept))
        return result

    monkeypatch.setattr(runner.runs, "run", counting)
    runner.execute(grid(base, [LOW, HIGH], [0, 1]), tmp_path, say=lambda line: None)
    assert kept[0] > 0
    assert set(kept) == {kept[0]}
    assert compilation._kept is None


def test_one_that_fails_does_not_stop_the_others(base, tmp_path):
    runs = grid(base, [BROKEN, LOW], [0])
    said: list[str] = []
    outcome = runner.execute(runs, tmp_path, say=said.append)
    assert [line["variation"] for line in outcome.records] == ["low"]
    assert list(outcome.failed) == ["broken/seed-0"]
    assert "learning" in outcome.failed["broken/seed-0"]
    assert "Traceback" in (tmp_path / "broken" / "seed-0" / "failure.txt").read_text()
    assert said[0].startswith("[1/2] broken/seed-0  failed: ")
    assert "\n" not in said[0]
    assert [*ledger.finished(runs, tmp_path)] == ["low/seed-0"]


def test_what_no_run_could_do_is_told_at_once(base, tmp_path):
    """A folder that is not there would fail every run: nothing is recorded, and no second one is tried."""
    elsewhere = Variation("elsewhere", {"data.root": str(tmp_path / "none")})
    with pytest.raises(ValueError, match="none"):
        runner.execute(grid(base, [elsewhere, LOW], [0]), tmp_path / "grid", say=lambda line: None)
    assert not (tmp_path / "grid" / "low").exists()
    assert not (tmp_path / "grid" / "runs.jsonl").exists()


def test_ctrl_c_ends_the_grid_and_loses_nothing(base, tmp_path, monkeypatch):
    runs, run = grid(base, [LOW], [0, 1]), runner.runs.run

    def second_is_interrupted(config, workdir, **named):
        if config.seed == 1:
            raise KeyboardInterrupt
        return run(config, workdir, **named)

    told: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(runner.runs, "run", second_is_interrupted)
        with pytest.raises(KeyboardInterrupt):
            runner.execute(runs, tmp_path, say=told.append)
    assert told[1] == "[2/2] low/seed-1  interrupted: the same command goes on from here"
    assert len(Records(tmp_path / "runs.jsonl").read()) == 1
    said: list[str] = []
    assert len(runner.execute(runs, tmp_path, say=said.append).records) == 2
    assert said[0] == "1 of 2 runs are finished already"


def test_another_config_in_the_folder_is_refused_before_anything_runs(done, base):
    _, root, _, _ = done
    other = Variation("low", {"stages[0].lr": 5e-4})
    new = Variation("new", {})
    with pytest.raises(WorkdirError, match=r"stages\[0\].lr"):
        runner.execute(grid(base, [new, other], [0]), root, say=lambda line: None)
    assert not (root / "new").exists()


def test_a_second_runner_is_kept_out(done):
    runs, root, _, _ = done
    with Workdir(root).locked(), pytest.raises(WorkdirError, match="another process is running"):
        runner.execute(runs, root, say=lambda line: None)


def test_a_folder_that_cannot_be_written_fails_at_once(base, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkdirError, match="not a folder"):
        runner.execute(grid(base, [LOW], [0]), tmp_path / "file", say=lambda line: None)
    assert os.listdir(tmp_path) == ["file"]
