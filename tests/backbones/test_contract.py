"""The anatomy contract, the same for every family: what freezing, caching and export rely on."""

from __future__ import annotations

import itertools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tl_jax import backbones
from tl_jax.backbones.anatomy import Backbone, Preprocess, merge, run, set_mode, split, statistics
from tl_jax.pretrained.rules import Ignore, Rule, to_ours, to_theirs

_TRANSFORMER: dict[str, Any] = dict(
    hidden_size=8,
    num_hidden_layers=5,
    num_attention_heads=2,
    intermediate_size=16,
    image_size=32,
    patch_size=8,
    hidden_dropout_prob=0.2,
    attention_probs_dropout_prob=0.2,
)
_CONV: dict[str, Any] = dict(model_type="resnet", embedding_size=4, hidden_sizes=(8, 16), depths=(2, 1))

CONFIGS: dict[str, dict[str, Any]] = {
    "resnet basic": {**_CONV, "layer_type": "basic"},
    "resnet bottleneck": {**_CONV, "layer_type": "bottleneck"},
    "resnet odd": {**_CONV, "downsample_in_first_stage": True, "downsample_in_bottleneck": True},
    "vit": {**_TRANSFORMER, "model_type": "vit"},
    "vit without bias": {**_TRANSFORMER, "model_type": "vit", "qkv_bias": False},
    "deit": {**_TRANSFORMER, "model_type": "deit"},
    "deit with teacher": {
        **_TRANSFORMER,
        "model_type": "deit",
        "architectures": ["DeiTForImageClassificationWithTeacher"],
    },
}
SIZE, OUTPUTS = 32, 3

every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def _build(config: dict[str, Any], **options: Any) -> Backbone:
    family = backbones.family(config)
    return family.build(config, outputs=OUTPUTS, dropout=0.3, rngs=nnx.Rngs(0), **options)


def _images(channels: int = 3) -> jax.Array:
    return jax.random.normal(jax.random.key(1), (4, SIZE, SIZE, channels))


def _mode(model: Backbone, *, training: bool) -> jax.Array | None:
    """Sets the mode; returns the key that goes with it."""
    set_mode(model, dropout=training, batch_statistics=training)
    return jax.random.key(2) if training else None


def _assert_same(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_every_family_is_here() -> None:
    assert {config["model_type"] for config in CONFIGS.values()} == set(backbones.FAMILIES)


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@every_config
def test_cutting_anywhere_changes_nothing(config: dict[str, Any], training: bool) -> None:
    whole, cut = _build(config), _build(config)
    key = _mode(whole, training=training)
    _mode(cut, training=training)
    stem = whole.stem(_images(), key=key)
    assert set(stem) == set(cut.stem(_images(), key=key))
    n = len(whole.blocks)
    end, taps = run(whole, stem, taps=range(n), key=key)
    assert sorted(taps) == list(range(n))
    _assert_same(taps[n - 1], end)
    for k in range(n + 1):
        middle, _ = run(cut, stem, stop=k, key=key)
        _assert_same(middle, taps[k - 1] if k else stem)
        again, _ = run(cut, middle, start=k, key=key)
        _assert_same(again, end)


@every_config
def test_the_call_is_stem_blocks_neck_head(config: dict[str, Any]) -> None:
    model = _build(config)
    _mode(model, training=False)
    carry, _ = run(model, model.stem(_images()))
    features = model.neck(carry)
    assert features.shape == (4, model.spec.features)
    logits = model(_images())
    assert logits.shape == (4, OUTPUTS)
    assert logits.dtype == jnp.float32
    _assert_same(model.head(features), logits)


@every_config
def test_every_path_has_a_depth_and_every_depth_a_path(config: dict[str, Any]) -> None:
    model = _build(config)
    _, params, stats = split(model)
    depths = {model.depth(path) for path in (*params, *stats)}
    assert depths == set(range(len(model.blocks) + 2))


@every_config
def test_levels_say_what_feature_maps_look_like(config: dict[str, Any]) -> None:
    model = _build(config)
    _mode(model, training=False)
    spec = model.spec
    assert len(spec.levels) == len(spec.strides) == len(spec.widths)
    assert spec.levels[-1] == len(model.blocks)
    assert list(spec.levels) == sorted(set(spec.levels))
    stem = model.stem(_images())
    for blocks, stride, width in zip(spec.levels, spec.strides, spec.widths, strict=True):
        carry, _ = run(model, stem, stop=blocks)
        assert model.feature_map(carry).shape == (4, SIZE // stride, SIZE // stride, width)


@every_config
def test_one_channel(config: dict[str, Any]) -> None:
    model = _build(config, channels=1, preprocess=Preprocess(mean=(0.2, 0.4, 0.6), std=(0.1, 0.2, 0.3)))
    _mode(model, training=False)
    assert model.spec.channels == model.spec.config["num_channels"] == 1
    np.testing.assert_allclose((*model.spec.preprocess.mean, *model.spec.preprocess.std), (0.4, 0.2))
    assert model(_images(channels=1)).shape == (4, OUTPUTS)


@every_config
def test_an_abstract_build_is_the_real_one_without_numbers(config: dict[str, Any]) -> None:
    graph, *leaves = split(_build(config))
    outline, *abstract = split(nnx.eval_shape(lambda: _build(config)))
    assert graph == outline  # so one compiled program serves both
    assert hash(graph) == hash(outline)
    for real, shape in zip(leaves, abstract, strict=True):
        assert list(real) == list(shape)
        assert {p: (a.shape, a.dtype) for p, a in real.items()} == {
            p: (a.shape, a.dtype) for p, a in shape.items()
        }
    merge(outline, *leaves)


@every_config
def test_the_table_covers_every_leaf_once_both_ways(config: dict[str, Any]) -> None:
    model = _build(config)
    _, params, stats = split(model)
    noise = itertools.count(1)
    leaves = {
        p: np.random.default_rng(next(noise)).normal(size=a.shape).astype("f4")
        for p, a in (params | stats).items()
    }
    table = backbones.family(config).table(model.spec.config)
    for path in leaves:
        patterns = [
            re.sub(r"\\\{\w+\\\}", r"\\d+", re.escape(line.ours)) for line in table if isinstance(line, Rule)
        ]
        assert sum(bool(re.fullmatch(pattern, path)) for pattern in patterns) == 1, path

    arrays = to_theirs(leaves, table)
    parts = {line.ours: len(line.names) for line in table if isinstance(line, Rule)}
    constants = sum(isinstance(line, Ignore) and line.value is not None for line in table)
    assert len(arrays) == constants + sum(parts.get(path, 1) for path in leaves)
    back = to_ours(arrays, table, leaves)
    assert set(back.leaves) == set(leaves)
    for path, leaf in leaves.items():
        np.testing.assert_allclose(back.leaves[path], leaf, rtol=1e-6, err_msg=path)


@every_config
def test_training_mode_is_random_by_key_and_moves_statistics(config: dict[str, Any]) -> None:
    model = _build(config)
    key = _mode(model, training=True)
    before = statistics(model)
    first, second, other = (model(_images(), key=k) for k in (key, key, jax.random.key(3)))
    _assert_same(first, second)
    assert not np.array_equal(first, other)
    moved = statistics(model)
    assert all(not np.array_equal(moved[path], before[path]) for path in before)

    _mode(model, training=False)
    calm = model(_images())
    _assert_same(calm, model(_images(), key=key))  # inference mode takes no notice of a key
    _assert_same(statistics(model), moved)


@every_config
def test_dropout_of_the_config_acts_in_blocks(config: dict[str, Any]) -> None:
    model = _build(config)
    key = _mode(model, training=True)
    set_mode(model, dropout=True, batch_statistics=False)
    stem = model.stem(_images(), key=None)
    carry, _ = run(model, stem, key=key)
    other, _ = run(model, stem, key=jax.random.key(9))
    assert np.array_equal(carry["x"], other["x"]) == ("hidden_dropout_prob" not in config)


@every_config
def test_every_parameter_takes_part(config: dict[str, Any]) -> None:
    model = _build(config)
    key = _mode(model, training=True)
    graph, params, stats = split(model)

    def loss(params: dict[str, jax.Array]) -> jax.Array:
        return jnp.sum(merge(graph, params, stats)(_images(), key=key) ** 2)

    grads = jax.jit(jax.grad(loss))(params)
    still = {path for path, grad in grads.items() if float(jnp.abs(grad).max()) < 1e-9}
    # A bias on the keys adds the same to all scores of a query, which softmax does not see.
    assert {path for path in still if not path.endswith("attention/key/bias")} == set()


@every_config
def test_bfloat16_stays_bfloat16(config: dict[str, Any]) -> None:
    """Weights and pictures in bfloat16, statistics in float32: no part widens the carry again."""
    model = _build(config)
    for training in (False, True):
        key = _mode(model, training=training)
        graph, params, stats = split(model)
        half = merge(graph, {p: a.astype(jnp.bfloat16) for p, a in params.items()}, stats)
        stem = half.stem(_images().astype(jnp.bfloat16), key=key)
        carry, taps = run(half, stem, taps=range(len(half.blocks)), key=key)
        assert {c["x"].dtype for c in (stem, carry, *taps.values())} == {jnp.dtype("bfloat16")}
        assert half.head(half.neck(carry)).dtype == jnp.bfloat16
        assert {a.dtype for a in statistics(half).values()} <= {jnp.dtype("float32")}
