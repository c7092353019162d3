"""Folders in timm's layout: how they name their network, and what an exported one says to timm."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.pretrained import folders
from tl_jax import backbones, pretrained
from tl_jax.backbones.anatomy import Preprocess
from tl_jax.pretrained import PretrainedError, timm

SOURCE = dict(
    tag="tv_in1k",
    input_size=[3, 224, 224],
    interpolation="bilinear",
    crop_pct=0.875,
    mean=[0.485, 0.456, 0.406],
    std=[0.229, 0.224, 0.225],
    num_classes=1000,
    first_conv="features.0",
    classifier="head.fc",
)


def config(architecture: str, **more: Any) -> dict[str, Any]:
    """As the repositories ``timm/…`` have it."""
    return dict(architecture=architecture, num_classes=1000, num_features=4096, pretrained_cfg=SOURCE, **more)


def test_an_architecture_is_a_named_size() -> None:
    for family in backbones.TIMM:
        for name, size in family.sizes.items():
            found = timm.read(config(name))
            assert found.items() >= {**size, "num_labels": 1000, "num_channels": 3}.items()
            assert backbones.family(found) is family


def test_labels_in_both_forms() -> None:
    for names in (["cat", "dog"], {"0": "cat", "1": "dog"}):
        found = timm.read(config("vgg16", label_names=names))
        assert found["id2label"] == {"0": "cat", "1": "dog"}


def test_other_configs_stay_as_they_are() -> None:
    for given in ({"model_type": "vit"}, {"model_type": "vgg", "architecture": "vgg16"}, {"depths": [1]}):
        assert timm.read(given) == given
    with pytest.raises(ValueError, match=r"read of vgg11, .*not of architecture 'resnet50'"):
        timm.read(config("resnet50"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VGG11 as timm publishes it, but that nobody looks at its large layers and they are small."""
    made = tmp_path_factory.mktemp("vgg11")
    (made / "config.json").write_text(json.dumps(config("vgg11")))
    draw, arrays, inputs = np.random.default_rng(0), {}, 3
    for layer, width in zip(
        (0, 3, 6, 8, 11, 13, 16, 18), (64, 128, 256, 256, 512, 512, 512, 512), strict=True
    ):
        scale = np.float32((2 / (9 * inputs)) ** 0.5)
        arrays[f"features.{layer}.weight"] = scale * draw.standard_normal((width, inputs, 3, 3), np.float32)
        arrays[f"features.{layer}.bias"] = np.zeros(width, np.float32)
        inputs = width
    arrays |= {name: np.zeros(2, np.float32) for name in ("pre_logits.fc1.weight", "pre_logits.fc2.bias")}
    arrays |= {name: np.zeros(2, np.float32) for name in ("head.fc.weight", "head.fc.bias")}
    save_file(arrays, made / "model.safetensors")
    return made


def test_what_is_known_before_the_weights_are_read(folder: Path) -> None:
    facts = pretrained.inspect(folder)
    assert facts.config["model_type"] == "vgg"
    assert facts.preprocess == Preprocess(crop=0.875)
    assert facts.channels == 3
    assert not facts.notes


def test_a_network_without_its_top(folder: Path, tmp_path: Path) -> None:
    top = pretrained.top.entries("flatten", dict(name=""))
    model, report = pretrained.load(folder, num_classes=2, image_size=48, top=top)
    arrays = load_file(folder / "model.safetensors")
    np.testing.assert_array_equal(
        np.asarray(model.blocks[7].conv.kernel[...]), arrays["features.18.weight"].transpose(2, 3, 1, 0)
    )
    assert model.spec.features == 512
    why = {entry.name: entry.why for entry in report.ignored}
    assert "fc6 and fc7" in why["pre_logits.fc1.weight"]
    assert "head.fc.weight" in why
    out = pretrained.export(model, tmp_path / "out", classes=("a", "b"))
    assert "architecture" not in json.loads((out / "config.json").read_text())
    folders.assert_same(pretrained.load(out)[0], model)


def test_with_its_top_the_arrays_must_be_there(folder: Path) -> None:
    with pytest.raises(PretrainedError) as error:
        pretrained.load(folder, num_classes=2)
    for name in ("pre_logits.fc1.bias", "pre_logits.fc2.weight"):
        assert f"missing array '{name}'" in str(error.value)


def test_a_gray_picture_costs_the_first_block_two_channels(folder: Path) -> None:
    """Its bias takes the channels' different means; the padded border apart, it computes the same."""
    top = pretrained.top.entries("pooled", dict(name=""))
    gray = np.random.default_rng(0).random((1, 32, 32, 1), np.float32)
    made = []
    for how in ("sum", "repeat"):
        model, _ = pretrained.load(folder, num_classes=2, channels=1, gray=how, top=top)
        facts = model.spec.preprocess
        normalised = (gray - np.float32(facts.mean)) / np.float32(facts.std)
        made.append(np.asarray(model.blocks[0].conv(normalised))[:, 1:-1, 1:-1])
    assert model.spec.channels == 3
    np.testing.assert_allclose(*made, atol=2e-5)
    model, report = pretrained.load(folder, num_classes=2, channels=1, gray="sum", top=top, keep="stem")
    assert model.spec.channels == 1
    assert not report.loaded_paths, "the stem is empty, so that nothing was there to keep or to sum"


def test_timm_is_told_what_was_exported(tmp_path: Path) -> None:
    model, _ = pretrained.load(folders.FIXTURES / "vgg")
    facts = timm.written(model.spec, ("a", "b", "c"))
    assert facts == {}, "timm has no network of these sizes"
    config = {"architecture": "vgg11"}
    spec = dataclasses.replace(model.spec, preprocess=Preprocess(crop=0.875), config=config)
    facts = timm.written(spec, ("a", "b"))
    assert (facts["num_classes"], facts["label_names"]) == (2, ["a", "b"])
    assert facts["pretrained_cfg"].items() >= {"input_size": [3, 224, 224], "crop_pct": 0.875}.items()
    assert timm.from_timm(facts["pretrained_cfg"]) == Preprocess(crop=0.875)
    assert timm.read({"architecture": "vgg11", **facts})["id2label"] == {"0": "a", "1": "b"}
