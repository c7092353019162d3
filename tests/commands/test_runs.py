"""What a run leaves in its folder, and whom it lets in."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

import tl_jax
from tests.commands import pictures
from tl_jax.workdir import Workdir, WorkdirError


def test_everything_is_there(finished):
    here = {path.name for path in finished.iterdir()}
    assert here >= {
        "config.json",
        "plan.txt",
        "metrics.jsonl",
        "tensorboard",
        "checkpoints",
        "model",
        "predictions_val.csv",
        "predictions_test.csv",
        "result.json",
        "log.txt",
    }
    assert {path.name for path in (finished / "checkpoints").iterdir()} == {"last", "best"}
    assert {path.name for path in (finished / "model").iterdir()} >= {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    }
    assert list((finished / "tensorboard").glob("events*"))
    plan = (finished / "plan.txt").read_text()
    assert "stage 1 'head'" in plan
    assert plan.count("GFLOP an example, forward and backward") == 2, "one compiled step a stage"
    assert json.loads((finished / "config.json").read_text())["data"]["image_size"] == 32


def test_result_has_what_others_rely_on(finished):
    result = json.loads((finished / "result.json").read_text())
    for split in ("test", "val"):
        for name in ("accuracy", "auroc", "sensitivity", "specificity", "balanced_accuracy", "nll"):
            assert {"value", "low", "high"} <= result[split][name].keys()
        assert result[split]["n"] == 24
    assert result["test"]["auroc"]["value"] > 0.8, "the discs can be seen"
    assert result["steps"] == 13  # ceil(2 · 40 / 16) + ceil(3 · 40 / 16)
    assert 0 < result["seconds"]["train"] < result["seconds"]["total"]


def test_metrics_cover_every_step_once(finished):
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if "loss" in line]
    assert steps == list(range(1, 14))


def test_predictions_count_every_picture_once(finished, photographs):
    for split in ("val", "test"):
        rows = pictures.read_csv(finished / f"predictions_{split}.csv")
        there = {path.relative_to(photographs).as_posix() for path in (photographs / split).rglob("p*")}
        assert len(rows) == len(there)
        assert {row["id"] for row in rows} == there
        assert all(row["label"] == row["id"].split("/")[1] for row in rows)
        assert all(row["group"] == row["id"].split("/")[2].split("-")[0] for row in rows)


def test_a_finished_run_says_so(finished, photographs, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.suffix == ".json"}
    result = tl_jax.run(pictures.config(photographs), finished)
    assert "finished run; nothing to do" in capsys.readouterr().out
    assert result == json.loads((finished / "result.json").read_text())
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_another_config_is_told_the_differences(finished, photographs):
    config = pictures.config(photographs, seed=3)
    config["stages"][1]["lr"] = 0.5
    with pytest.raises(WorkdirError) as caught:
        tl_jax.run(config, finished)
    text = str(caught.value)
    assert "seed: 0 → 3" in text
    assert "stages[1].lr: 0.003 → 0.5" in text
    assert text.count("→") == 2


def test_a_run_that_failed_before_its_plan_leaves_the_folder_free(photographs, tmp_path):
    config = pictures.config(photographs, stages=[dict(duration="2 steps", train="head")])
    config["data"]["root"] = str(tmp_path / "mistyped")
    with pytest.raises(ValueError, match="mistyped"):
        tl_jax.run(config, tmp_path / "run")
    config["data"]["root"] = str(photographs)
    assert tl_jax.run(config, tmp_path / "run")["steps"] == 2


def test_a_run_without_its_config_is_not_gone_on_with(finished, photographs, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    for name in ("config.json", "result.json", "plan.txt"):
        (tmp_path / "run" / name).unlink()
    with pytest.raises(WorkdirError, match=r"config\.json is gone"):
        tl_jax.run(pictures.config(photographs), tmp_path / "run")


def test_a_second_process_is_kept_out(finished, photographs):
    with Workdir(finished).locked(), pytest.raises(WorkdirError, match="another process is running"):
        tl_jax.run(pictures.config(photographs), finished)


def test_the_next_run_starts_from_an_earlier_one(finished, photographs, tmp_path):
    config = pictures.config(photographs, stages=[dict(duration="2 steps", train="head", lr=1e-9)])
    config["model"] = dict(pretrained=str(finished))
    result = tl_jax.run(config, tmp_path / "next")
    assert str(finished) in result["weights"]["source"]
    # Next to nothing was learned, so the network is the earlier run's.
    before = pictures.read_csv(finished / "predictions_test.csv")
    after = pictures.read_csv(tmp_path / "next" / "predictions_test.csv")
    for old, new in zip(before, after, strict=True):
        assert float(new["logit_sick"]) == pytest.approx(float(old["logit_sick"]), abs=1e-5)


def test_a_run_that_diverges_between_two_records_of_the_loss_is_an_error(photographs, tmp_path):
    """Not an early stop for want of a better value."""
    stages = [dict(duration="20 steps", lr=1e30, optimizer="sgd", clip=0.0, schedule="constant")]
    config = pictures.config(photographs, stages=stages, log_every="20 steps")
    config |= dict(select=dict(every="2 steps"), early_stopping=dict(patience=1))
    with pytest.raises(FloatingPointError, match=r"(loss|norm) is (nan|inf) at step \d+ \(stage 'stage 1'\)"):
        tl_jax.run(config, tmp_path / "run")


def test_a_column_called_as_one_of_ours(photographs, tmp_path):
    manifest = pictures.write_manifest(tmp_path / "m.csv", photographs, "train")
    manifest.write_text(manifest.read_text().replace("site,sex,age", "id,decision,age"))
    config = pictures.config(photographs, stages=[dict(duration="1 steps", train="head")])
    config["data"] |= dict(source="csv", manifest=str(manifest), root=str(photographs), group="")
    config["data"] |= dict(columns=dict(group="patient"), min_val=0)
    tl_jax.run(config, tmp_path / "run")
    header = (tmp_path / "run" / "predictions_test.csv").read_text().splitlines()[0].split(",")
    assert header[:7] == ["id", "group", "data_id", "data_decision", "age", "label", "decision"]


def test_a_workdir_that_is_a_file(photographs, tmp_path):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(WorkdirError, match="is not a folder, or lies in a file"):
            tl_jax.run(pictures.config(photographs), place)


def _main(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tl_jax.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_wrong_command_line_is_2(photographs, tmp_path):
    file = pictures.write_config(tmp_path / "c.py", pictures.config(photographs))
    done = _main(f"--config={file}", "--config.batch_sise=3", f"--workdir={tmp_path / 'w'}")
    assert done.returncode == 2
    assert "did you mean" in done.stderr
    assert "batch_size" in done.stderr
    assert not (tmp_path / "w").exists()


@pytest.mark.slow
def test_exit_codes_of_problems_and_of_success(finished, photographs, tmp_path):
    file = pictures.write_config(tmp_path / "c.py", pictures.config(photographs))
    done = _main(f"--config={file}", f"--workdir={finished}")
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout
    done = _main(f"--config={file}", f"--workdir={finished}", "--config.seed=3")
    assert done.returncode == 1
    assert "seed: 0 → 3" in done.stderr
    assert "Traceback" not in done.stderr
    done = _main(f"--config={file}", f"--workdir={tmp_path / 'w'}", "--config.data.root=/nowhere")
    assert done.returncode == 1
    assert "/nowhere" in done.stderr
