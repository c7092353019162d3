"""Runs with other necks and heads: all that a run does goes on with each of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tl_jax
from tests import tiny
from tl_jax import export, predict, pretrained
from tl_jax.config import ConfigError, complete
from tl_jax.evaluation import grad_cam
from tl_jax.finished import open_run
from tl_jax.job import prepare
from tl_jax.pretrained import PretrainedError

UNIT = dict(name="linear", output="sigmoid")
CLASSICAL = dict(name="mlp", sizes=(16,), dropout=0.2, output="sigmoid")
VGG = dict(model_type="vgg", hidden_sizes=[4, 8], depths=[1, 1], num_features=16, num_channels=1)
TOPS: dict[str, dict[str, Any]] = {
    "perceptron": dict(arch=tiny.ARCH, head=dict(name="mlp", sizes=(12, 6), act="tanh")),
    "one unit": dict(arch=tiny.VIT, head=UNIT),
    "classical": dict(arch=tiny.ARCH, neck="flatten", head=CLASSICAL),
    "vgg": dict(arch=VGG),
    "vgg without its top": dict(arch=VGG, neck="flatten", head=CLASSICAL),
}
STAGES = [
    dict(name="head", duration="2 epochs", train="head", lr=1e-2),
    dict(name="last", duration="2 epochs", train="last 1", lr=1e-3, weight_decay=0.01),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_folder(tmp_path_factory.mktemp("pictures"))


def config(folder: Path, **changes: Any) -> dict[str, Any]:
    return tiny.config(folder, **{"augment": {}, "stages": STAGES, **changes})


def rows(file: Path) -> list[dict[str, str]]:
    with open(file, newline="") as opened:
        return list(csv.DictReader(opened))


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(model, id=name, marks=() if name == "classical" else pytest.mark.slow)
        for name, model in TOPS.items()
    ],
)
def test_a_run_and_what_comes_after_it(model: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    result = tl_jax.run(config(folder, model=model), tmp_path / "run", quiet=True)
    assert result["test"]["auroc"]["value"] is not None
    assert result["test"]["nll_calibrated"]["value"] is not None
    assert "all but the head runs once" in (tmp_path / "run" / "plan.txt").read_text()

    # The folder alone gives the network back, and it says what the run said.
    run = open_run(tmp_path / "run")
    found = run.logits(run.data().test)
    own = rows(tmp_path / "run" / "predictions_test.csv")
    wanted = np.array([[float(row["logit_a"]), float(row["logit_b"])] for row in own])
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=1e-5)
    again, report = tl_jax.load_pretrained(tmp_path / "run")
    assert not report.initialised
    assert again.spec.config.get("id2label") == {"0": "a", "1": "b"}
    arguments = [f"--workdir={tmp_path / 'run'}", f"--input={folder}/test", f"--output={tmp_path}/p.csv"]
    assert predict.main(["", *arguments, f"--heatmaps={tmp_path}/maps"]) == 0
    assert len(rows(tmp_path / "p.csv")) == len(own)
    assert export.main(["", f"--workdir={tmp_path / 'run'}", f"--output={tmp_path / 'out'}"]) == 0
    assert grad_cam.heatmaps(again, run.recipe, run.data().test.images, np.ones(len(own), int)).max() == 1

    # A run that starts from it keeps its head, as long as it says nothing else.
    more = dict(pretrained=str(tmp_path / "run"))
    job = prepare(complete(config(folder, model=more)), lambda line: None)
    assert not job.load_report.initialised
    other = dict(more, head=dict(name="mlp", sizes=(5,)))
    job = prepare(complete(config(folder, model=other)), lambda line: None)
    assert {entry.path.split("/")[0] for entry in job.load_report.initialised} == {"head"}
    assert job.load_report.initialised[0].why == "the checkpoint's head is another one (model.head)"
    linear = dict(more, head=dict(name="linear"))
    job = prepare(complete(config(folder, model=linear)), lambda line: None)
    assert ("head/hidden/0/kernel" in job.base_params) is False
    assert bool(job.load_report.initialised) == ("head" in model)


@pytest.mark.slow
def test_where_the_prefix_is_not_kept_the_run_is_the_same(folder: Path, tmp_path: Path) -> None:
    found = []
    for mode in ("off", "on"):
        settings = config(folder, model=TOPS["vgg without its top"], cache=dict(prefix=mode))
        tl_jax.run(settings, tmp_path / mode, quiet=True)
        found.append(pretrained.load(tmp_path / mode)[0](np.ones((2, 32, 32, 1), np.float32)))
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)


def test_an_empty_stem_is_nothing_to_keep(folder: Path) -> None:
    from tl_jax import plan_table, prefix

    stages = [dict(train="all", duration="4 epochs"), dict(train="head", duration="4 epochs")]
    job = prepare(complete(config(folder, model=TOPS["vgg"], stages=stages)), lambda line: None)
    assert [plan.prefix for plan in job.plans] == [-1, 2]
    assert prefix.cut(job, 0).why == "it is not kept: the first block moves"
    assert plan_table.below(job.plans[0], 2) == "frozen prefix: none, the first block moves"


def test_a_flattened_map_of_another_size_has_another_head(folder: Path, tmp_path: Path) -> None:
    model, _ = pretrained.scratch(
        tiny.ARCH, num_classes=2, image_size=32, top=pretrained.top.entries("flatten", dict(name=""))
    )
    weights = pretrained.export(model, tmp_path / "weights", classes=("a", "b"))
    assert not pretrained.load(weights, image_size=32)[1].initialised
    larger, report = pretrained.load(weights, image_size=64)
    assert {entry.why for entry in report.initialised} == {
        "the checkpoint's head reads 128 features, the neck gives 512"
    }
    assert larger.spec.preprocess.size == (64, 64)


@pytest.mark.parametrize("head", [UNIT, CLASSICAL], ids=["linear", "mlp"])
def test_the_one_unit_of_other_classes_becomes_a_unit_a_class(head: dict[str, Any], tmp_path: Path) -> None:
    """Two findings cannot share a unit, and three classes do not fit one; hidden layers stay a kind."""
    given = pretrained.top.entries("", {**dict(sizes=(), act="relu", dropout=0.0), **head})
    model, _ = pretrained.scratch(tiny.ARCH, num_classes=2, top=given)
    weights = pretrained.export(model, tmp_path / "weights", classes=("a", "b"))
    hidden = ["head/hidden/0/bias", "head/hidden/0/kernel"] if head is CLASSICAL else []
    for classes in (("a", "b", "c"), ("c", "d"), ("a",)):
        found, report = pretrained.load(weights, classes=classes)
        assert sorted(one.path for one in report.initialised) == [
            *hidden,
            "head/linear/bias",
            "head/linear/kernel",
        ]
        assert found(np.ones((1, 32, 32, 1), np.float32)).shape == (1, len(classes))
        again = pretrained.export(found, tmp_path / "-".join(classes), classes=classes)
        assert not pretrained.load(again)[1].initialised
    assert not pretrained.load(weights, classes=("a", "b"))[1].initialised
    with pytest.raises(PretrainedError, match="tells two classes apart, not 3"):
        pretrained.load(weights, classes=("a", "b", "c"), top=given)


def test_one_unit_for_three_classes_is_refused(folder: Path, tmp_path: Path) -> None:
    for i, picture in enumerate(sorted((folder / "train").rglob("*.png"))):
        place = tmp_path / "three" / "abc"[i % 3] / f"p{i}-0.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture.read_bytes())
    settings = config(tmp_path / "three", model=dict(arch=tiny.ARCH, head=UNIT))
    with pytest.raises(PretrainedError, match=r"tells two classes apart, not 3.*model\.head\.output"):
        prepare(complete(settings), lambda line: None)


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (dict(head=dict(name="mlp")), "model.head.sizes: is empty"),
        (dict(head=dict(name="linear", sizes=(3,))), 'only model.head.name="mlp" has hidden layers'),
        (dict(head=dict(dropout=0.5)), "model.head.dropout: found 0.5"),
        (dict(head=dict(output="sigmoid")), "the weights' own head is taken; name one"),
        (dict(head=dict(name="mpl", sizes=(3,))), "did you mean 'mlp'"),
        (dict(head=dict(name="mlp", sizes=(0,))), "model.head.sizes: found (0,)"),
        (dict(head=dict(name="mlp", sizes=(3,), act="rely")), "did you mean 'relu'"),
        (dict(neck="flat"), "did you mean 'flatten'"),
    ],
)
def test_settings_that_do_not_make_sense(model: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        complete(config(Path("pictures"), model=dict(arch=tiny.ARCH, **model)))
    assert problem in str(error.value)


def test_one_unit_and_three_named_classes() -> None:
    settings = config(Path("pictures"), model=dict(arch=tiny.ARCH, head=UNIT))
    settings["data"]["classes"] = ("a", "b", "c")
    with pytest.raises(ConfigError, match=r"one unit for two classes; data\.classes holds 3"):
        complete(settings)


def test_a_vit_has_no_choice_of_necks(folder: Path) -> None:
    settings = config(folder, model=dict(arch=tiny.VIT, neck="pooled"))
    with pytest.raises(PretrainedError, match="its neck cannot be chosen"):
        prepare(complete(settings), lambda line: None)


def test_the_config_of_a_run_keeps_what_was_asked(folder: Path, tmp_path: Path) -> None:
    job = prepare(complete(config(folder, model=TOPS["classical"])), lambda line: None)
    assert json.loads(json.dumps(dict(job.model.spec.config)))["tl_jax_head"] == {
        "sizes": [16],
        "act": "relu",
        "dropout": 0.2,
        "output": "sigmoid",
    }
