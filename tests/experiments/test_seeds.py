"""A config over seeds and folds, and against another, as a command."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from experiments import seeds
from tests import tiny
from tests.commands import pictures
from tl_jax.completion import ConfigError

ONE = [dict(name="all", train="all", duration="3 steps", lr=1e-2)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Configs that differ by what they train; and one of other pictures."""
    folder, there = tiny.make_folder(tmp_path_factory.mktemp("p")), tmp_path_factory.mktemp("configs")
    other = tiny.make_folder(tmp_path_factory.mktemp("q"), test=8)
    head = [dict(ONE[0], name="head", train="head")]
    made = {"whole": (folder, ONE), "head": (folder, head), "elsewhere": (other, ONE)}
    return {
        name: str(pictures.write_config(there / f"{name}.py", tiny.config(root, stages=stages)))
        for name, (root, stages) in made.items()
    }


def command(files, root, *flags, config="whole"):
    return seeds.main(["seeds", f"--config={files[config]}", f"--workdir={root}", *flags])


def measured(root):
    """Measure → its row."""
    rows, *_ = json.loads((root / "seeds.json").read_text())["tables"]
    return {row["measure"]: row for row in rows}


@pytest.mark.slow
def test_one_config(files, tmp_path, capsys):
    assert command(files, tmp_path, "--seeds=3") == 0
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "seeds.json").read_text())
    row = measured(tmp_path)["auroc"]
    each = [
        json.loads((tmp_path / "whole" / f"seed-{s}" / "result.json").read_text())["test"]["auroc"]["value"]
        for s in range(3)
    ]
    assert row["whole"]["value"] == pytest.approx(np.mean(each))
    assert row["whole_sd"] == pytest.approx(np.std(each, ddof=1))
    assert row["whole"]["low"] <= row["whole"]["value"] <= row["whole"]["high"]
    assert found["verdict"] in printed
    with open(tmp_path / "seeds.csv", newline="") as file:
        assert {line["measure"] for line in csv.DictReader(file)} == set(measured(tmp_path))


def test_two_configs_in_pairs(files, tmp_path, capsys):
    flags = ("--seeds=2", f"--against={files['head']}", "--config.evaluation.bootstrap=40")
    assert command(files, tmp_path, *flags) == 0
    found = measured(tmp_path)["auroc"]
    assert found["difference"]["value"] == pytest.approx(found["head"]["value"] - found["whole"]["value"])
    assert 0 < found["p"] <= 1
    assert "head less whole" in capsys.readouterr().out
    (_, together) = json.loads((tmp_path / "seeds.json").read_text())["tables"]
    rows = {row["measure"]: row for row in together}
    for name in ("whole", "head"):
        gain = rows["nll"][name]["value"] - measured(tmp_path)["nll"][name]["value"]
        assert rows["nll"][f"{name}_gain"]["value"] == pytest.approx(gain)
        assert gain <= 1e-12, "an average answer is no worse than the average of answers"
        made = json.loads((tmp_path / name / "seed-1" / "config.json").read_text())
        assert made["evaluation"]["bootstrap"] == 40, "a key of the command line holds for both"


@pytest.mark.slow
def test_folds_are_pooled(files, tmp_path):
    assert command(files, tmp_path, "--seeds=1", "--folds=3") == 0
    assert len(list(tmp_path.glob("whole-fold-*/seed-0/result.json"))) == 3
    found = measured(tmp_path)
    parts = [
        json.loads((tmp_path / f"whole-fold-{i}" / "seed-0" / "result.json").read_text())["test"]
        for i in range(3)
    ]
    n = [part["n"] for part in parts]
    assert sum(n) == 48, "every picture once"
    at_threshold = np.average([part["accuracy_at_threshold"]["value"] for part in parts], weights=n)
    assert found["accuracy_at_threshold"]["whole"]["value"] == pytest.approx(at_threshold)
    nll = np.average([part["nll_calibrated"]["value"] for part in parts], weights=n)
    assert found["nll"]["whole"]["value"] == pytest.approx(nll, abs=1e-4)


def test_other_pictures_are_refused_before_training(files, tmp_path):
    with pytest.raises(ValueError, match=r"12 and 8 pictures"):
        command(files, tmp_path / "none", f"--against={files['elsewhere']}")
    assert not (tmp_path / "none").exists()


def test_what_cannot_be_meant(files, tmp_path):
    with pytest.raises(ConfigError, match="--folds: found 1"):
        command(files, tmp_path, "--folds=1")
    with pytest.raises(ConfigError, match=r"--against: .*'whole'"):
        command(files, tmp_path, f"--against={files['whole']}")
    with pytest.raises(ConfigError, match=r"data.fold: found '0/2'"):
        command(files, tmp_path, "--folds=2", "--config.data.fold=0/2")
