"""Where maps fall, on maps whose answer is known; and the check itself on a run of simulated radiographs."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from experiments import grad_cam_check
from tests import tiny
from tl_jax import pretrained, run, tasks
from tl_jax.data.phantom import simulate
from tl_jax.evaluation.bootstrap import Resampling
from tl_jax.forward import Recipe
from tl_jax.inputs import Pictures
from tl_jax.lab import heat_maps
from tl_jax.lab.heat_maps import Films


def films() -> Films:
    """Three pictures of 12 pixels, consolidated on the first 4 × 4; two of one patient."""
    places = np.zeros((3, 12, 12), bool)
    places[:, :4, :4] = True
    return Films(np.zeros((3, 12, 12, 1), np.uint8), np.array(["p", "p", "q"]), places, cell=2)


def test_falls():
    maps = np.zeros((3, 12, 12), np.float32)
    maps[0, 1, 1], maps[0, 9, 9] = 1, 0.25
    maps[1, 5, 5], maps[1, 0, 0] = 1, 0.5  # two pixels beyond the corner: within a cell
    found = heat_maps.falls(maps, films())
    np.testing.assert_allclose(found.inside, [0.8, 1 / 3, np.nan])
    np.testing.assert_array_equal(found.hit, [1, 0, np.nan])
    np.testing.assert_array_equal(found.near, [1, 1, np.nan])
    maps[1, 5, 5], maps[1, 6, 6] = 0, 1
    assert heat_maps.falls(maps, films()).near[1] == 0


def test_the_mean_map_of_other_patients():
    maps = np.arange(3, dtype=np.float32)[:, None, None] * np.ones((1, 4, 4), np.float32)
    found = heat_maps.of_others(maps, np.array(["p", "p", "q"]))
    assert found[:, 0, 0].tolist() == [2, 2, 0.5]


def test_estimates_are_ratios_of_sums_over_patients():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(200), 2)
    area = rng.uniform(0.05, 0.1, 400)
    inside = np.where(np.arange(400) % 10, 3 * area, np.nan)
    found = heat_maps.estimated(inside, area, Resampling(patients, replicates=200, seed=0))
    np.testing.assert_allclose([found.value, found.low, found.high], 3)
    noisy = heat_maps.estimated(
        inside * rng.uniform(0.5, 1.5, 400), area, Resampling(patients, replicates=200, seed=0)
    )
    assert 2.7 < noisy.low < noisy.value < noisy.high < 3.3


def test_a_network_that_nobody_has_trained_finds_nothing(monkeypatch):
    """The whole check, on an untrained network's maps of simulated films: no verdict in its favour."""
    monkeypatch.setattr(heat_maps, "DRAWS", 2)
    shots = [
        (number, shot)
        for number in range(520, 532)
        for shot in simulate.images_of(0, number, 96)
        if shot.label
    ]
    model, _ = pretrained.scratch(tiny.ARCH, num_classes=2, seed=7)
    recipe = Recipe(tasks.find("classification"), 2, Pictures(96, 1, (0.5,), (0.25,)))
    some = Films(
        np.stack([shot.image for _, shot in shots])[..., None],
        np.array([str(number) for number, _ in shots]),
        np.stack([shot.fluid >= heat_maps.FLUID for _, shot in shots]),
        cell=8,
    )
    config = SimpleNamespace(evaluation=SimpleNamespace(bootstrap=100, seed=0))
    settings = SimpleNamespace(model=model, recipe=recipe, classes=("a", "b"), config=config)
    found = heat_maps.measured(settings, some)
    assert "no finding" in found.verdict or "do not find" in found.verdict
    rows = found.tables[0].rows
    assert len(rows) == 4
    assert rows[0][0] == heat_maps.TRAINED
    assert {row[1] for row in found.tables[1].rows} == {"each", "relative", "averaged"}
    assert f"{len(shots)} test pictures" in found.text()


def test_means_leave_empty_maps_out():
    several = [np.array([0.2, np.nan, np.nan]), np.array([0.4, 0.6, np.nan])]
    np.testing.assert_allclose(heat_maps._mean(several), [0.3, 0.6, np.nan])


def test_other_pictures_are_refused(tmp_path):
    config = SimpleNamespace(data=SimpleNamespace(source="folder", name=""))
    with pytest.raises(ValueError, match="is of other pictures"):
        heat_maps.known(SimpleNamespace(workdir=SimpleNamespace(root=tmp_path), config=config))


@pytest.mark.slow
def test_the_command(tmp_path, capsys):
    """A short run on the data set itself: its own pictures are found again, and the summary is written."""
    settings = {
        "batch_size": 32,
        "data": dict(
            source="tfds", name="chest_phantom", image_size=96, features=dict(group="patient", id="id")
        ),
        "model": dict(arch=tiny.ARCH),
        "evaluation": dict(bootstrap=50),
        "stages": [dict(name="all", train="all", duration="30 steps", lr=3e-3)],
    }
    run(settings, tmp_path / "run", quiet=True)
    assert grad_cam_check.main(["", f"--workdir={tmp_path / 'run'}"]) == 0
    assert heat_maps.TRAINED in capsys.readouterr().out
    told = json.loads((tmp_path / "run" / "grad_cam.json").read_text())
    assert told["verdict"]
    assert (tmp_path / "run" / "grad_cam.png").stat().st_size > 1000
