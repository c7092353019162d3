"""report.html of real runs: written at the end, made anew, left out, and never the end of a run."""

from __future__ import annotations

import json
import logging
import shutil

import numpy as np
import pytest

import tl_jax
from tests.commands import pictures
from tests.report.reading import Page
from tl_jax import main, run_report
from tl_jax.report import __main__ as anew
from tl_jax.workdir import Workdir

ONE_STAGE = [dict(duration="2 steps", train="head")]


def sources(html: str) -> list[str | None]:
    return [one["src"] for one in Page(html).all("img")]


def test_a_run_ends_with_a_report(finished):
    page = Page((finished / "report.html").read_text(encoding="utf-8"))
    result = json.loads((finished / "result.json").read_text())
    assert f"AUROC {result['test']['auroc']['value']:.3f}" in page.text
    assert result["versions"]["tl_jax"] in page.text
    assert result["data"]["fingerprint"] in page.text
    assert "stage 2 'all'" in page.text
    assert len(page.all("svg")) == 7
    (a, b), (c, d) = result["test"]["confusion"]["at_threshold"]
    assert a + b + c + d == 24
    assert len(page.all("img")) == run_report.SHOWN + 2 * (min(b + c, 4) + 4 + 4)
    counts = {name: one["classes"] for name, one in result["data"]["counts"].items()}
    assert counts["train"] == {"healthy": 20, "sick": 20}
    assert (finished / "log.txt").read_text().splitlines()[-1].endswith(f"report: {finished / 'report.html'}")


def test_the_same_report_is_made_anew(finished, tmp_path, capsys):
    copy = tmp_path / "finished"
    shutil.copytree(finished, copy)
    (copy / "report.html").unlink()
    assert anew.main(["", f"--workdir={copy}"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(copy / "report.html")
    before, after = ((root / "report.html").read_text(encoding="utf-8") for root in (finished, copy))
    assert Page(before).text == Page(after).text
    # Heat maps may differ in a bit, photographs and training pictures do not.
    was, now = sources(before), sources(after)
    assert len(was) == len(now)
    assert was[: run_report.SHOWN] == now[: run_report.SHOWN]
    assert was[run_report.SHOWN :: 2] == now[run_report.SHOWN :: 2]


def test_data_that_are_gone_are_said_to_be(finished, tmp_path, capsys):
    copy = tmp_path / "finished"
    shutil.copytree(finished, copy)
    config = json.loads((copy / "config.json").read_text())
    config["data"]["root"] = str(tmp_path / "moved")
    (copy / "config.json").write_text(json.dumps(config))
    assert anew.main(["", f"--workdir={copy}"]) == 0
    assert "the run's data cannot be read any more" in capsys.readouterr().out
    page = Page((copy / "report.html").read_text(encoding="utf-8"))
    assert page.all("img") == []
    assert "cannot be read any more" in page.text
    assert len(page.all("svg")) == 7


def test_other_pictures_are_not_shown_for_the_runs_own(finished, photographs, tmp_path, capsys):
    other, copy = tmp_path / "photographs", tmp_path / "finished"
    shutil.copytree(photographs, other)
    next((other / "test").rglob("*.png")).unlink()
    shutil.copytree(finished, copy)
    config = json.loads((copy / "config.json").read_text())
    config["data"]["root"] = str(other)
    (copy / "config.json").write_text(json.dumps(config))
    assert anew.main(["", f"--workdir={copy}"]) == 0
    assert "the data have changed since the run" in capsys.readouterr().out


def test_off_on_the_command_line_and_no_other_config(photographs, tmp_path, capsys):
    file = pictures.write_config(
        tmp_path / "c.py", pictures.config(photographs, stages=ONE_STAGE, report=dict(enabled=True))
    )
    arguments = ["", f"--config={file}", f"--workdir={tmp_path / 'run'}"]
    assert main.main([*arguments, "--config.report.enabled=false"]) == 0
    assert not (tmp_path / "run" / "report.html").exists()
    assert "report" not in capsys.readouterr().out
    assert main.main(arguments) == 0, "it is the same run"
    assert "nothing to do" in capsys.readouterr().out
    first = tl_jax.config.complete(pictures.config(photographs))
    second = tl_jax.config.complete(pictures.config(photographs, report=dict(enabled=False)))
    assert tl_jax.config.digest(first) == tl_jax.config.digest(second)
    assert tl_jax.config.digest(first) != tl_jax.config.digest({**first.to_dict(), "seed": 5})


def test_the_path_is_the_last_line(photographs, tmp_path, capsys):
    file = pictures.write_config(
        tmp_path / "c.py", pictures.config(photographs, stages=ONE_STAGE, report=dict(enabled=True))
    )
    arguments = ["", f"--config={file}", f"--workdir={tmp_path / 'run'}"]
    for _ in range(2):  # trained, then finished already
        assert main.main(arguments) == 0
        assert capsys.readouterr().out.splitlines()[-1] == f"report: {tmp_path / 'run' / 'report.html'}"


def test_a_report_that_fails_is_a_warning(photographs, tmp_path, monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(run_report, "write", broken)
    with caplog.at_level(logging.WARNING, "tl_jax"):
        result = tl_jax.run(
            pictures.config(photographs, stages=ONE_STAGE, report=dict(enabled=True)), tmp_path / "run"
        )
    assert result["steps"] == 2
    assert Workdir(tmp_path / "run").result.exists()
    assert "no report (ZeroDivisionError: of all things)" in caplog.text
    assert "python -m tl_jax.report" in caplog.text


def test_training_pictures_are_those_of_the_first_step(photographs):
    """What the step itself makes of the first batch, mixing included."""
    settings = pictures.config(photographs, augment=dict(flip=True, rotate=9.0, mixup=0.4), seed=3)
    job = tl_jax.job.prepare(tl_jax.config.complete(settings), say=lambda line: None)
    shown = run_report.first_batch(job.config, job.data.train, job.recipe, job.data.classes)
    index = tl_jax.data.order.indices(3, 0, 16, len(job.data.train))
    assert [one.id for one in shown] == job.data.train.ids[index[: run_report.SHOWN]].tolist()
    assert {one.image.shape for one in shown} == {(32, 32, 3)}
    assert any("%" in one.label for one in shown)
    plain = np.asarray(job.data.train.images[index[:1]])[0]
    assert plain.shape != shown[0].image.shape or (plain != shown[0].image).any()


def test_pictures_that_nothing_changes_are_shown_as_they_are(photographs):
    settings = pictures.config(photographs, augment={})
    job = tl_jax.job.prepare(tl_jax.config.complete(settings), say=lambda line: None)
    shown = run_report.first_batch(job.config, job.data.train, job.recipe, job.data.classes)
    rows = {str(name): row for row, name in enumerate(job.data.train.ids)}
    for one in shown:
        np.testing.assert_array_equal(one.image, job.data.train.images[rows[one.id]])
        assert one.label == job.data.classes[job.data.train.labels[rows[one.id]]]


def test_the_command_needs_a_finished_run(tmp_path):
    with pytest.raises(RuntimeError, match="is not there"):
        anew.main(["", f"--workdir={tmp_path / 'none'}"])
