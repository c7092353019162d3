"""The small models of tests/fixtures: every block and the logits are what torch computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.backbones.parity import assert_equal, computed, filled
from tl_jax import backbones
from tl_jax.backbones.anatomy import split
from tl_jax.pretrained.rules import to_theirs

FIXTURES = Path(__file__).parents[1] / "fixtures"
NAMES = sorted(folder.parent.name for folder in FIXTURES.glob("*/reference.npz"))


def _read(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, np.ndarray]]:
    folder = FIXTURES / name
    with np.load(folder / "reference.npz") as reference:
        return (
            json.loads((folder / "config.json").read_text()),
            load_file(folder / "model.safetensors"),
            dict(reference),
        )


def test_every_family_has_a_small_reference() -> None:
    alike = {"xlm-roberta", "camembert"}  # RoBERTa's, under other names
    assert {_read(name)[0]["model_type"] for name in NAMES} == set(backbones.FAMILIES) - alike


@pytest.mark.parametrize("name", NAMES)
def test_blocks_and_logits(name: str) -> None:
    config, arrays, reference = _read(name)
    model = filled(config, arrays)
    ours = computed(model, reference["images"])
    wanted = {key: reference[key] for key in reference if key.startswith(("stem", "blocks", "logits"))}
    if model.spec.text:  # of padding they may think as they like
        there = reference["images"] >= 0
        for some in (ours, wanted):
            some |= {key: part[there] for key, part in some.items() if key != "logits"}
    assert_equal(ours, wanted)
    assert len(wanted) >= 1 + len(model.blocks)


@pytest.mark.parametrize("name", ["vit", "deit-teacher", "dinov2", "dinov2-registers", "convnext"])
def test_larger_pictures(name: str) -> None:
    config, arrays, reference = _read(name)
    model = filled(config, arrays, image_size=reference["large/images"].shape[1])
    ours = computed(model, reference["large/images"])
    assert_equal(ours, {key: reference[f"large/{key}"] for key in ("stem", "logits")})


def test_the_auxiliary_classifier_of_an_inception_is_left_unread() -> None:
    config, arrays, reference = _read("inception")
    more = {"AuxLogits.conv0.conv.weight": np.zeros((8, 23, 1, 1)), "AuxLogits.fc.bias": np.zeros(3)}
    assert_equal(
        computed(filled(config, {**arrays, **more}), reference["images"]), {"logits": reference["logits"]}
    )


@pytest.mark.parametrize("name", ["vgg", "vgg-bn"])
def test_a_vgg_sees_pictures_of_any_size(name: str) -> None:
    """With fewer cells than its large layers look at, and with so many that several windows are averaged."""
    config, arrays, reference = _read(name)
    model = filled(config, arrays)
    for size in ("small", "large"):
        ours = computed(model, reference[f"{size}/images"])
        assert_equal(ours, {"logits": reference[f"{size}/logits"]})


@pytest.mark.parametrize("name", NAMES)
def test_back_to_the_same_arrays(name: str) -> None:
    """Reading and writing gives the checkpoint's own names, shapes and numbers."""
    config, arrays, _ = _read(name)
    model = filled(config, arrays)
    _, params, stats = split(model)
    back = to_theirs({**params, **stats}, backbones.table(model.spec.config))
    base = name.endswith("-model")
    prefix = f"{config['model_type']}."
    wanted = {
        full: array
        for key, array in arrays.items()
        if (full := f"{prefix}{key}" if base else key) in back or "pooler" not in key
    }
    assert set(wanted) == {key for key in back if not (base and key.startswith("classifier"))}
    for key in wanted:
        assert back[key].shape == wanted[key].shape
        if "num_batches_tracked" in key:
            assert back[key].dtype == np.int64
        elif key.endswith("mask_token"):
            assert not back[key].any()  # nobody reads it, but transformers expects one
        elif not (key.endswith("classifier.bias") and name == "deit-teacher"):  # they come back as their mean
            np.testing.assert_allclose(back[key], wanted[key], rtol=1e-6, err_msg=key)


def test_a_gray_stem_sums_the_colours() -> None:
    """A one-channel model computes of a gray picture what the colour model does of it repeated."""
    for name in ("vit", "resnet-basic", "vgg", "dinov2", "convnext"):
        config, arrays, reference = _read(name)
        gray = reference["images"][..., :1]
        colour = computed(filled(config, arrays), np.repeat(gray, 3, axis=-1))
        if name == "vgg":
            del colour["stem"]  # the pictures themselves
        assert_equal(computed(filled(config, arrays, channels=1), gray), colour)


def test_real_weights(shared: Path) -> None:
    """The ViT-Tiny that lies beside the checkout, against numbers computed by torch."""
    folder = shared / "models" / "vit-tiny-patch16-224"
    config = json.loads((folder / "config.json").read_text())
    model = filled(config, load_file(folder / "model.safetensors"))
    reference = np.load(folder / "reference.npz")
    ours = computed(model, (reference["images_uint8"].astype(np.float32) / 255 - 0.5) / 0.5)
    ours["blocks/0"], ours["blocks/11"] = ours["blocks/0"][:, :8], ours["blocks/11"][:, 0]
    wanted = {"blocks/0": "hidden_after_layer0", "blocks/11": "cls_last_hidden", "logits": "logits"}
    assert_equal(ours, {key: reference[name] for key, name in wanted.items()})
