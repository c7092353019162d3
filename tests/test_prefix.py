"""What a stage keeps of its frozen prefix changes how long it takes, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests import tiny
from tl_jax import forward, kept, prefix
from tl_jax.backbones.anatomy import inference_graph
from tl_jax.config import complete
from tl_jax.job import prepare
from tl_jax.runs import run

WIDE = {**tiny.ARCH, "embedding_size": 32, "hidden_sizes": [32, 32]}
NETWORKS = {"resnet": tiny.ARCH, "vit": tiny.VIT, "wide": WIDE}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.make_folder(tmp_path_factory.mktemp("pictures"))


def config(folder, *stages, network="resnet", mode="on", **changes):
    changes = {"augment": {}, "cache": dict(prefix=mode), **changes}
    settings = tiny.config(
        folder, stages=[dict(duration="3 epochs", lr=3e-3, **one) for one in stages], **changes
    )
    settings["model"] = dict(arch=NETWORKS[network], dropout=0.1)
    return settings


def outcome(settings, workdir):
    run(settings, workdir)
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    numbers = [
        value
        for line in lines
        for name, value in line.items()
        if isinstance(value, float) and name not in ("examples_per_second", "seconds")
    ]
    return load_file(workdir / "model" / "model.safetensors"), np.array(numbers)


HEAD = dict(name="head", train="head")
LAST = dict(name="last", train="last 1")


@pytest.mark.parametrize(
    ("network", "stages", "changes"),
    [
        ("resnet", [HEAD], {}),
        ("resnet", [LAST], dict(accumulate=2, ema=0.9)),
        pytest.param("vit", [HEAD, LAST], {}, marks=pytest.mark.slow),
        pytest.param("vit", [LAST], dict(loss=dict(l2_sp=0.1), data_budget=0), marks=pytest.mark.slow),
        # What an earlier stage has changed is what the next one keeps.
        pytest.param(
            "resnet",
            [dict(name="all", train="all"), HEAD],
            dict(modes=("off", "auto")),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_kept_or_not_the_run_is_the_same(network, stages, changes, folder, tmp_path):
    changes = dict(changes)
    modes, budget = changes.pop("modes", ("off", "on")), changes.pop("data_budget", None)
    found = []
    for mode in modes:
        settings = config(folder, *stages, network=network, mode=mode, **changes)
        if budget is not None:  # batches are streamed
            settings["data"] = {**settings["data"], "device_budget": budget}
        found.append(outcome(settings, tmp_path / mode))
    (plain, numbers), (kept, others) = found
    np.testing.assert_allclose(others, numbers, rtol=2e-4, atol=2e-5)
    assert plain.keys() == kept.keys()
    for name, leaf in plain.items():
        np.testing.assert_allclose(kept[name], leaf, rtol=1e-4, atol=2e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [dict(data=8), dict(data=2, fsdp=4)], ids=["8 × 1", "2 × 4"])
@pytest.mark.parametrize(
    "changes",
    [{}, dict(augment=dict(rotate=5.0, brightness=0.1), cache=dict(prefix="on", views=2))],
    ids=["pictures", "views"],
)
def test_on_eight_devices_as_on_one(changes, mesh, folder, tmp_path):
    settings = config(folder, LAST, network="wide", **changes)
    (_, one), (_, eight) = (
        outcome({**settings, "mesh": mesh}, tmp_path / name)
        for name, mesh in (("one", dict(data=1)), ("eight", mesh))
    )
    np.testing.assert_allclose(eight, one, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("stage", "changes", "start", "words"),
    [
        (HEAD, {}, 3, "all but the head runs once for each of 36 pictures"),
        (LAST, {}, 1, "it runs once for each of 36 pictures"),
        (dict(train="all"), {}, None, "the stem moves"),
        (dict(train="norms"), {}, None, "the stem moves"),
        (dict(train="last 1", batch_norm="adapt"), {}, None, "the stem moves"),
        (HEAD, dict(augment=dict(flip=True)), None, "augmented"),
        (HEAD, dict(augment=dict(mixup=0.2)), None, "augmented"),
        (HEAD, dict(augment=dict(mixup=0.2), cache=dict(views=2)), None, "mixup and cutmix mix the pictures"),
        (
            HEAD,
            dict(augment=dict(flip=True), cache=dict(views=2)),
            3,
            "2 views of each of 24 pictures and 12 pictures of validation, 60 times instead of 108",
        ),
        # As many views as epochs save the measurements alone; more save nothing.
        (HEAD, dict(augment=dict(flip=True), cache=dict(views=3)), 3, "84 times instead of 108"),
        (
            HEAD,
            dict(augment=dict(flip=True), cache=dict(views=4)),
            None,
            "that would take 108 forward passes, the stage 108",
        ),
        (HEAD, dict(cache=dict(views=2)), 3, "each of 36 pictures, 36 times instead of 108"),
        (HEAD, dict(cache=dict(prefix="off")), None, "as cache.prefix says"),
        ({**HEAD, "duration": "1 epochs"}, {}, None, "would take 36 forward passes, the stage 36"),
        (HEAD, dict(select=dict(every="1 steps")), 3, "36 times instead of 180"),
        (LAST, {}, 1, "36.9 kB are kept on the device, as float32"),
        (LAST, dict(data=dict(device_budget=20_000)), 1, "36.9 kB are kept in memory, as float32"),
        (LAST, dict(cache=dict(dtype="bfloat16")), 1, "18.4 kB are kept on the device, as bfloat16"),
        (LAST, dict(precision="bfloat16"), 1, "18.4 kB are kept on the device, as bfloat16"),
        (LAST, dict(data=dict(host_budget=10_000, device_budget=0)), 1, "36.9 kB are kept in /"),
        (
            LAST,
            dict(data=dict(host_budget=10_000), cache=dict(dir="")),
            None,
            'more than data.host_budget=10,000, and cache.dir="" leaves no folder',
        ),
        (
            LAST,
            dict(data=dict(host_budget=10_000), cache=dict(disk_budget=10_000)),
            None,
            "more than data.host_budget=10,000 and more than cache.disk_budget=10,000",
        ),
        (
            LAST,
            dict(data=dict(host_budget=10_000), cache=dict(dir="/dev/null/cache")),
            None,
            "more than data.host_budget=10,000, and cache.dir cannot be written",
        ),
        (
            {**LAST, "lr": 1e-3},
            dict(data=dict(device_budget=8192), network="wide"),
            None,
            "more than data.device_budget=8,192",
        ),
    ],
)
def test_when_it_is_kept_and_why_not(stage, changes, start, words, folder):
    changes = dict(changes)
    data = changes.pop("data", {})
    settings = config(folder, mode="auto", **changes)
    settings["stages"] = [dict(duration="3 epochs", name="a") | stage]
    settings["data"] = {**settings["data"], **data}
    job = prepare(complete(settings), lambda line: None)
    found = prefix.cut(job, 0)
    assert (found.start, words in found.why) == (start, True), found


@pytest.mark.parametrize(
    "budget", [10**9, pytest.param(0, marks=pytest.mark.slow)], ids=["resident", "streamed"]
)
def test_views_that_do_not_differ_teach_what_the_pictures_do(budget, folder, tmp_path):
    """An augmentation too small to be seen: the same pictures in the same batches, whatever the view."""
    unseen = dict(augment=dict(brightness=1e-7), cache=dict(prefix="on", views=2))
    found = []
    for name, changes in (("off", dict(mode="off")), ("views", unseen)):
        settings = config(folder, LAST, **changes)
        settings["data"] = {**settings["data"], "device_budget": budget}
        found.append(outcome(settings, tmp_path / name)[1])
    np.testing.assert_allclose(found[1], found[0], rtol=2e-4, atol=2e-5)


def test_streamed_from_disk_the_run_has_the_same_bits(folder, tmp_path):
    found = []
    for budget in (10**9, 10_000):
        settings = config(folder, LAST, cache=dict(prefix="on", dir=str(tmp_path / f"cache-{budget}")))
        settings["data"] = {**settings["data"], "device_budget": 0, "host_budget": budget}
        found.append(outcome(settings, tmp_path / f"{budget}"))
    (weights, numbers), (others, again) = found
    assert np.array_equal(numbers, again)
    assert all(np.array_equal(weights[name], others[name]) for name in weights)


def test_several_processes_keep_nothing_on_disk(folder, monkeypatch):
    settings = config(folder, LAST)
    settings["data"] = {**settings["data"], "host_budget": 10_000}
    job = prepare(complete(settings), lambda line: None)
    assert f"are kept on the device and in {prefix.folder(job.config)}" in prefix.cut(job, 0).why
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert prefix.folder(job.config) is None
    with pytest.raises(ValueError, match=r"host_budget=10,000, and several processes keep nothing on disk"):
        prefix.cut(job, 0)


def test_a_disk_that_fails_after_the_plan_costs_time_and_not_the_run(folder, tmp_path, monkeypatch):
    plain = outcome(config(folder, LAST, mode="off"), tmp_path / "off")
    monkeypatch.setattr(kept.Kept, "serve", lambda *arguments: None)
    failed = outcome(config(folder, LAST), tmp_path / "on")
    assert np.array_equal(plain[1], failed[1])


@pytest.mark.slow
def test_kept_in_bfloat16_the_run_is_nearly_the_same(folder, tmp_path):
    """What is kept is rounded by up to one part in 256, and so are losses, about."""
    found = [
        outcome(config(folder, LAST, network="vit", cache=dict(prefix="on", dtype=dtype)), tmp_path / dtype)
        for dtype in ("float32", "bfloat16")
    ]
    (_, numbers), (_, others) = found
    assert not np.array_equal(numbers, others)
    np.testing.assert_allclose(others, numbers, rtol=0.05, atol=0.02)


def test_steps_compute_in_their_own_precision_whatever_is_kept(folder):
    job = prepare(complete(config(folder, HEAD, network="vit", precision="bfloat16")), lambda line: None)
    start = prefix.cut(job, 0).start
    kept_as = np.random.default_rng(0).normal(size=prefix.outline(job, start, 4).shape).astype(np.float32)
    run = jax.jit(partial(forward.predict, inference_graph(job.model), replace(job.recipe, start=start)))
    found = [run(job.base_params, job.base_stats, x) for x in (kept_as, kept_as.astype("bfloat16"))]
    assert np.array_equal(*found)


@pytest.mark.parametrize(
    ("stage", "changes", "words"),
    [
        (HEAD, dict(mode="off"), 'cache.prefix="off", so cache.views does nothing'),
        (HEAD, dict(augment={}), "pictures are not augmented, so cache.views does nothing"),
        (dict(name="all", train="all"), {}, "stage 'all': the stem moves, so cache.views does nothing there"),
        (HEAD, {}, ""),
    ],
)
def test_views_that_do_nothing_are_noted(stage, changes, words, folder):
    changes = dict(augment=dict(flip=True)) | changes
    mode = changes.pop("mode", "auto")
    settings = config(folder, stage, **changes, cache=dict(views=2, prefix=mode))
    found = list(prefix.notes(prepare(complete(settings), lambda line: None)))
    assert found == ([f"note: {words}"] if words else [])


def test_a_budget_too_small_for_a_batch_is_an_error_before_training(folder):
    settings = config(folder, HEAD)
    settings["data"] = {**settings["data"], "host_budget": 8191, "device_budget": 100}
    with pytest.raises(ValueError) as error:
        prepare(complete(settings), lambda line: None)
    for words in (
        "data.device_budget=100 bytes is less than one batch (8 pictures of 1,024 bytes, 8,192 in all)",
        "data.host_budget=8,191 bytes",
    ):
        assert words in str(error.value)


def test_insisting_where_it_cannot_be_is_an_error_before_training(folder, tmp_path):
    stages = [dict(name="a", train="norms"), HEAD, dict(name="b", train="all")]
    with pytest.raises(ValueError) as error:
        run(config(folder, *stages), tmp_path / "w")
    assert str(error.value).splitlines() == [
        f'cache.prefix="on", but in stage {name!r} the stem moves' for name in "ab"
    ]
    assert not (tmp_path / "w" / "metrics.jsonl").exists()
