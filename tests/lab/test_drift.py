"""Distances and CKA on cases whose answer is known; a run whose frozen layers did not move."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tl_jax
from experiments import drift as command
from tests import tiny
from tl_jax import pretrained
from tl_jax.lab import drift


def test_cka():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert drift.linear_cka(x, x) == pytest.approx(1)
    assert drift.linear_cka(x, 3 * x @ turn + 7) == pytest.approx(1)
    assert drift.linear_cka(x, rng.normal(size=(200, 5))) < 0.1
    # Two features of the same spread, one of them kept: 1 / (√2 · 1)
    both = np.linalg.qr(x - x.mean(axis=0))[0][:, :2]
    assert drift.linear_cka(both, both[:, :1]) == pytest.approx(1 / np.sqrt(2))
    assert np.isnan(drift.linear_cka(np.ones((10, 2)), x[:10]))


def test_distances():
    before = {"stem/kernel": np.ones(4), "blocks/0/a": np.full(3, 2.0), "blocks/0/b": np.zeros(2)}
    after = {"stem/kernel": np.ones(4), "blocks/0/a": np.full(3, 3.0), "blocks/0/b": np.ones(2)}
    assert drift.distances(before, after) == {"stem": 0.0, "blocks/0": pytest.approx(np.sqrt(5 / 12))}


def test_frozen_layers_did_not_move(tmp_path, capsys):
    folder, weights = tiny.make_folder(tmp_path / "pictures"), tmp_path / "weights"
    model, _ = pretrained.scratch(tiny.VIT, num_classes=3)
    pretrained.export(model, weights, classes=["x", "y", "z"])
    stage = dict(name="top", train="last 1", duration="4 steps", lr=1e-2)
    config = tiny.config(folder, stages=[stage], model=dict(pretrained=str(weights)))
    tl_jax.run(config, tmp_path / "run", quiet=True)
    assert command.main(["drift", f"--workdir={tmp_path / 'run'}"]) == 0
    printed = capsys.readouterr().out
    assert "Not moved, to the bit: stem, blocks/0, blocks/1, blocks/2." in printed
    (rows,) = json.loads((tmp_path / "run" / "drift.json").read_text())["tables"]
    parts = {one["part"]: one for one in rows}
    assert list(parts) == ["stem", "blocks/0", "blocks/1", "blocks/2", "blocks/3", "neck", "head"]
    assert parts["blocks/2"]["distance"] == 0
    assert parts["blocks/2"]["cka"] == pytest.approx(1, abs=1e-6)
    assert parts["blocks/3"]["distance"] > 1e-3
    assert parts["blocks/3"]["cka"] < 0.9999
    assert parts["head"]["distance"] is None
