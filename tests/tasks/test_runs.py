"""Findings and numbers from a table to a report, by the commands that a run of classes goes through."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import tiny
from tl_jax import adapt, evaluate, export, features, folds, predict, pretrained
from tl_jax.config import complete
from tl_jax.finished import open_run
from tl_jax.interrupt import Interrupted, Stop
from tl_jax.runs import run
from tl_jax.workdir import Workdir

COLUMNS = {"multi_label": ("disc", "bar"), "regression": ("radius",)}
BETTER = {"multi_label": "auroc", "regression": "rmse"}


def table(root: Path, n: int = 96) -> Path:
    """Pictures with a disc, a bar, both or neither, two a patient, and what is in them, some unknown."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]
    rows = []
    for i in range(n):
        picture = random.normal(90, 20, (32, 32))
        disc, bar, radius = random.random() < 0.5, random.random() < 0.5, random.uniform(3, 11)
        picture += 90 * (np.hypot(y - 16, x - 16) < radius) if disc else 0
        picture[:, 2:5] += 90 if bar else 0
        file = f"p{i // 2}-{i % 2}.png"
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(root / file)
        seen = ("", "-1")[i % 2] if i % 10 == 9 else str(int(disc))
        size = f"{1000 + 10 * radius * disc:.1f}"
        rows.append([file, f"p{i // 2}", seen, str(int(bar)), size, "a note"])
    with open(root / "table.csv", "w", newline="") as file:
        csv.writer(file).writerows([["path", "patient", "disc", "bar", "radius", "remark"], *rows])
    return root / "table.csv"


def config(manifest: Path, task: str, **changes):
    found = tiny.config(manifest.parent, task=task, select=dict(metric=BETTER[task]), **changes)
    columns = dict(labels=COLUMNS[task], group="patient")
    found["data"] = dict(source="csv", manifest=str(manifest), columns=columns, image_size=32, cache="")
    found["data"]["fractions"] = dict(val=0.25, test=0.25)
    found["stages"] = [
        dict(name="head", duration="2 epochs", train="head", lr=1e-2),
        dict(name="all", duration="6 epochs", train="all", lr=1e-2),
    ]
    return found


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    return table(tmp_path_factory.mktemp("table"))


@pytest.fixture(scope="module", params=COLUMNS)
def task(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def finished(manifest, task, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / task
    return workdir, run(config(manifest, task, report=dict(enabled=True)), workdir, quiet=True)


def test_it_learns(finished, task):
    _, result = finished
    if task == "multi_label":
        assert result["test"]["auroc"]["value"] > 0.85
        assert result["test"]["known"]["disc"] < result["test"]["n"]
        assert result["data"]["counts"]["train"]["missing"]["disc"] > 0
        assert any("not sure" in note for note in result["data"]["notes"])
    else:
        assert result["test"]["r2"]["value"] > 0.5
        assert result["test"]["half"]["radius"] < 80
        assert result["test"]["coverage"]["value"] > 0.6
    assert result["classes"] == list(COLUMNS[task])


def test_the_report_has_all_of_it(finished, task):
    workdir, _ = finished
    page = (workdir / "report.html").read_text()
    for words in (*COLUMNS[task], "Most wrong", "ROC" if task == "multi_label" else "Predicted and true"):
        assert words in page
    assert "Confusion" not in page


def test_predictions_are_those_of_the_run(finished, manifest, task, tmp_path, capsys):
    workdir, _ = finished
    assert (
        predict.main(["", f"--workdir={workdir}", f"--input={manifest.parent}", f"--output={tmp_path}/p.csv"])
        == 0
    )
    with open(tmp_path / "p.csv") as file:
        told = {row["id"]: row for row in csv.DictReader(file)}
    with open(Workdir(workdir).predictions("test")) as file:
        own = list(csv.DictReader(file))
    assert own
    last = ("logit_" if task == "multi_label" else "predicted_") + COLUMNS[task][0]
    for row in own:
        np.testing.assert_allclose(float(told[row["id"]][last]), float(row[last]), rtol=1e-3, atol=1e-3)
        assert row["remark"] == "a note"


def test_the_exported_network_answers_in_units(finished, task, tmp_path):
    """As anybody reads it who knows nothing of tasks."""
    workdir, _ = finished
    opened = open_run(workdir)
    problem = {"multi_label": "multi_label_classification", "regression": "regression"}[task]
    assert json.loads((workdir / "model" / "config.json").read_text())["problem_type"] == problem
    assert export.main(["", f"--workdir={workdir}", f"--output={tmp_path}/out"]) == 0
    model, _ = pretrained.load(tmp_path / "out")
    pictures = opened.data().test
    outputs = model(opened.recipe.input.network(pictures.images[:8]))
    if task == "regression":
        assert np.all(np.asarray(outputs) > 800)
    np.testing.assert_allclose(outputs, opened.logits(pictures)[:8], rtol=1e-4, atol=1e-3)


def test_measured_again_it_is_the_same(finished, manifest, task, tmp_path):
    workdir, result = finished
    assert evaluate.main(["", f"--workdir={workdir}", "--by=remark", f"--output={tmp_path}/e"]) == 0
    found = json.loads((tmp_path / "e" / "evaluation.json").read_text())
    assert found["overall"]["n"] == 96
    assert found["by"]["remark"]["a note"]["n"] == 96
    assert found["overall"].keys() == result["test"].keys()


def test_what_layers_make_of_them_can_be_had(finished, task, tmp_path):
    workdir, _ = finished
    assert features.main(["", f"--workdir={workdir}", f"--output={tmp_path}/f.npz", "--layer=neck"]) == 0
    with np.load(tmp_path / "f.npz") as file:
        assert file["labels"].shape == (96, len(COLUMNS[task]))


def test_statistics_can_be_adapted(finished, manifest, tmp_path):
    workdir, _ = finished
    assert (
        adapt.main(["", f"--workdir={workdir}", f"--input={manifest.parent}", f"--output={tmp_path}/a"]) == 0
    )


def test_a_run_goes_on_where_another_ended(finished, manifest, task, tmp_path):
    """The head of a finished run, which answers in units, is taken over as it is."""
    workdir, result = finished
    found = config(manifest, task, model=dict(pretrained=str(workdir)))
    found["stages"] = [dict(duration="1 steps", train="head", lr=1e-9)]
    again = run(found, tmp_path / "again", quiet=True)
    measure = BETTER[task]
    assert again["test"][measure]["value"] == pytest.approx(result["test"][measure]["value"], rel=1e-3)


@pytest.mark.slow
def test_interrupted_it_ends_with_the_same_numbers(finished, manifest, task, tmp_path):
    _, result = finished

    class After(Stop):
        def __init__(self):
            super().__init__()
            self.left = 12

        def check(self):
            self.left -= 1
            if self.left < 0:
                raise Interrupted("enough")

    with pytest.raises(Interrupted):
        run(config(manifest, task), tmp_path / "run", stop=After(), quiet=True)
    again = run(config(manifest, task), tmp_path / "run", quiet=True)
    assert again["test"] == result["test"]


def test_folds_are_pooled(manifest, task, tmp_path):
    found = config(manifest, task)
    found["stages"] = [dict(duration="2 epochs", train="head", lr=1e-2)]
    result = folds.run_folds(complete(found), tmp_path / "folds", 2)
    assert result["test"]["n"] == 96
    assert result["test"][BETTER[task]]["value"] is not None
