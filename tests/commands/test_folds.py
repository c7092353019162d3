"""Cross-validation: each picture tested once, by a network that never saw its patient."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.commands import pictures
from tl_jax import flags, folds, pooled
from tl_jax import main as entry
from tl_jax.workdir import Workdir, WorkdirError


@pytest.fixture(scope="module")
def arguments(photographs, tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("folds")
    config = pictures.config(photographs, stages=[dict(duration="2 epochs", train="all", lr=3e-3)])
    file = pictures.write_config(folder / "c.py", config)
    return ["", f"--config={file}", "--folds=2", f"--workdir={folder / 'run'}"]


@pytest.fixture(scope="module")
def pool(arguments) -> Workdir:
    assert folds.main(arguments) == 0
    return Workdir(arguments[-1].partition("=")[2])


def test_every_picture_once(pool, photographs):
    rows = pictures.read_csv(pool.predictions("test"))
    there = {path.relative_to(photographs).as_posix() for path in photographs.rglob("p*-*")}
    assert len(rows) == len(there) == 88
    assert {row["id"] for row in rows} == there
    patients = {(row["fold"], row["group"]) for row in rows}
    assert len(patients) == len({group for _, group in patients}) == 44


def test_the_pooled_measures(pool):
    result = json.loads(pool.result.read_text())
    rows = pictures.read_csv(pool.predictions("test"))
    truth = [row["label"] == "sick" for row in rows]
    chance = [float(row["probability_sick"]) for row in rows]
    test = result["test"]
    assert test["auroc"]["value"] == pytest.approx(roc_auc_score(truth, chance), abs=1e-3)
    right = np.mean([row["decision"] == row["label"] for row in rows])
    assert test["accuracy_at_threshold"]["value"] == pytest.approx(right)
    half = np.mean(
        [
            (float(row["logit_sick"]) > float(row["logit_healthy"])) == t
            for row, t in zip(rows, truth, strict=True)
        ]
    )
    assert test["accuracy"]["value"] == pytest.approx(half)
    called = [row["decision"] == "sick" for row in rows]
    assert test["sensitivity"]["value"] == pytest.approx(
        np.mean([c for c, t in zip(called, truth, strict=True) if t])
    )
    assert test["n_groups"] == 44
    assert test["auroc"]["low"] is not None
    nll = -np.mean(np.log([c if t else 1 - c for c, t in zip(chance, truth, strict=True)]))
    assert test["nll_calibrated"]["value"] == pytest.approx(nll, abs=1e-4)


def test_mean_and_spread_over_folds(pool):
    result = json.loads(pool.result.read_text())
    values = [
        json.loads((pool.root / f"fold-{i}" / "result.json").read_text())["test"]["auroc"]["value"]
        for i in range(2)
    ]
    found = result["over_folds"]["auroc"]
    assert found == {
        "mean": pytest.approx(np.mean(values)),
        "sd": pytest.approx(np.std(values, ddof=1)),
        "n": 2,
    }
    assert [one["test"]["auroc"] for one in result["each"]] == values


def test_again_nothing_is_trained_and_the_result_is_the_same(pool, arguments, capsys):
    before = json.loads(pool.result.read_text())
    assert folds.main(arguments) == 0
    assert capsys.readouterr().out.count("nothing to do") == 2
    assert json.loads(pool.result.read_text()) == before


def test_a_fold_that_fails_is_told_and_the_others_are_pooled(pool, arguments, tmp_path, capsys, monkeypatch):
    # Without its result the second fold starts again, and cannot read what it left.
    copy = shutil.copytree(pool.root, tmp_path / "run")
    (copy / "fold-1" / "result.json").unlink()
    shutil.rmtree(copy / "fold-1" / "checkpoints")
    (copy / "fold-1" / "checkpoints").write_text("a file in the way")
    assert folds.main([*arguments[:-1], f"--workdir={copy}"]) == 1
    output = capsys.readouterr()
    assert "fold 1/2 failed" in output.err
    assert "1 of 2 folds failed" in output.out
    result = json.loads((copy / "result.json").read_text())
    assert list(result["failed"]) == ["1/2"]
    assert result["test"]["n"] == result["each"][0]["n"] < 88


def test_another_number_of_folds_needs_another_folder(pool, arguments, tmp_path):
    copy = shutil.copytree(pool.root, tmp_path / "run")
    with pytest.raises(WorkdirError, match=r"data\.fold: '0/2' → '0/3'"):
        folds.main([arguments[0], arguments[1], "--folds=3", f"--workdir={copy}"])
    assert (copy / "result.json").read_bytes() == pool.result.read_bytes()


def test_more_folds_than_groups_is_one_message(arguments, tmp_path):
    with pytest.raises(ValueError, match="there are only"):
        folds.main([*arguments[:2], "--folds=99", f"--workdir={tmp_path}"])
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "fold-0"}


def test_folds_and_single_runs_keep_out_of_each_others_folders(arguments, tmp_path):
    """By default they have different ones."""
    assert flags.parse(arguments[:2], suffix="-folds").workdir == "runs/c-folds"
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "result.json").write_text('{"kept": true}')
    with pytest.raises(WorkdirError, match="holds a single run"):
        folds.main([*arguments[:-1], f"--workdir={tmp_path}"])
    assert json.loads((tmp_path / "result.json").read_text()) == {"kept": True}


def test_a_single_run_refuses_the_folder_of_folds(pool, arguments):
    before = pool.result.read_text()
    with pytest.raises(WorkdirError, match="holds the folds"):
        entry.main([*arguments[:2], arguments[-1]])
    assert pool.result.read_text() == before


def test_a_config_with_a_fold_of_its_own(arguments, tmp_path):
    with pytest.raises(ValueError, match="leave it empty"):
        folds.main([*arguments[:-1], f"--workdir={tmp_path}", "--config.data.fold=0/2"])


def test_folds_that_share_a_picture_are_not_pooled(pool):
    one = pooled.read_fold("0/2", pooled.folder(pool.root, 0))
    with pytest.raises(WorkdirError, match="pictures are in the test split of two folds"):
        pooled.check([one, one])
