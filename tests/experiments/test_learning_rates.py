"""A grid of rates and decays as a command."""

from __future__ import annotations

import json

import numpy as np
import pytest

from experiments import learning_rates
from tests import tiny
from tests.commands import pictures
from tl_jax.completion import ConfigError
from tl_jax.config import complete

STAGES = [dict(name="all", train="all", duration="4 steps", lr=1e-3)]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tiny.make_folder(tmp_path_factory.mktemp("pictures"))
    config = tiny.config(folder, stages=STAGES, augment={}, select=dict(metric="nll"))
    return pictures.write_config(tmp_path_factory.mktemp("config") / "small.py", config)


def command(file, root, *flags):
    return learning_rates.main(["learning_rates", f"--config={file}", f"--workdir={root}", *flags])


@pytest.mark.slow
def test_a_grid(file, tmp_path, capsys):
    assert command(file, tmp_path, "--lrs=1e-5,1e-2", "--decays=1.0,0.5", "--seeds=2") == 0
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "rates.json").read_text())
    (cells,) = found["tables"]
    means = {(one["lr"], one["decay"]): np.mean([one["run_1"], one["run_2"]]) for one in cells}
    assert len(means) == 4
    assert [one["mean"] for one in cells] == [pytest.approx(means[one["lr"], one["decay"]]) for one in cells]
    best = min(means, key=means.__getitem__)
    assert (found["chosen"]["lr"], found["chosen"]["decay"]) == best
    assert best[0] == 1e-2, "a rate of 1e-5 moves nothing in four steps"
    assert f"Take lr=0.01, layer_decay={best[1]:g}: nll " in printed
    assert "the highest that was tried" in printed
    assert (tmp_path / "rates.png").stat().st_size > 10_000
    run = json.loads((tmp_path / "lr-0.01-decay-0.5" / "seed-1" / "config.json").read_text())
    assert (run["stages"][0]["lr"], run["stages"][0]["layer_decay"], run["seed"]) == (0.01, 0.5, 1)


def test_rates_around_the_configs_own_are_the_default(file):
    config = complete(tiny.config("pictures", stages=STAGES))
    found = learning_rates.variations(config, [1e-3 * 10 ** (k / 2) for k in range(-2, 3)], [0.9])
    assert [one.facts["lr"] for one in found] == [1e-4, 3.16e-4, 1e-3, 3.16e-3, 1e-2]
    assert len(learning_rates.variations(config, [1e-3, 1.0001e-3], [0.9])) == 1


def test_what_cannot_be_meant(file, tmp_path):
    with pytest.raises(ConfigError, match=r"--lrs: .*'fast'"):
        command(file, tmp_path, "--lrs=1e-3,fast")
    with pytest.raises(ConfigError, match=r"lr-0.001-decay-3, stages\[0\].layer_decay"):
        command(file, tmp_path, "--lrs=1e-3", "--decays=3")


def test_a_range_test(file, tmp_path, capsys):
    assert command(file, tmp_path, "--find", "--find_from=1e-6", "--find_to=100", "--find_steps=40") == 0
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "find.json").read_text())
    assert found["own"] == 1e-3
    assert len(found["curve"]["losses"]) == len(found["curve"]["rates"]) <= 40
    assert found["verdict"] in printed
    assert "learning rate" in (tmp_path / "find.txt").read_text()
    assert (tmp_path / "find.png").stat().st_size > 10_000
    assert not (tmp_path / "runs.jsonl").exists(), "no grid is run"


def test_a_range_test_has_no_grid(file, tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)--lrs.*--dry_run.*--find_to"):
        command(file, tmp_path, "--find", "--lrs=1e-3", "--dry_run", "--find_to=1e-9")
