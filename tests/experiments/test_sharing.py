"""The experiment as a command, on two small tasks."""

from __future__ import annotations

import json

import pytest

from experiments import seeds, sharing
from tests import tiny
from tests.commands import pictures
from tests.tasks.test_runs import table
from tl_jax.completion import ConfigError


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    found = tiny.config(tiny.make_folder(root / "folder"))
    (root / "table").mkdir()
    own = {key: found.pop(key) for key in ("data", "augment", "evaluation")}
    columns = dict(labels=("radius",), group="patient")
    numbers = dict(
        source="csv", manifest=str(table(root / "table")), columns=columns, image_size=32, cache=""
    )
    found["tasks"] = [
        dict(name="disc", **own),
        dict(name="size", task="regression", data=numbers, evaluation=own["evaluation"], proportion=3.0),
    ]
    found["select"] = dict(metric="loss")
    found["stages"] = [dict(train="all", duration="1 epochs", lr=3e-3, warmup="10%")]
    return pictures.write_config(root / "two.py", found)


def command(config, root, *flags):
    return sharing.main(["sharing", f"--config={config}", f"--workdir={root}", *flags])


@pytest.mark.slow
def test_together_and_alone(config, tmp_path, capsys):
    assert command(config, tmp_path, "--blocks=-1,1", "--seeds=2", "--config.report.enabled") == 0
    printed = capsys.readouterr().out
    assert "share-all/seed-0  disc AUROC" in printed
    found = json.loads((tmp_path / "sharing.json").read_text())
    rows = [(row["task"], row["arm"]) for row in found["tables"][0]]
    arms = ("alone", "all shared", "1 blocks shared")
    assert rows == [(task, arm) for task in ("disc", "size") for arm in arms]
    assert found["measures"] == {"disc": "auroc", "size": "rmse"}
    size = found["parameters"]
    assert size["all shared"] < size["1 blocks shared"] < size["alone"]
    assert found["verdict"] in printed
    # Alone, a task takes the same steps with as many of its examples in each.
    steps = {
        name: json.loads((tmp_path / name / "seed-0" / "result.json").read_text())["steps"]
        for name in ("share-all", "alone-disc", "alone-size")
    }
    assert len(set(steps.values())) == 1
    alone = json.loads((tmp_path / "alone-disc" / "seed-0" / "config.json").read_text())
    assert alone["batch_size"] == 2
    page = (tmp_path / "report.html").read_text()
    assert "share-all/seed-0/report.html" in page


def test_a_dry_run_trains_nothing(config, tmp_path, capsys):
    assert command(config, tmp_path / "none", "--seeds=2", "--dry_run") == 0
    printed = capsys.readouterr().out
    assert "alone-size" in printed
    assert not (tmp_path / "none" / "runs.jsonl").exists()


def test_what_cannot_be_meant(config, tmp_path):
    with pytest.raises(ConfigError, match=r"--blocks: found x, -2; they are whole numbers from -1 on"):
        command(config, tmp_path / "none", "--blocks=x,-2,1")
    one = pictures.write_config(tmp_path / "one.py", tiny.config(tmp_path))
    with pytest.raises(ConfigError, match=r"tasks: holds 0: there must be two"):
        command(one, tmp_path / "none")


def test_other_experiments_refuse_several_tasks(config, tmp_path):
    with pytest.raises(ConfigError, match=r"tasks: are several; of experiments only experiments\.sharing"):
        seeds.main(["seeds", f"--config={config}", f"--workdir={tmp_path}"])
