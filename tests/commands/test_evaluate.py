"""A finished run on other data: its own decision, overall and by subgroup."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tl_jax
from tests.commands import pictures
from tl_jax import evaluate
from tl_jax.data.table import Table


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


def test_data_that_a_function_gave(photographs, tmp_path):
    """Such a run is opened again by the function's name, which a flag may name as well."""
    settings = pictures.config(photographs, stages=[dict(duration="1 steps", train="head")])
    settings["data"] = dict(source=discs, image_size=32, fractions=dict(val=0.3, test=0.3), min_val=0)
    tl_jax.run(settings, tmp_path / "run")
    found = call(tmp_path / "run", "--by=site")
    assert found["data"]["source"] == f"{__name__}:discs"
    assert {name: one["n"] for name, one in found["by"]["site"].items()} == {"north": 40, "south": 40}
    again = call(tmp_path / "run", f"--data.source={__name__}:discs", "--evaluation.batch_size=7")
    assert again["overall"]["auroc"] == found["overall"]["auroc"]
    with pytest.raises(ValueError, match="cannot be imported"):
        call(tmp_path / "run", "--data.source=nowhere:discs")


def discs(config) -> Table:
    patients = np.arange(80) // 2

    def read(i, at_least=None):
        y, x = np.mgrid[:32, :32] - 15.5
        picture = 100 + 60 * (patients[i] % 2) * (np.hypot(x, y) < 8) + 0 * i
        return np.repeat(picture[..., None], 3, 2).astype(np.uint8)

    return Table(
        ids=np.array([f"{i}" for i in range(80)]),
        labels=np.where(patients % 2, "sick", "healthy"),
        groups=patients.astype(str),
        splits=np.full(80, ""),
        read=read,
        stamp=str,
        columns={"site": np.where(patients < 20, "north", "south")},
        grouped=True,
    )


def test_shifted_versions_of_the_same_pictures(finished, by_csv, photographs, capsys):
    own = call(finished, *by_csv)["overall"]
    flipped = call(finished, *by_csv, "--data.shift.labels=flip")
    assert flipped["overall"]["accuracy"]["value"] == pytest.approx(1 - own["accuracy"]["value"])
    assert flipped["overall"]["auroc"]["value"] == pytest.approx(1 - own["auroc"]["value"])
    assert (
        "labels are shifted: what is healthy is called sick, what is sick is called healthy"
        in flipped["notes"]
    )
    noisy = call(finished, *by_csv, "--data.shift.corruption=noise+contrast", "--data.shift.severity=5")
    assert noisy["overall"]["n"] == own["n"]
    assert noisy["overall"]["nll"]["value"] != own["nll"]["value"]
    assert noisy["data"]["shift"]["severity"] == 5
    capsys.readouterr()
    call(finished, "--data.shift.corruption=blur")
    assert (finished / "evaluations" / f"{photographs.name}-blur-3").is_dir()
    printed = capsys.readouterr().out
    assert "pictures are corrupted: blur, severity 3" in printed
    assert "these are the run's own pictures" in printed
    with pytest.raises(SystemExit):
        call(finished, "--data.shift.corruption=fogg")
    assert '"contrast" | "brightness"' in capsys.readouterr().err


def test_flags_are_rewritten_at_their_start_only(finished, photographs, tmp_path):
    copy = tmp_path / "r" / "a-config.data.b"
    copy.parent.mkdir()
    copy.symlink_to(finished)
    assert call(copy, f"--data.root={photographs}", f"--output={tmp_path / 'x-data.y'}")["overall"]["n"] == 88
    assert (tmp_path / "x-data.y" / "evaluation.json").exists()
