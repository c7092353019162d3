"""What a stage keeps of its frozen prefix changes how long it takes, and nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests import tiny
from tl_jax import prefix
from tl_jax.config import complete
from tl_jax.job import prepare
from tl_jax.runs import run

VIT = dict(
    model_type="vit",
    hidden_size=16,
    num_hidden_layers=4,
    num_attention_heads=2,
    intermediate_size=32,
    image_size=32,
    patch_size=8,
    num_channels=1,
)
NETWORKS = {"resnet": tiny.ARCH, "vit": VIT}


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
        if isinstance(value, float) and name != "images_per_second"
    ]
    return load_file(workdir / "model" / "model.safetensors"), np.array(numbers)


HEAD = dict(name="head", train="head")
LAST = dict(name="last", train="last 1")


@pytest.mark.parametrize(
    ("network", "stages", "changes"),
    [
        ("resnet", [HEAD], {}),
        ("resnet", [LAST], dict(accumulate=2, ema=0.9)),
        ("vit", [HEAD, LAST], {}),
        ("vit", [LAST], dict(loss=dict(l2_sp=0.1), data_budget=0)),
        # What an earlier stage has changed is what the next one keeps.
        ("resnet", [dict(name="all", train="all"), HEAD], dict(modes=("off", "auto"))),
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


def test_on_eight_devices_as_on_one(folder, tmp_path):
    settings = config(folder, LAST)
    (_, one), (_, eight) = (
        outcome({**settings, "mesh": dict(data=devices)}, tmp_path / f"{devices}") for devices in (1, 8)
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
        (HEAD, dict(cache=dict(prefix="off")), None, "as cache.prefix says"),
        ({**HEAD, "duration": "1 epochs"}, {}, None, "no longer than an epoch"),
        (HEAD, dict(budget=1000), None, "more than data.host_budget=1,000"),
    ],
)
def test_when_it_is_kept_and_why_not(stage, changes, start, words, folder):
    changes = dict(changes)
    budget = changes.pop("budget", None)
    settings = config(folder, mode="auto", **changes)
    settings["stages"] = [dict(duration="3 epochs", name="a") | stage]
    if budget:
        settings["data"] = {**settings["data"], "host_budget": budget}
    job = prepare(complete(settings), lambda line: None)
    found = prefix.cut(job, 0)
    assert (found.start, words in found.why) == (start, True), found


def test_insisting_where_it_cannot_be_is_an_error_before_training(folder, tmp_path):
    with pytest.raises(ValueError, match=r'cache\.prefix="on", but in stage \'b\' the stem moves'):
        run(config(folder, HEAD, dict(name="b", train="all")), tmp_path / "w")
    assert not (tmp_path / "w" / "metrics.jsonl").exists()
