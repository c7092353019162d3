"""The mean of finished runs as a run, as a command."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.commands import pictures
from tl_jax import predict, soup
from tl_jax.backbones.anatomy import split
from tl_jax.finished import open_run
from tl_jax.report import __main__ as report
from tl_jax.runs import run


def command(*flags):
    return soup.main(["soup", *map(str, flags)])


@pytest.fixture(scope="module")
def seeds(finished, photographs, tmp_path_factory):
    """Workdirs of runs that differ in their seed, from the network of `finished` on."""
    found = []
    for seed in range(2):
        config = pictures.config(photographs, seed=seed)
        config["model"] = dict(pretrained=str(finished / "model"))
        config["stages"] = [dict(train="last 1", lr=1e-2, duration="3 steps")]
        found.append(tmp_path_factory.mktemp(f"seed-{seed}"))
        run(config, found[-1], quiet=True)
    return found


def test_the_mean_of_seeds_is_a_run_for_the_other_commands(seeds, photographs, tmp_path, capsys):
    output = tmp_path / "soup"
    assert command(f"--workdir={seeds[0]}", f"--others={seeds[1]}", f"--output={output}") == 0
    told = json.loads((output / "result.json").read_text())
    assert told["soup"] == [str(one) for one in seeds]
    lines = capsys.readouterr().out.splitlines()
    at = lines.index(next(line for line in lines if line.split()[:1] == ["validation"]))
    each = [json.loads((one / "result.json").read_text())["val"]["auroc"]["value"] for one in seeds]
    shown = [float(line.split()[-1]) for line in lines[at + 1 : at + 4]]
    assert shown == pytest.approx([*each, told["val"]["auroc"]["value"]], abs=1e-4)

    mean, *parts = (split(open_run(one).model)[1] for one in (output, *seeds))
    for path, leaf in mean.items():
        own = [np.asarray(part[path], np.float64) for part in parts]
        np.testing.assert_allclose(leaf, sum(own) / 2, atol=1e-7, err_msg=path)
    assert any((np.asarray(parts[0][path]) != np.asarray(parts[1][path])).any() for path in mean)

    with pytest.raises(ValueError, match="made of finished runs, and no training of its own to report"):
        report.main(["report", f"--workdir={output}"])

    # What was measured is what the folder answers.
    flags = [f"--workdir={output}", f"--input={photographs / 'test'}", f"--output={tmp_path / 'new.csv'}"]
    assert predict.main(["predict", *flags]) == 0
    kept = sorted(pictures.read_csv(output / "predictions_test.csv"), key=lambda row: row["id"])
    new = sorted(pictures.read_csv(tmp_path / "new.csv"), key=lambda row: row["id"])
    assert [float(row["probability_sick"]) for row in new] == pytest.approx(
        [float(row["probability_sick"]) for row in kept], abs=1e-5
    )


def test_runs_that_have_nothing_in_common(seeds, finished, tmp_path):
    with pytest.raises(ValueError) as told:
        command(f"--workdir={seeds[0]}", f"--others={finished},{seeds[0]}", f"--output={tmp_path / 'x'}")
    text = str(told.value)
    assert f"{finished} differs from {seeds[0]} in its pretrained weights" in text
    assert f"{finished} did not begin with pretrained weights" in text
    assert f"{seeds[0]} is named 2 times" in text
    assert not (tmp_path / "x").exists()


def test_what_cannot_be_meant(seeds, tmp_path, capsys):
    with pytest.raises(SystemExit):
        command(f"--workdir={seeds[0]}")
    assert "--others: is missing; name one finished run or more" in capsys.readouterr().err
    (tmp_path / "there").write_text("")
    with pytest.raises(ValueError, match="is not empty; choose another folder by --output"):
        command(f"--workdir={seeds[0]}", f"--others={seeds[1]}", f"--output={tmp_path}")
