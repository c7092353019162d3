"""Two arms on corrupted versions of their test pictures, as a command."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from experiments import robustness, seeds
from tests import tiny
from tests.commands import pictures
from tl_jax import compilation
from tl_jax.completion import ConfigError
from tl_jax.data.shift import Shift
from tl_jax.finished import open_run
from tl_jax.workdir import WorkdirError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """A folder of two arms with two seeds each."""
    folder, there = tiny.make_folder(tmp_path_factory.mktemp("p")), tmp_path_factory.mktemp("configs")
    stage = dict(train="all", duration="12 steps", lr=1e-2)
    files = [
        pictures.write_config(there / f"{name}.py", tiny.config(folder, stages=[dict(stage, train=name)]))
        for name in ("all", "head")
    ]
    root = tmp_path_factory.mktemp("grid")
    flags = [f"--config={files[0]}", f"--against={files[1]}", "--seeds=2", f"--workdir={root}"]
    assert seeds.main(["seeds", *flags]) == 0
    return root


def command(root, *flags):
    return robustness.main(["robustness", f"--workdir={root}", *flags])


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_two_arms(grid, capsys):
    assert command(grid, "--corruptions=noise,contrast+blur", "--severities=5,1", "--measure=nll") == 0
    printed = capsys.readouterr().out
    found = json.loads((grid / "robustness.json").read_text())
    losses, errors, differences, measures = found["tables"]
    assert [row["arm"] for row in losses] == ["all", "head"]
    for row in losses:
        rise = row["out"]["value"] - row["within"]["value"]
        assert row["lost"]["value"] == pytest.approx(rise), "of NLL more is worse"
        assert row["lost"]["low"] <= row["lost"]["value"] <= row["lost"]["high"]
    assert [(row["pictures"], row["severity"]) for row in differences] == [
        ("as they are", None),
        ("noise", 1),
        ("noise", 5),
        ("contrast+blur", 1),
        ("contrast+blur", 5),
        ("mean of corruptions", 1),
        ("mean of corruptions", 5),
        ("mean of all", None),
    ]
    by = {(row["pictures"], row["severity"], row["arm"]): row["nll"]["value"] for row in measures}
    for row in differences:
        at = row["pictures"], row["severity"]
        assert row["head"]["value"] == pytest.approx(by[*at, "head"] - by[*at, "all"])
    singles = [by[name, severity, "all"] for name in ("noise", "contrast+blur") for severity in (1, 5)]
    assert by["mean of all", None, "all"] == pytest.approx(np.mean(singles))
    assert by["mean of corruptions", 5, "all"] == pytest.approx(np.mean(singles[1::2]))
    assert found["verdict"] in printed
    assert "NLL lost, mean of 4 corrupted versions: " in printed
    assert "noise, severity 1: 4 runs" in printed
    assert [row["arm"] for row in table(grid / "robustness.csv")] == ["all", "head"]
    for name in ("robustness", "robustness-pictures"):
        with Image.open(grid / f"{name}.png") as picture:
            assert picture.width > 600
    by = {(row["pictures"], row["severity"], row["arm"]): row for row in measures}
    assert by["as they are", None, "all"]["ood_auroc"] is None
    assert 0 <= by["noise", 5, "all"]["ood_auroc"]["value"] <= 1
    shares = {(row["arm"], row["errors"]): row for row in errors}
    assert not any(arm == "all" for arm, _ in shares), "the reference's own would all be 1"
    wrong = {
        (arm, severity): 1 - by["noise", severity, arm]["accuracy"]["value"]
        for arm in ("all", "head")
        for severity in (1, 5)
    }
    share = (wrong["head", 1] + wrong["head", 5]) / (wrong["all", 1] + wrong["all", 5])
    assert shares["head", "all"]["noise"]["value"] == pytest.approx(share)
    mean = np.mean([shares["head", "all"][name]["value"] for name in ("noise", "contrast+blur")])
    assert shares["head", "all"]["mean"]["value"] == pytest.approx(mean)


def test_runs_of_no_grid(grid, capsys):
    """Each is an arm, called by what tells it from the others; the first one's folder gets the page."""
    runs = [grid / arm / "seed-0" for arm in ("all", "head")]
    flags = ["--corruptions=contrast", "--severities=3", "--reference=head/seed-0"]
    assert command(runs[0], f"--against={runs[1]}", *flags) == 0
    found = json.loads((runs[0] / "robustness.json").read_text())
    assert [row["arm"] for row in found["tables"][0]] == ["all/seed-0", "head/seed-0"]
    assert (runs[0] / "robustness.html").exists()
    assert "where head/seed-0 has 1" in capsys.readouterr().out
    assert command(runs[0], *flags[:2]) == 0
    alone = json.loads((runs[0] / "robustness.json").read_text())
    assert [row["arm"] for row in alone["tables"][0]] == ["seed-0"]
    assert len(alone["tables"]) == 2, "nothing to compare with"
    with pytest.raises(ValueError, match=r"--reference=other: the arms are all/seed-0, head/seed-0"):
        command(runs[0], f"--against={runs[1]}", *flags[:2], "--reference=other")
    with pytest.raises(WorkdirError, match="--against takes finished runs"):
        command(grid, f"--against={runs[1]}")


def test_the_numbers_are_those_of_the_runs_on_corrupted_pictures(grid):
    assert command(grid, "--corruptions=noise", "--severities=3") == 0
    rows = json.loads((grid / "robustness.json").read_text())["tables"][3]
    each = []
    for seed in (0, 1):
        run = open_run(grid / "all" / f"seed-{seed}")
        test = run.data().test
        shift = Shift("noise", 3)
        images = np.stack([shift.corrupted(*one) for one in zip(test.images, test.ids, strict=True)])
        logits = run.logits(type(test)(test.ids, test.labels, test.groups, images))
        each.append((logits.argmax(axis=1) == test.labels).mean())
    (row,) = (row for row in rows if (row["pictures"], row["arm"]) == ("noise", "all"))
    assert row["accuracy"]["value"] == pytest.approx(np.mean(each))


def test_runs_that_are_adapted_are_arms_of_their_own(grid):
    flags = ["--corruptions=contrast", "--severities=3", "--adapt=batch_norm", "--adapt=coral"]
    assert command(grid, *flags) == 0
    losses = json.loads((grid / "robustness.json").read_text())["tables"][0]
    names = ["all", "head"]
    assert [row["arm"] for row in losses] == [
        *names,
        *(f"{a} + {b}" for b in ("batch_norm", "coral") for a in names),
    ]
    by = {row["arm"]: row["out"]["value"] for row in losses}
    assert len(set(by.values())) > len(names), "what is fitted answers otherwise"


def test_a_seed_that_one_arm_lacks_is_left_out_and_pictures_that_changed_are_refused(grid, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(grid, copy)
    shutil.rmtree(copy / "head" / "seed-1")
    assert command(copy, "--corruptions=contrast", "--severities=1") == 0
    assert "left out, as not all arms have their seed: all/seed-1" in capsys.readouterr().out
    result = copy / "all" / "seed-0" / "result.json"
    text = json.loads(result.read_text())
    text["data"]["fingerprint"] = "of others"
    result.write_text(json.dumps(text))
    with pytest.raises(ValueError, match="all/seed-0: the pictures, labels or splits are not those"):
        command(copy, "--corruptions=contrast", "--severities=1")


def test_one_program_for_all_runs(grid, monkeypatch):
    kept = []
    compiled = compilation._compile
    monkeypatch.setattr(compilation, "_compile", lambda *a, **b: kept.append(a) or compiled(*a, **b))
    assert command(grid, "--corruptions=contrast,brightness", "--severities=2,4") == 0
    assert len(kept) == 1


def test_what_cannot_be_meant(grid, tmp_path):
    with pytest.raises(ConfigError, match=r"--corruptions: .*'fogg'(.|\n)*--severities: found 0, x"):
        command(grid, "--corruptions=noise,fogg", "--severities=0,x,3")
    with pytest.raises(WorkdirError, match="neither a finished run nor those of a grid"):
        command(tmp_path)
