"""The range test of a real stage."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest

import tl_jax
from tests import fixtures, tiny
from tl_jax import prefix, sharding
from tl_jax.config import complete
from tl_jax.job import prepare
from tl_jax.lab import find
from tl_jax.lab.range_test import Curve, rates, suggestions
from tl_jax.supply import Supply
from tl_jax.workdir import WorkdirError

VIT = str(Path(fixtures.__file__).parent / "vit")
HEAD = dict(name="head", train="head", duration="6 epochs", lr=1e-2, optimizer="sgd", momentum=0.0, clip=0.0)
ALL = dict(name="all", train="all", duration="3 steps", lr=1e-3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.make_folder(tmp_path_factory.mktemp("pictures"))


def config(folder, *stages):
    made = tiny.config(folder, augment={}, model=dict(pretrained=VIT), stages=list(stages))
    made["data"]["image_size"] = 24
    return complete(made)


def curvature(settings):
    """The largest eigenvalue of the Hessian of a linear head's cross-entropy over all training pictures,
    where both classes are as likely: that of X'X / n, halved (p (1 - p) in either direction is 1/4)."""
    job = prepare(settings, lambda line: None)
    supply = Supply(job, prefix.cuts(job), lambda line: None)
    supply.begin(0, *(sharding.place(leaves, job.mesh) for leaves in (job.base_params, job.base_stats)))
    features = np.asarray(supply.batch(0)[0]["image"])
    rows = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    return 0.5 * np.linalg.eigvalsh(rows.T @ rows / len(rows))[-1]


def test_a_linear_head_is_to_stay_below_two_over_its_curvature(folder, tmp_path):
    settings = config(folder, HEAD)
    edge = 2 / curvature(settings)
    found = find.run(settings, tmp_path, rates(1e-4 * edge, 1e3 * edge, 80), quiet=True)
    assert found.diverged is not None
    assert edge < found.diverged
    for rule, rate in suggestions(found).items():
        assert 1e-3 * edge < rate < 2 * edge, rule


@pytest.mark.slow
def test_stages_before_are_trained_once_and_batches_are_the_runs_own(folder, tmp_path, monkeypatch):
    settings, tried = config(folder, HEAD, ALL), rates(1e-6, 1, 30)

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(find, "sweep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            find.run(settings, tmp_path / "find", tried, quiet=True)
    first = find.run(settings, tmp_path / "find", tried, quiet=True)
    again = find.run(settings, tmp_path / "find", tried, quiet=True)
    for name in ("rates", "losses", "smoothed"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    log = (tmp_path / "find" / "log.txt").read_text()
    assert log.count("stage 'head': compiled") == 1
    assert log.count("going on from step 18") == 2
    assert not (tmp_path / "find" / "result.json").exists(), "the test split is not looked at"

    tl_jax.run(settings, tmp_path / "run", quiet=True)
    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    wanted = next(line["loss"] for line in lines if line.get("stage") == "all")
    assert first.losses[0] == pytest.approx(wanted, rel=1e-6)


def test_one_program_serves_all_rates(folder, tmp_path):
    """Nothing is compiled after the third step."""
    compiled: list[str] = []

    def note(event, *_, **__):
        if event.endswith("backend_compile_duration"):
            compiled.append(event)

    counts: list[int] = []

    def watching(step, tried):
        for i, rate in enumerate(tried):
            step(i, rate)
            counts.append(len(compiled))
        return Curve(tried, tried, tried, None)

    jax.monitoring.register_event_duration_secs_listener(note)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(find, "sweep", watching)
        find.run(config(folder, ALL), tmp_path, rates(1e-6, 1, 12), quiet=True)
    assert counts[0] > 0
    assert counts[2] == counts[-1]


def test_a_folder_of_another_config_is_refused(folder, tmp_path):
    find.run(config(folder, HEAD), tmp_path, rates(1e-6, 1, 20), quiet=True)
    with pytest.raises(WorkdirError, match=r"stages\[0\].lr"):
        find.run(config(folder, dict(HEAD, lr=0.5)), tmp_path, rates(1e-6, 1, 20), quiet=True)


def made(*, low=0.2, diverged=1.0):
    """A curve that falls, and its suggestions."""
    losses = np.concatenate([np.full(40, 1.0), np.linspace(1, low, 40)])
    found = Curve(rates(1e-5, 1, 80), losses, losses, diverged)
    return found, suggestions(found)


def test_verdicts():
    curve, found = made()
    rate = found["valley"]
    assert f"Take lr={rate:.2g}" in find.verdict(curve, found, rate * 2)
    assert "is about that" in find.verdict(curve, found, rate * 2)
    assert "is 20 times lower" in find.verdict(curve, found, rate / 20)
    assert "own is too high" in find.verdict(curve, found, 1.5)
    open_end, found = made(diverged=None)
    assert "the upper end is not known" in find.verdict(open_end, found, rate)
    flat, found = made(low=0.99, diverged=None)
    assert find.verdict(flat, found, rate).startswith("No rate up to 1 made the loss fall by 5%")
    flat, found = made(low=0.99)
    assert find.verdict(flat, found, rate).startswith("The loss diverges at 1 and does not fall")
