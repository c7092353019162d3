"""A finished run on other data: its own decision, overall and by subgroup."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.commands import pictures
from tl_jax import evaluate


def call(workdir, *more: str) -> dict:
    output = next((word.partition("=")[2] for word in more if word.startswith("--output=")), "")
    before = set(workdir.glob("evaluations/*"))
    assert evaluate.main(["", f"--workdir={workdir}", *more]) == 0
    folder = output or (set(workdir.glob("evaluations/*")) - before).pop()
    with open(f"{folder}/evaluation.json") as file:
        return json.load(file)


@pytest.fixture
def by_csv(photographs, tmp_path) -> list[str]:
    manifest = pictures.write_manifest(tmp_path / "m.csv", photographs, "test")
    return [
        "--data.source=csv",
        f"--data.manifest={manifest}",
        f"--data.root={photographs}",
        "--data.columns.group=patient",
        "--data.group=",
        f"--output={tmp_path / 'out'}",
    ]


def test_the_test_split_again_gives_the_runs_own_numbers(finished, by_csv, capsys):
    found = call(finished, *by_csv)
    own = json.loads((finished / "result.json").read_text())
    for name in ("auroc", "accuracy", "sensitivity", "specificity", "nll_calibrated", "ece"):
        for bound in ("value", "low", "high"):
            assert found["overall"][name][bound] == pytest.approx(own["test"][name][bound], abs=1e-5)
    assert found["decision"] == own["decision"]
    assert "24 pictures, measured with the run's own calibration" in capsys.readouterr().out


def test_subgroups(finished, by_csv, tmp_path, capsys):
    found = call(finished, *by_csv, "--by=site,sex,age")
    assert {name: one["n"] for name, one in found["by"]["site"].items()} == {"north": 16, "south": 8}
    assert {name: one["n"] for name, one in found["by"]["sex"].items()} == {"f": 12, "m": 12}
    assert {name: one["n"] for name, one in found["by"]["age"].items()} == {
        "20…25": 6,
        "26…31": 6,
        "32…37": 6,
        "38…43": 6,
    }
    rows = [row for row in pictures.read_csv(tmp_path / "out" / "predictions.csv") if row["site"] == "south"]
    right = np.mean([row["decision"] == row["label"] for row in rows])
    assert found["by"]["site"]["south"]["accuracy_at_threshold"]["value"] == pytest.approx(right)
    assert "38…43" in capsys.readouterr().out


def test_one_class_only_leaves_what_needs_both_undefined(finished, photographs, tmp_path, capsys):
    manifest = pictures.write_manifest(tmp_path / "m.csv", photographs, "test", only="sick")
    found = call(
        finished,
        "--data.source=csv",
        f"--data.manifest={manifest}",
        f"--data.root={photographs}",
        f"--output={tmp_path / 'out'}",
        "--by=sex",
    )
    overall = found["overall"]
    assert overall["n"] == 12
    assert overall["sensitivity"]["value"] is not None
    for name in ("auroc", "specificity"):
        assert overall[name]["value"] is None
        assert overall[name]["why"]
    assert "undefined" in capsys.readouterr().out


def test_another_folder_goes_to_a_new_place_each_time(finished, photographs):
    first = call(finished, f"--data.root={photographs}", "--evaluation.prevalence=0.1")
    assert first["overall"]["n"] == 88
    assert first["overall"]["ppv_at_prevalence"]["value"] is not None
    call(finished, f"--data.root={photographs / 'test'}")
    call(finished, f"--data.root={photographs / 'test'}")
    names = {path.name for path in (finished / "evaluations").iterdir()}
    assert names >= {"test", "test-2", photographs.name}


def test_unknown_classes_columns_and_flags(finished, photographs, by_csv, tmp_path, capsys):
    other = tmp_path / "other" / "covid"
    other.mkdir(parents=True)
    for path in (photographs / "test" / "sick").glob("*.png"):
        (other / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="covid"):
        call(finished, f"--data.root={other.parent}")
    with pytest.raises(ValueError, match="did you mean 'site'"):
        call(finished, *by_csv, "--by=sit")
    for flag, text in (
        ("--data.fit=pad", "settled"),
        ("--data.rooot=x", "did you mean"),
        ("--config.seed=3", "only data"),
        ("--dta.root=x", "no such flag"),
    ):
        with pytest.raises(SystemExit) as ended:
            call(finished, flag)
        assert ended.value.code == 2
        assert text in capsys.readouterr().err
