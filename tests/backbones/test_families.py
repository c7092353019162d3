"""What one family has and others lack, and configs that describe no network."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tl_jax import backbones
from tl_jax.backbones import convnext, dinov2, inception, resnet, vgg, vit
from tl_jax.backbones.anatomy import Preprocess, set_mode, split
from tl_jax.backbones.hf_config import ConfigError
from tl_jax.backbones.necks import NECK
from tl_jax.pretrained.initial import keys


def _outline(config: dict[str, Any], **options: Any) -> Any:
    return nnx.eval_shape(lambda: backbones.build(config, rngs=keys(0), **options))


def _called(model: Any, shape: tuple[int, ...]) -> Any:
    return nnx.eval_shape(lambda model, x: model(x), model, jnp.zeros(shape))


@pytest.mark.parametrize(
    ("name", "millions", "blocks", "levels"),
    [
        ("resnet-18", 11.69, 8, (2, 4, 6, 8)),
        ("resnet-34", 21.80, 16, (3, 7, 13, 16)),
        ("resnet-50", 25.56, 16, (3, 7, 13, 16)),
        pytest.param("resnet-101", 44.55, 33, (3, 7, 30, 33), marks=pytest.mark.slow),
        pytest.param("resnet-152", 60.19, 50, (3, 11, 47, 50), marks=pytest.mark.slow),
        ("vit-tiny-patch16-224", 5.72, 12, (3, 6, 9, 12)),
        ("vit-small-patch16-224", 22.05, 12, (3, 6, 9, 12)),
        ("vit-base-patch16-224", 86.57, 12, (3, 6, 9, 12)),
        ("vit-base-patch32-224", 88.22, 12, (3, 6, 9, 12)),
        pytest.param("vit-large-patch16-224", 304.33, 24, (6, 12, 18, 24), marks=pytest.mark.slow),
        pytest.param("vit-huge-patch14-224", 632.05, 32, (8, 16, 24, 32), marks=pytest.mark.slow),
        ("convnext-tiny", 28.59, 18, (3, 6, 15, 18)),
        pytest.param("convnext-small", 50.22, 36, (3, 6, 33, 36), marks=pytest.mark.slow),
        pytest.param("convnext-base", 88.59, 36, (3, 6, 33, 36), marks=pytest.mark.slow),
        pytest.param("convnext-large", 197.77, 36, (3, 6, 33, 36), marks=pytest.mark.slow),
        pytest.param("convnext-xlarge", 350.20, 36, (3, 6, 33, 36), marks=pytest.mark.slow),
        ("vgg11", 132.86, 8, (1, 2, 4, 6, 8)),
        ("vgg11_bn", 132.87, 8, (1, 2, 4, 6, 8)),
        ("vgg13", 133.05, 10, (2, 4, 6, 8, 10)),
        ("vgg13_bn", 133.05, 10, (2, 4, 6, 8, 10)),
        ("vgg16", 138.36, 13, (2, 4, 7, 10, 13)),
        ("vgg16_bn", 138.37, 13, (2, 4, 7, 10, 13)),
        ("vgg19", 143.67, 16, (2, 4, 8, 12, 16)),
        ("vgg19_bn", 143.68, 16, (2, 4, 8, 12, 16)),
        ("inception_v3", 23.83, 11, (3, 8, 11)),
    ],
)
def test_named_sizes_have_the_published_number_of_parameters(
    name: str, millions: float, blocks: int, levels: tuple[int, ...]
) -> None:
    named = {size: facts for family in backbones.FAMILIES.values() for size, facts in family.sizes.items()}
    model = _outline(named[name], outputs=1000)
    _, params, _ = split(model)
    assert sum(leaf.size for leaf in params.values()) / 1e6 == pytest.approx(millions, abs=0.006)
    assert len(model.blocks) == blocks
    assert model.spec.levels == levels


@pytest.mark.parametrize(
    ("name", "millions", "blocks"),
    [
        ("dinov2-small", 22.06, 12),
        ("dinov2-with-registers-small", 22.06, 12),
        ("dinov2-base", 86.58, 12),
        pytest.param("dinov2-large", 304.37, 24, marks=pytest.mark.slow),
        pytest.param("dinov2-giant", 1136.48, 40, marks=pytest.mark.slow),
    ],
)
def test_dinov2_has_the_published_number_of_parameters_below_its_head(
    name: str, millions: float, blocks: int
) -> None:
    model = _outline(dinov2.sizes[name])
    below = {path: leaf for path, leaf in split(model)[1].items() if not path.startswith("head/")}
    assert sum(leaf.size for leaf in below.values()) / 1e6 == pytest.approx(millions, abs=0.006)
    assert len(model.blocks) == blocks
    assert model.spec.levels == tuple(blocks * quarter // 4 for quarter in (1, 2, 3, 4))
    assert model.spec.preprocess.size == (518, 518)


def test_a_dinov2_takes_the_pictures_that_are_prepared_for_it() -> None:
    config = dinov2.sizes["dinov2-small"]
    model = _outline(config, preprocess=Preprocess(size=(224, 224)))
    assert model.stem.positions.shape == (1, 1 + 16 * 16, 384)
    assert model.spec.config["image_size"] == 224
    asked = _outline(config, preprocess=Preprocess(size=(224, 224)), image_size=98)
    assert asked.spec.preprocess.size == (98, 98)
    assert asked.grid == (7, 7)
    with pytest.raises(ConfigError, match=r"image_size=100 is no multiple of patch_size=14.*98 or 112"):
        _outline(config, image_size=100)
    assert _outline(config, preprocess=Preprocess(size=(100, 100))).grid == (7, 7)  # as its file says


def test_deit_reads_two_tokens_only_with_a_teacher() -> None:
    both = _outline(vit.sizes["deit-tiny-distilled-patch16-224"])
    one = _outline({**vit.sizes["deit-tiny-distilled-patch16-224"], "architectures": ["DeiTModel"]})
    assert (both.spec.features, one.spec.features) == (384, 192)
    assert both.stem.positions.shape == one.stem.positions.shape == (1, 198, 192)
    assert one.spec.config["architectures"] == ["DeiTForImageClassification"]


def test_outputs_follow_the_labels() -> None:
    config = {**resnet.sizes["resnet-18"]}
    assert _outline(config).head.linear.out_features == 2
    assert _outline({**config, "num_labels": 5}).head.linear.out_features == 5
    assert _outline({**config, "id2label": {"0": "a", "1": "b", "2": "c"}}).head.linear.out_features == 3
    assert _outline(config, outputs=7).head.linear.out_features == 7


def test_another_size_is_recorded_where_an_export_finds_it() -> None:
    model = _outline({**vit.sizes["vit-tiny-patch16-224"], "id2label": {"0": "a"}}, image_size=384)
    assert model.spec.config["image_size"] == 384
    assert model.spec.preprocess.size == (384, 384)
    assert model.spec.config["id2label"] == {"0": "a"}
    assert model.stem.positions.shape == (1, 577, 192)


def test_a_vit_refuses_pictures_of_another_size() -> None:
    model = _outline(vit.sizes["vit-tiny-patch16-224"])
    with pytest.raises(ValueError, match=r"\(224, 224, 3\).*\(96, 96, 3\).*image_size"):
        nnx.eval_shape(model, jax.ShapeDtypeStruct((2, 96, 96, 3), jnp.float32))


def test_pixels_beyond_the_last_patch_are_left_out() -> None:
    config = dict(model_type="vit", hidden_size=8, num_attention_heads=2, num_hidden_layers=1, patch_size=8)
    model = vit.build({**config, "image_size": 21}, rngs=keys(0))
    images = np.random.default_rng(0).normal(size=(1, 21, 21, 3)).astype(np.float32)
    blank = images.copy()
    blank[:, 16:] = blank[:, :, 16:] = 0
    np.testing.assert_array_equal(*(jax.jit(model.stem.patch)(pixels) for pixels in (images, blank)))
    assert nnx.eval_shape(model, images).shape == (1, 2)


@pytest.mark.parametrize("size", [33, 47])
def test_a_resnet_takes_odd_sizes(size: int) -> None:
    model = resnet.build(
        dict(embedding_size=4, hidden_sizes=(4, 8), depths=(1, 1), layer_type="basic"), rngs=keys(0)
    )
    set_mode(model, dropout=False, batch_statistics=False)
    carry = nnx.eval_shape(model.stem, jnp.ones((1, size, size, 3)))
    assert carry["x"].shape == (1, -(-size // 4), -(-size // 4), 4)


VGG = dict(model_type="vgg", hidden_sizes=(4, 8), depths=(1, 1), num_features=16)


def test_a_vgg_drops_between_its_large_layers_in_training() -> None:
    model = vgg.build({**VGG, "hidden_dropout_prob": 0.5}, rngs=keys(0))
    x = jax.random.normal(jax.random.key(1), (2, 8, 8, 8))
    one, other = (model.neck({"x": x}, key=jax.random.key(i)) for i in range(2))
    assert not np.array_equal(one, other)
    set_mode(model, dropout=False, batch_statistics=False)
    np.testing.assert_array_equal(model.neck({"x": x}, key=jax.random.key(0)), model.neck({"x": x}))


def test_a_vgg_refuses_what_leaves_no_map() -> None:
    with pytest.raises(ConfigError, match=r"pictures of \(3, 3\) .* leave no map"):
        _outline(VGG, image_size=3)
    model = _outline(VGG)
    with pytest.raises(ValueError, match="too small for this VGG"):
        _called(model, (2, 2, 9, 3))
    with pytest.raises(ConfigError, match="one length"):
        _outline(dict(VGG, depths=(1, 1, 1)))


def test_a_flattened_map_is_of_one_size() -> None:
    model = _outline({**VGG, NECK: "flatten"}, image_size=32)
    assert (model.spec.features, model.spec.config["image_size"]) == (8 * 8 * 8, 32)
    with pytest.raises(ValueError, match=r"\(8, 8, 8\), not \(10, 10, 8\): resize the pictures"):
        _called(model, (2, 40, 40, 3))


def test_the_maps_of_an_inception_are_those_of_the_paper() -> None:
    spec = _outline(inception.sizes["inception_v3"]).spec
    assert spec.preprocess.size == (299, 299)
    assert [spec.cells(299, blocks) for blocks in spec.levels] == [35, 17, 8]
    assert (spec.widths, spec.features) == ((288, 768, 2048), 2048)
    assert spec.config["architecture"] == "inception_v3"
    with pytest.raises(ConfigError, match=r"pictures of \(74, 74\) .* leave no map"):
        _outline(inception.sizes["inception_v3"], image_size=74)


def test_every_problem_of_an_inception_config_in_one_error() -> None:
    for bad, text in (
        (dict(depths=(3, 6, 3)), "at most (3, 5, 3)"),
        (dict(depths=(3, 5, 3, 1)), "at most (3, 5, 3)"),
        (dict(depth_multiplier=0), "leaves no channels"),
        (dict(batch_norm_eps=-1.0), "batch_norm_eps=-1.0"),
    ):
        with pytest.raises(ConfigError) as error:
            _outline({"model_type": "inception_v3", **bad})
        assert text in str(error.value)


@pytest.mark.parametrize("change", [{}, dict(num_channels=1), {NECK: "pooled"}, dict(num_features=512)])
def test_a_vgg_has_timms_name_where_it_is_timms_network(change: dict[str, Any]) -> None:
    given = {**vgg.sizes["vgg13_bn"], "architecture": "vgg13_bn", **change}
    assert _outline(given).spec.config.get("architecture") == (None if change else "vgg13_bn")


def test_every_problem_of_a_resnet_config_in_one_error() -> None:
    bad = dict(model_type="resnet", depths=(2, 0), hidden_act="rely", layer_type="wide", num_channels=True)
    with pytest.raises(ConfigError) as error:
        _outline(bad)
    for text in ("depths=(2, 0)", "'relu'", "layer_type='wide'", "num_channels=True"):
        assert text in str(error.value)
    with pytest.raises(ConfigError, match=r"hidden_sizes=\(2, 8\).* 4 at least"):
        _outline(dict(model_type="resnet", depths=(2, 2), hidden_sizes=(2, 8)))
    with pytest.raises(ConfigError, match="one length"):
        _outline(dict(model_type="resnet", depths=(2, 2)))


def test_every_problem_of_a_vit_config_in_one_error() -> None:
    bad = dict(
        model_type="vit", hidden_size="192", hidden_dropout_prob=-1, patch_size=[16, 16, 16], qkv_bias=1
    )
    with pytest.raises(ConfigError) as error:
        _outline(bad)
    for text in ("hidden_size='192'", "hidden_dropout_prob=-1", "patch_size=[16, 16, 16]", "qkv_bias=1"):
        assert text in str(error.value)
    with pytest.raises(ConfigError) as error:
        _outline(dict(model_type="vit", hidden_size=100, num_attention_heads=3, image_size=8))
    assert "num_attention_heads=3" in str(error.value)
    assert "image_size=8" in str(error.value)


def test_every_problem_of_a_dinov2_config_in_one_error() -> None:
    bad = dict(model_type="dinov2", mlp_ratio=0, use_swiglu_ffn=1, drop_path_rate=-0.1)
    with pytest.raises(ConfigError) as error:
        _outline(bad)
    for text in ("mlp_ratio=0", "use_swiglu_ffn=1", "drop_path_rate=-0.1"):
        assert text in str(error.value)
    with pytest.raises(ConfigError) as error:
        _outline(dict(model_type="dinov2", hidden_size=100, num_attention_heads=3, image_size=(28, 56)))
    for text in ("num_attention_heads=3", "2 × 4 patches", "square"):
        assert text in str(error.value)
    with pytest.raises(ConfigError, match="num_register_tokens=0"):
        _outline(dict(model_type="dinov2_with_registers", num_register_tokens=0))


def test_every_problem_of_a_convnext_config_in_one_error() -> None:
    with pytest.raises(ConfigError) as error:
        _outline(dict(model_type="convnext", depths=(2, 0), hidden_act="gellu", layer_scale_init_value=-1))
    for text in ("depths=(2, 0)", "'gelu'", "layer_scale_init_value=-1"):
        assert text in str(error.value)
    with pytest.raises(ConfigError, match="one length"):
        _outline(dict(model_type="convnext", depths=(2, 2)))
    with pytest.raises(ConfigError, match="num_stages=4"):
        _outline(dict(model_type="convnext", depths=(2, 2), hidden_sizes=(8, 16), num_stages=4))


@pytest.mark.parametrize("size", [33, 47])
def test_a_convnext_takes_any_size(size: int) -> None:
    model = _outline(dict(model_type="convnext", depths=(1, 1), hidden_sizes=(4, 8)))
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    stem, logits = nnx.eval_shape(
        lambda model, images: (model.stem(images)["x"], model(images)), model, images
    )
    assert (stem.shape, logits.shape) == ((1, size // 4, size // 4, 4), (1, 2))


def test_stochastic_depth_drops_what_a_block_adds_to_a_picture_or_keeps_it_whole() -> None:
    """More and more up the chain of a ConvNeXt; what stays is divided by its probability."""
    config = dict(model_type="convnext", depths=(1, 1, 1), hidden_sizes=(4, 4, 4), drop_path_rate=0.5)
    model = convnext.build({**config, "layer_scale_init_value": 1.0}, rngs=keys(0))
    assert [block.drop_path.rate for block in model.blocks] == [0.0, 0.25, 0.5]
    block, carry = model.blocks[2], {"x": jax.random.normal(jax.random.key(0), (64, 2, 2, 4))}
    whole, random = block(carry)["x"], block(carry, key=jax.random.key(1))["x"]
    below = block.downsample(carry["x"])
    kept = jnp.abs(random - below).max(axis=(1, 2, 3)) > 1e-6
    assert 16 < kept.sum() < 48
    np.testing.assert_allclose((random - below)[kept], 2 * (whole - below)[kept], atol=1e-6)
    set_mode(block, dropout=False, batch_statistics=False)
    np.testing.assert_array_equal(block(carry, key=jax.random.key(1))["x"], whole)


def test_a_null_padding_is_the_familys_own() -> None:
    model = _outline({"model_type": "roberta", "pad_token_id": None})
    assert model.spec.config["pad_token_id"] == 1


@pytest.mark.parametrize("padding", ["<pad>", -1, 9])
def test_a_padding_that_leaves_no_position_is_refused(padding: Any) -> None:
    with pytest.raises(ConfigError, match=r"pad_token_id=.* 0 ≤ value < 9: .* max_position_embeddings=10"):
        _outline({"model_type": "roberta", "max_position_embeddings": 10, "pad_token_id": padding})


def test_an_unknown_family_is_answered_with_the_nearest() -> None:
    known = ", ".join(backbones.FAMILIES)
    with pytest.raises(ValueError, match=rf"'resnest' is unknown; the nearest of {known} is 'resnet'"):
        backbones.family({"model_type": "resnest"})
    with pytest.raises(ValueError, match="no 'model_type'"):
        backbones.family({})


@pytest.mark.parametrize("first", ["tl_jax.backbones", "tl_jax.pretrained", "tl_jax.pretrained.rules"])
def test_either_package_can_be_imported_first(first: str) -> None:
    """Families use the table's rules, and loading uses the families."""
    code = f"import {first}, sys; assert not {{'torch', 'tensorflow'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
