"""The ladder as a command, on a small network and real pictures."""

from __future__ import annotations

import csv
import json

import pytest
from PIL import Image

from experiments import freeze_ladder
from tests import tiny
from tests.commands import pictures
from tl_jax.completion import ConfigError
from tl_jax.config import complete

STAGES = [
    dict(name="head", train="head", duration="2 steps", lr=1e-2),
    dict(name="rest", train="all", duration="4 steps", lr=1e-3),
]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tiny.make_folder(tmp_path_factory.mktemp("pictures"))
    found = tiny.config(folder, stages=STAGES, model=dict(arch={**tiny.VIT, "num_hidden_layers": 2}))
    return pictures.write_config(tmp_path_factory.mktemp("config") / "small.py", found), complete(found)


def command(config, root, *flags):
    return freeze_ladder.main(["freeze_ladder", f"--config={config[0]}", f"--workdir={root}", *flags])


def test_a_ladder(config, tmp_path, capsys):
    root = tmp_path / "ladder"
    assert command(config, root, "--seeds=1", "--cuts=2,0") == 0
    printed = capsys.readouterr().out
    assert (root / "ladder.txt").read_text().strip() in printed
    found = json.loads((root / "ladder.json").read_text())
    assert [(rung["cut"], rung["train"]) for rung in found["rungs"]] == [(0, "all"), (2, "head")]
    trained = [rung["trained"] for rung in found["rungs"]]
    assert trained == sorted(trained, reverse=True)
    flops = [rung["flops"] for rung in found["rungs"]]
    assert flops == sorted(flops, reverse=True)
    assert found["rungs"][-1]["step"] is None
    for rung in found["rungs"]:
        assert len(rung["each"]) == 1
        assert rung["measures"]["auroc"]["low"] <= rung["measures"]["auroc"]["high"]
        assert rung["loss"]["value"] >= 0
    assert found["verdict"] in printed
    with open(root / "ladder.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["frozen"] for row in rows] == ["0", "2"]
    with Image.open(root / "ladder.png") as picture:
        assert picture.width > 600
    assert len(list(root.glob("cut-*/seed-*/result.json"))) == 2

    # One more cut costs no run a second time.
    assert command(config, root, "--seeds=1", "--cuts=0,1,2") == 0
    assert "2 of 3 runs are finished already" in capsys.readouterr().out
    rungs = json.loads((root / "ladder.json").read_text())["rungs"]
    assert [rung["train"] for rung in rungs] == ["all", "last 1", "head"]
    flops = [rung["flops"] for rung in rungs]
    assert flops == sorted(flops, reverse=True)


def test_the_earlier_stages_stay(config):
    found = freeze_ladder.cuts(config[1], ["1"])
    assert [dict(one.patch) for one in found] == [{"stages[1].train": "last 1"}]


def test_all_cuts_are_the_default(config):
    found = freeze_ladder.cuts(config[1], [])
    assert [one.facts["train"] for one in found] == ["all", "last 1", "head"]


def test_a_cut_deeper_than_the_network_is_refused(config, tmp_path):
    with pytest.raises(ConfigError, match=r"--cuts: found 5, x.*has 2 blocks"):
        command(config, tmp_path / "none", "--cuts=0,5,x")
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_a_dry_run_prints_the_cost_and_trains_nothing(config, tmp_path, capsys):
    assert command(config, tmp_path / "none", "--seeds=3", "--cuts=0,2", "--dry_run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["variation", "runs"]
    assert [line.split()[:2] for line in lines[1:3]] == [["cut-00", "3"], ["cut-02", "3"]]
    assert lines[3].startswith("6 runs, ")
    assert not (tmp_path / "none").exists()


def test_an_unknown_measure_names_those_there_are(config, tmp_path):
    with pytest.raises(ValueError, match=r"--measure=aurox: .*auroc"):
        command(config, tmp_path / "ladder", "--seeds=1", "--cuts=2", "--measure=aurox")
