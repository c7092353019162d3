"""The mesh, what is cut over it, and that results do not depend on it."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests import tiny
from tests.test_resume import StopAfter
from tl_jax import sharding
from tl_jax.config import complete
from tl_jax.interrupt import Interrupted
from tl_jax.job import prepare
from tl_jax.runs import run

VIT = {**tiny.VIT, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128}
NETWORKS = {"resnet": {**tiny.ARCH, "hidden_sizes": [8, 24]}, "vit": VIT}
STAGES = [
    dict(name="head", duration="2 steps", train="head", lr=1e-2),
    dict(name="all", duration="4 steps", train="all", lr=3e-3, weight_decay=0.01),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.make_folder(tmp_path_factory.mktemp("pictures"))


def config(folder, network="resnet", mesh=(1, 1), **changes):
    settings = tiny.config(folder, **{"stages": STAGES, "select": dict(every="2 steps"), **changes})
    settings["model"] = dict(arch=NETWORKS[network], dropout=0.1)
    settings["mesh"] = dict(zip(("data", "fsdp"), mesh, strict=True))
    return settings


def outcome(workdir):
    """Every number that a run leaves, and its weights."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    numbers = [
        value
        for line in lines
        for name, value in line.items()
        if isinstance(value, float) and name not in ("examples_per_second", "seconds")
    ]
    result = json.loads((workdir / "result.json").read_text())
    measures = [one["value"] for one in result["test"].values() if isinstance(one, dict) and "value" in one]
    return load_file(workdir / "model" / "model.safetensors"), np.array([*numbers, *filter(None, measures)])


def assert_alike(found, expected):
    (weights, numbers), (others, expected_numbers) = found, expected
    np.testing.assert_allclose(numbers, expected_numbers, rtol=5e-4, atol=5e-5)
    for name, leaf in others.items():
        np.testing.assert_allclose(weights[name], leaf, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    "mesh",
    [(4, 2), pytest.param((8, 1), marks=pytest.mark.slow), pytest.param((1, 8), marks=pytest.mark.slow)],
)
@pytest.mark.parametrize(
    ("network", "changes"),
    [
        pytest.param("resnet", dict(ema=0.9), marks=pytest.mark.slow),
        pytest.param("resnet", dict(data_budget=0), marks=pytest.mark.slow),
        pytest.param("vit", dict(loss=dict(l2_sp=0.1), ema=0.9), marks=pytest.mark.slow),
        pytest.param(
            "vit",
            dict(augment={}, cache=dict(prefix="on"), stages=[{**STAGES[1], "train": "last 1"}]),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["BatchNorm, averages", "streamed", "averages, anchors", "the frozen prefix kept"],
)
def test_every_mesh_gives_the_results_of_one_device(network, changes, mesh, folder, tmp_path):
    changes = dict(changes)
    budget = changes.pop("data_budget", None)
    for name, shape in dict(one=(1, 1), several=mesh).items():
        settings = config(folder, network, shape, **changes)
        if budget is not None:
            settings["data"] = {**settings["data"], "device_budget": budget}
        run(settings, tmp_path / name)
    assert_alike(outcome(tmp_path / "several"), outcome(tmp_path / "one"))


@pytest.mark.parametrize("budget", [10**9, 0], ids=["resident", "streamed"])
@pytest.mark.slow
def test_accumulated_on_a_mesh_as_on_one_device(budget, folder, tmp_path):
    for mesh in ((1, 1), (2, 2)):
        settings = config(folder, "resnet", mesh, accumulate=2, stages=STAGES[1:])
        settings["data"] = {**settings["data"], "device_budget": budget}
        run(settings, tmp_path / f"{mesh[0]}")
    assert_alike(outcome(tmp_path / "2"), outcome(tmp_path / "1"))


@pytest.mark.slow
def test_a_cut_run_resumes_with_the_same_bits_and_on_another_mesh_nearly(folder, tmp_path):
    settings = config(folder, "vit", (4, 2), ema=0.9)
    run(settings, tmp_path / "whole")
    for name in ("same", "other"):
        with pytest.raises(Interrupted):
            run(settings, tmp_path / name, stop=StopAfter(6))
    run(settings, tmp_path / "same")
    run(config(folder, "vit", (1, 8), ema=0.9), tmp_path / "other")
    whole, same = outcome(tmp_path / "whole"), outcome(tmp_path / "same")
    assert all(np.array_equal(leaf, same[0][name]) for name, leaf in whole[0].items())
    np.testing.assert_array_equal(same[1], whole[1])
    assert_alike(outcome(tmp_path / "other"), whole)
    told = (tmp_path / "other" / "log.txt").read_text()
    assert "fsdp 2 → 8" in told
    assert "note: going on with" not in (tmp_path / "same" / "log.txt").read_text()


def test_the_state_is_cut_and_stays_so(folder, tmp_path, monkeypatch):
    """What a device holds shrinks: weights, frozen or not, moments and averages."""
    from tl_jax.train import Trainer

    seen = []

    def look(self, *arguments):
        state, fixed = self.state, self.fixed
        seen.append(
            {
                name: (sum(x.nbytes for x in leaves), sum(x.addressable_data(0).nbytes for x in leaves))
                for name, leaves in {
                    name: jax.tree.leaves(tree)
                    for name, tree in dict(trained=state.params, opt=state.opt, frozen=fixed.params).items()
                }.items()
            }
        )

    monkeypatch.setattr(Trainer, "_log", look)
    settings = config(folder, "vit", (1, 8), stages=[{**STAGES[1], "train": "last 1"}])
    run(settings, tmp_path / "w")
    assert len(seen) == 4
    for sizes in seen:
        for whole, own in sizes.values():
            assert own < 0.25 * whole
    plan = (tmp_path / "w" / "plan.txt").read_text()
    assert "mesh: 8 cpu devices, data 1 × fsdp 8; each holds 0.0" in plan


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((64, 128), (None, "fsdp")),
        ((128, 64), ("fsdp",)),
        ((64, 64), ("fsdp",)),
        ((3, 3, 30, 64), (None, None, None, "fsdp")),
        ((1001, 64), (None, "fsdp")),
        ((1001, 63), ()),
        ((32, 64), ()),
    ],
)
def test_a_leaf_is_cut_along_its_longest_axis_that_divides(shape, spec):
    mesh = sharding.make_mesh(2, 4, 8)
    where = sharding.layout(jax.ShapeDtypeStruct(shape, np.float32), mesh)
    assert tuple(where.spec) == spec
    leaf = {"a": np.ones(shape, np.float32)}
    placed = sharding.place(leaf, mesh)["a"]
    assert placed.sharding == where
    assert placed.addressable_data(0).nbytes == sharding.nbytes(leaf, mesh)
    np.testing.assert_array_equal(sharding.fetch(placed), leaf["a"])


@pytest.mark.parametrize(
    ("data", "fsdp", "rows", "shape"),
    [(0, 1, 8, (8, 1)), (0, 1, 12, (6, 1)), (0, 2, 8, (4, 2)), (0, 8, 8, (1, 8)), (2, 3, 6, (2, 3))],
)
def test_the_mesh_takes_what_divides(data, fsdp, rows, shape):
    mesh = sharding.make_mesh(data, fsdp, rows)
    assert mesh.devices.shape == shape
    batch = sharding.put_rows(np.arange(rows), sharding.batched(mesh))
    assert [shard.data.shape for shard in batch.addressable_shards] == [(rows // mesh.size,)] * mesh.size
    np.testing.assert_array_equal(batch, np.arange(rows))


@pytest.mark.parametrize(
    ("data", "fsdp", "rows", "words"),
    [
        (16, 1, 32, ["mesh.data=16 devices are asked for, but there are 8"]),
        (4, 4, 32, ["mesh.data=4 × mesh.fsdp=4 = 16 devices are asked for, but there are 8"]),
        (3, 1, 8, ["mesh.data=3 does not divide a batch of 8 pictures"]),
        (0, 3, 8, ["mesh.data=1 × mesh.fsdp=3 = 3 does not divide a batch of 8 pictures"]),
        (9, 1, 8, ["but there are 8", "does not divide a batch of 8 pictures"]),
    ],
)
def test_a_mesh_that_cannot_be_says_all_that_is_wrong(data, fsdp, rows, words):
    with pytest.raises(ValueError) as caught:
        sharding.make_mesh(data, fsdp, rows)
    assert len(str(caught.value).splitlines()) == len(words)
    assert all(text in str(caught.value) for text in words)


def test_an_fsdp_that_cuts_nothing_is_told_before_anything_is_read(folder):
    settings = config(folder.parent / "absent", "resnet", (1, 7), batch_size=7)
    with pytest.raises(ValueError, match=r"mesh\.fsdp=7 cuts nothing"):
        prepare(complete(settings))
