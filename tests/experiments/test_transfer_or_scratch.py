"""Transfer against scratch as a command, on a small network and real pictures."""

from __future__ import annotations

import csv
import json

import pytest
from PIL import Image

from experiments import transfer_or_scratch
from tests import tiny
from tests.commands import pictures
from tl_jax import pretrained
from tl_jax.completion import ConfigError

STAGES = [dict(name="head", train="head", duration="2 steps"), dict(name="all", duration="2 steps", lr=1e-3)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A config, and the weights that it names."""
    folder, weights = (tmp_path_factory.mktemp(name) for name in ("pictures", "weights"))
    model, _ = pretrained.scratch(tiny.ARCH, num_classes=3)
    pretrained.export(model, weights, classes=["x", "y", "z"])
    return tiny.config(
        tiny.make_folder(folder, train=60), stages=STAGES, model=dict(pretrained=str(weights)), augment={}
    )


def command(made, root, *flags, **changes):
    root.mkdir(exist_ok=True)
    file = pictures.write_config(root / "small.py", {**made, **changes})
    argv = ["transfer_or_scratch", f"--config={file}", f"--workdir={root / 'out'}", *flags]
    return transfer_or_scratch.main(argv)


def test_arms_over_fractions(made, tmp_path, capsys):
    flags = ("--seeds=1", "--fractions=1,0.2", "--arms=scratch,lp_ft", "--lrs=scratch=1e-2")
    assert command(made, tmp_path, *flags) == 0
    printed, root = capsys.readouterr().out, tmp_path / "out"
    assert "0.2        12   6   6" in printed
    found = json.loads((root / "transfer.json").read_text())
    assert found["verdict"] in printed
    assert found["decided"].keys() == {"0.2", "1"}
    rows, times = found["tables"]
    arms = [(0.2, "scratch"), (0.2, "lp_ft"), (1, "scratch"), (1, "lp_ft")]
    assert [(row["labels"], row["arm"]) for row in rows] == arms
    assert {row["steps"] for row in rows} == {4}
    assert [row["pictures"] for row in rows] == [12, 12, 60, 60]
    assert [row["lr"] for row in rows[:2]] == [1e-2, 3e-4]
    assert rows[0]["tflop"] > rows[1]["tflop"] > 0, "half of LP-FT is a frozen network"
    assert [(row["labels"], row["arm"]) for row in times] == [(0.2, "lp_ft"), (1, "lp_ft")]
    assert all(0 < row["steps"] <= 4 and row["seconds"] > 0 for row in times)
    with open(root / "transfer.csv", newline="") as file:
        assert [row["arm"] for row in csv.DictReader(file)] == [arm for _, arm in arms]
    with Image.open(root / "transfer.png") as picture:
        assert picture.width > 600
    reports = {
        name: (root / name / "seed-0" / "load_report.txt").read_text()
        for name in ("labels-20-scratch-lr-0.01", "labels-20-lp_ft-lr-0.0003")
    }
    told = {name: "(0 leaves, 0 numbers loaded" in text for name, text in reports.items()}
    assert list(told.values()) == [True, False]


def test_the_grid_is_printed_before_it_runs(made, tmp_path, capsys):
    flags = ("--seeds=2", "--fractions=0.2,1", "--arms=scratch,full", "--budget=3 steps", "--dry_run")
    assert command(made, tmp_path, *flags) == 0
    printed = capsys.readouterr().out
    assert [line.split()[:2] for line in printed.splitlines() if "-lr-" in line] == [
        [f"labels-{share}-{arm}-lr-0.001", "2"] for share in (20, 100) for arm in ("scratch", "full")
    ]
    assert not (tmp_path / "out").exists()


def test_every_mistake_is_told_at_once(made, tmp_path):
    flags = ("--fractions=0,2,x", "--arms=scrach,full", "--lrs=fll=1e-3,full=fast", "--budget=3 meters")
    with pytest.raises(ConfigError) as caught:
        command(made, tmp_path, *flags, model=dict(arch=tiny.ARCH))
    assert [one.partition(":")[0] for one in caught.value.problems] == [
        "model.pretrained",
        "--fractions",
        "--arms",
        "--budget",
        "--lrs",
    ]
    text = str(caught.value)
    assert "nothing to transfer" in text
    assert "found 0, 2, x; give shares above 0 and up to 1" in text
    assert "did you mean scratch?" in text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "changes", "words"),
    [
        (["--arms=full,own"], {}, "give scratch, which the others are compared with"),
        (["--fractions=0.01,0.02,1"], {}, "keeps the same 4 of 60 pictures as 0.02"),
        (["--budget=1 steps", "--fractions=1"], {}, "1 steps is too short for 2 stages"),
        (["--lrs=full=1e-3/0"], {}, "give rates above 0"),
    ],
)
def test_what_cannot_be_meant(made, tmp_path, flags, changes, words):
    with pytest.raises(ConfigError, match=words):
        command(made, tmp_path, *flags, **changes)


def test_what_the_experiment_sets_itself(made, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.train_fraction: found 0\.5; --fractions sets it"):
        command(made, tmp_path, data={**made["data"], "train_fraction": 0.5})
    with pytest.raises(ConfigError, match=r"model\.keep: found 'stem'"):
        command(made, tmp_path, model={**made["model"], "keep": "stem"})
