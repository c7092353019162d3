"""The anatomy contract, the same for every family: what freezing, caching and export rely on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tl_jax import backbones
from tl_jax.backbones.anatomy import (
    Backbone,
    Preprocess,
    merge,
    onward,
    run,
    set_mode,
    split,
    statistics,
    upto,
)
from tl_jax.backbones.heads import HEAD
from tl_jax.backbones.hf_config import ConfigError
from tl_jax.backbones.necks import NECK
from tl_jax.backbones.text import PADDING
from tl_jax.pretrained.initial import keys
from tl_jax.pretrained.rules import Ignore, Rule, to_ours, to_theirs
from tl_jax.programs import flops

_TRANSFORMER: dict[str, Any] = dict(
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=16,
    image_size=32,
    patch_size=8,
    hidden_dropout_prob=0.2,
    attention_probs_dropout_prob=0.2,
)
_DINO: dict[str, Any] = {
    **{name: value for name, value in _TRANSFORMER.items() if name != "intermediate_size"},
    "model_type": "dinov2",
    "mlp_ratio": 2,
}
_NEXT: dict[str, Any] = dict(model_type="convnext", hidden_sizes=(8, 16), depths=(1, 2))
_CONV: dict[str, Any] = dict(model_type="resnet", embedding_size=4, hidden_sizes=(8, 16), depths=(2, 1))
_VGG: dict[str, Any] = dict(model_type="vgg", hidden_sizes=(8, 16), depths=(1, 2), num_features=24)
_INCEPTION: dict[str, Any] = dict(
    model_type="inception_v3", depths=(1, 2, 2), depth_multiplier=1 / 8, image_size=80
)
SIZE, OUTPUTS = 32, 3

_BERT: dict[str, Any] = dict(
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=16,
    vocab_size=40,
    max_position_embeddings=20,
    hidden_dropout_prob=0.2,
    attention_probs_dropout_prob=0.2,
)

TEXT_CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {**_BERT, "model_type": "bert"},
    "bert mean": {**_BERT, "model_type": "bert", "pooling": "mean"},
    "roberta": {**_BERT, "model_type": "roberta"},
    "xlm-roberta first": {**_BERT, "model_type": "xlm-roberta", "pooling": "first"},
    "camembert": {**_BERT, "model_type": "camembert"},
    "distilbert": dict(
        model_type="distilbert",
        dim=8,
        n_layers=2,
        n_heads=2,
        hidden_dim=16,
        vocab_size=40,
        max_position_embeddings=20,
    ),
    "gpt2": dict(model_type="gpt2", n_embd=8, n_layer=2, n_head=2, vocab_size=40, n_positions=20),
    "gpt2 mean": dict(
        model_type="gpt2", n_embd=8, n_layer=2, n_head=2, vocab_size=40, n_positions=20, pooling="mean"
    ),
    "gpt2 next word": dict(
        model_type="gpt2", n_embd=8, n_layer=2, n_head=2, vocab_size=40, n_positions=20, pooling="each"
    ),
    "gpt2 next word untied": dict(
        model_type="gpt2",
        n_embd=8,
        n_layer=2,
        n_head=2,
        vocab_size=40,
        n_positions=20,
        pooling="each",
        tie_word_embeddings=False,
    ),
}

PICTURE_CONFIGS: dict[str, dict[str, Any]] = {
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
    "dinov2": {**_DINO, "drop_path_rate": 0.3},
    "dinov2 with SwiGLU": {**_DINO, "use_swiglu_ffn": True, "qkv_bias": False, "use_mask_token": False},
    "dinov2 with registers": {**_DINO, "model_type": "dinov2_with_registers", "num_register_tokens": 3},
    "convnext": _NEXT,
    "convnext with drop path": {**_NEXT, "drop_path_rate": 0.3, "layer_scale_init_value": 0.0},
    "vgg": _VGG,
    "vgg with norms": {**_VGG, "batch_norm": True},
    "vgg without its top": {**_VGG, NECK: "flatten", "image_size": SIZE},
    "inception": _INCEPTION,
    "inception of three blocks": {**_INCEPTION, "depths": (1, 1, 1)},
    "resnet flattened": {**_CONV, "layer_type": "basic", NECK: "flatten", "image_size": SIZE},
    "vit under a perceptron": {
        **_TRANSFORMER,
        "model_type": "vit",
        HEAD: {"sizes": [12, 10], "act": "tanh", "dropout": 0.2, "output": "softmax"},
    },
}
CONFIGS = {**PICTURE_CONFIGS, **TEXT_CONFIGS}
_RANDOM = ("hidden_dropout_prob", "drop_path_rate")


def _each(names: Iterable[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("config", [pytest.param(CONFIGS[name], id=name) for name in names])


every_config, every_picture_config, every_text_config = map(_each, (CONFIGS, PICTURE_CONFIGS, TEXT_CONFIGS))
_VARIANTS = (
    "resnet odd",
    "resnet flattened",
    "dinov2 with registers",
    "convnext with drop path",
    "vgg with norms",
)
"""Of families that the fast tier has another network of."""


def _compiled(*names: str) -> pytest.MarkDecorator:
    """A choice, for what takes seconds to compile."""
    chosen = [pytest.param(CONFIGS[name], id=name) for name in names]
    variants = [pytest.param(CONFIGS[name], id=name, marks=pytest.mark.slow) for name in _VARIANTS]
    return pytest.mark.parametrize("config", [*chosen, *variants])


_PICTURES = (
    "resnet basic",
    "vit",
    "deit with teacher",
    "dinov2",
    "convnext",
    "vgg",
    "inception of three blocks",
    "vit under a perceptron",
)
compiled_pictures = _compiled(*_PICTURES)
compiled = _compiled(*_PICTURES, "bert", "roberta", "distilbert", "gpt2", "gpt2 next word")


def _build(config: dict[str, Any], **options: Any) -> Backbone:
    return backbones.build(config, outputs=OUTPUTS, dropout=0.3, rngs=keys(0), **options)


def _model(config: dict[str, Any], **options: Any) -> Backbone:
    """The backbone with numbers from numpy, which need no compiling."""
    graph, params, stats = split(nnx.eval_shape(lambda: _build(config, **options)))
    random = np.random.default_rng(0)
    leaves = {path: random.normal(size=leaf.shape, scale=0.3) for path, leaf in (params | stats).items()}
    positive = {path: 1 + abs(leaf) for path, leaf in leaves.items() if path.endswith(("scale", "var"))}
    return merge(graph, {path: jnp.asarray(leaf, jnp.float32) for path, leaf in (leaves | positive).items()})


def _side(config: dict[str, Any]) -> int:
    return config.get("image_size", SIZE)


def _images(config: dict[str, Any], channels: int = 3) -> jax.Array:
    side = _side(config)
    return jax.random.normal(jax.random.key(1), (4, side, side, channels))


def _inputs(model: Backbone, config: dict[str, Any]) -> jax.Array:
    """Pictures, or texts of several lengths."""
    if model.spec.text is None:
        return _images(config)
    tokens = jax.random.randint(jax.random.key(1), (4, 12), 0, model.spec.text.vocabulary)
    return jnp.where(jnp.arange(12)[None] < jnp.array([12, 7, 3, 1])[:, None], tokens, PADDING)


def _mode(model: Backbone, *, training: bool) -> jax.Array | None:
    """Sets the mode; returns the key that goes with it."""
    set_mode(model, dropout=training, batch_statistics=training)
    return jax.random.key(2) if training else None


def _jit(model: Backbone, function: Callable[..., Any], *args: Any) -> Any:
    """``function(model, *args)`` as one compiled program; the model itself stays as it is."""
    graph, params, stats = split(model)
    return jax.jit(lambda leaves, args: function(merge(graph, leaves), *args))(params | stats, args)


def _assert_same(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_every_family_is_here() -> None:
    assert {config["model_type"] for config in CONFIGS.values()} == set(backbones.FAMILIES)


@pytest.mark.parametrize(
    "training",
    [pytest.param(False, id="inference", marks=pytest.mark.slow), pytest.param(True, id="training")],
)
@compiled
def test_cutting_anywhere_changes_nothing(config: dict[str, Any], training: bool) -> None:
    model = _model(config)
    key = _mode(model, training=training)
    n = len(model.blocks)

    def pieces(model: Backbone, images: jax.Array, key: jax.Array | None) -> Any:
        stem = model.stem(images, key=key)
        end, taps = run(model, stem, taps=range(n), key=key)
        assert sorted(taps) == list(range(n))
        cuts = []
        for k in range(n + 1):
            middle, none = run(model, stem, stop=k, key=key)
            assert not none
            assert set(middle) == set(stem)
            cuts.append((middle, run(model, middle, start=k, key=key)[0]))
        return stem, end, taps, cuts

    stem, end, taps, cuts = _jit(model, pieces, _inputs(model, config), key)
    assert float(jnp.abs(end["x"]).max()) > 0
    for k, (middle, again) in enumerate(cuts):
        _assert_same(middle, taps[k - 1] if k else stem)
        _assert_same(again, end)


@every_config
def test_features_and_logits_have_the_shapes_of_the_spec(config: dict[str, Any]) -> None:
    model = _model(config)
    _mode(model, training=False)

    def both(model: Backbone, inputs: jax.Array) -> Any:
        features = upto(model, inputs, len(model.blocks) + 1)
        return features, model.answer(features), model(inputs)

    features, logits, called = nnx.eval_shape(both, model, _inputs(model, config))
    tokens = (12,) if model.spec.sequence else ()
    assert features.shape == (4, *tokens, model.spec.features)
    assert logits.shape == called.shape == (4, *tokens, 40 if model.spec.sequence else OUTPUTS)
    assert logits.dtype == called.dtype == jnp.float32


def test_the_call_leaves_out_what_the_neck_does_not_read() -> None:
    """A ViT's neck reads one token: of its two blocks, the last takes far less than the first."""
    config = CONFIGS["vit"]
    model = _model(config)
    _mode(model, training=False)

    def whole(images: jax.Array) -> jax.Array:
        return model.head(model.neck(run(model, model.stem(images))[0]))

    called, every = (
        flops(jax.jit(function).lower(_images(config)).compile()) for function in (model.__call__, whole)
    )
    assert called < 0.8 * every


@every_text_config
def test_padding_never_changes_a_logit(config: dict[str, Any]) -> None:
    model = _model(config)
    _mode(model, training=False)
    rows = ((1, 7), (2, 3), (3, 1))

    def each(model: Backbone, tokens: jax.Array) -> Any:
        padded = jnp.pad(tokens, ((0, 0), (0, 6)), constant_values=PADDING)
        return model(tokens), model(padded), [model(tokens[i : i + 1, :length])[0] for i, length in rows]

    logits, padded, alone = _jit(model, each, _inputs(model, config))
    read = slice(12) if model.spec.sequence else ...
    np.testing.assert_allclose(padded[:, read], logits, rtol=1e-5, atol=1e-6)
    for (row, length), found in zip(rows, alone, strict=True):
        read = slice(length) if model.spec.sequence else ...
        np.testing.assert_allclose(found, logits[row][read], rtol=1e-5, atol=1e-6)


@compiled
def test_what_is_kept_of_a_carry_leads_on_to_the_logits_of_all_parts(config: dict[str, Any]) -> None:
    """Cut anywhere up to the neck, or not at all: `Backbone.last` may compute less than a block."""
    model = _model(config)
    _mode(model, training=False)
    n = len(model.blocks)

    def cuts(model: Backbone, inputs: jax.Array) -> Any:
        found = []
        for start in range(n + 2):
            kept = upto(model, inputs, start)
            kept = kept if start > n else model.unpack(model.pack(kept))
            found.append(onward(model, kept, start))
        parts = model.answer(model.neck(run(model, model.stem(inputs))[0]))
        return parts, [*found, model(inputs)]

    logits, found = _jit(model, cuts, _inputs(model, config))
    for one in found:
        np.testing.assert_allclose(one, logits, rtol=1e-5, atol=1e-6)


@every_config
def test_every_path_has_a_depth_and_every_depth_a_path(config: dict[str, Any]) -> None:
    model = _model(config)
    _, params, stats = split(model)
    depths = {model.depth(path) for path in (*params, *stats)}
    first = 0 if split(model.stem)[1] else 1  # a stem may be empty
    assert depths == set(range(first, len(model.blocks) + 2))


@every_picture_config
def test_levels_say_what_feature_maps_look_like(config: dict[str, Any]) -> None:
    model = _model(config)
    _mode(model, training=False)
    spec = model.spec
    assert len(spec.levels) == len(spec.strides) == len(spec.widths)
    assert spec.levels[-1] == len(model.blocks)
    assert list(spec.levels) == sorted(set(spec.levels))

    def maps(model: Backbone, images: jax.Array) -> list[jax.Array]:
        stem = model.stem(images)
        taps = run(model, stem, taps=range(len(model.blocks)))[1]
        return [model.feature_map(taps[i]) for i in range(len(model.blocks))]

    shapes = [tap.shape for tap in nnx.eval_shape(maps, model, _images(config))]
    cells = [spec.cells(_side(config), blocks) for blocks in range(1, len(model.blocks) + 1)]
    assert [shape[:3] for shape in shapes] == [(4, n, n) for n in cells]
    assert [shapes[blocks - 1][3] for blocks in spec.levels] == list(spec.widths)
    assert [spec.grid(blocks) for blocks in spec.levels] == list(zip(spec.strides, spec.origins, strict=True))


@compiled_pictures
def test_cells_are_centred_where_the_spec_says(config: dict[str, Any]) -> None:
    """A network that treats left and right alike makes mirrored maps of a mirrored picture, if its cells are
    centred symmetrically: on a picture that ends as far from the last cell's centre as it begins before the
    first's."""
    spec = _model(config).spec
    assert len(spec.origins) == len(spec.levels)
    side = int(2 * spec.origins[-1] + 4 * spec.strides[-1] + 1)
    model = _model(config, **({"image_size": side} if "patch_size" in config else {}))
    _mode(model, training=False)
    graph, params, stats = split(model)
    for path, leaf in params.items():
        if leaf.ndim == 4:
            params[path] = (leaf + leaf[:, ::-1]) / 2
        elif path.endswith("positions"):
            params[path] = jnp.zeros_like(leaf)
    images = jax.random.normal(jax.random.key(1), (1, side, side, 3))

    def maps(images: jax.Array) -> list[jax.Array]:
        model = merge(graph, params, stats)
        stem = model.stem(images)
        return [model.feature_map(run(model, stem, stop=blocks)[0]) for blocks in spec.levels]

    made = zip(*(jax.jit(maps)(one) for one in (images, images[:, :, ::-1])), strict=True)
    for (one, mirrored), origin, stride in zip(made, spec.origins, spec.strides, strict=True):
        assert 2 * origin + (one.shape[2] - 1) * stride + 1 == side
        np.testing.assert_allclose(one[:, :, ::-1], mirrored, atol=1e-3 * float(jnp.abs(one).max()))


@every_picture_config
def test_one_channel(config: dict[str, Any]) -> None:
    colours = Preprocess((_side(config),) * 2, mean=(0.2, 0.4, 0.6), std=(0.1, 0.2, 0.3))
    model = _model(config, channels=1, preprocess=colours)
    _mode(model, training=False)
    assert model.spec.channels == model.spec.config["num_channels"] == 1
    np.testing.assert_allclose((*model.spec.preprocess.mean, *model.spec.preprocess.std), (0.4, 0.2))
    assert nnx.eval_shape(model, _images(config, channels=1)).shape == (4, OUTPUTS)


@pytest.mark.parametrize("name", ["resnet basic", "deit with teacher"])
def test_an_abstract_build_is_the_real_one_without_numbers(name: str) -> None:
    config = CONFIGS[name]
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
    model = _model(config)
    _, params, stats = split(model)
    leaves = {path: np.asarray(leaf) for path, leaf in (params | stats).items()}
    table = backbones.table(model.spec.config)
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


@compiled
def test_training_mode_is_random_by_key_and_moves_statistics(config: dict[str, Any]) -> None:
    def call(model: Backbone, *keys: jax.Array | None) -> Any:
        stem = model.stem(_inputs(model, config))
        carries = [run(model, stem, key=key)[0] for key in keys]
        logits = [model.answer(model.neck(carry), key=key) for carry, key in zip(carries, keys, strict=True)]
        return [carry["x"] for carry in carries], logits, statistics(model)

    model = _model(config)
    key = _mode(model, training=True)
    before = statistics(model)
    ends, logits, moved = _jit(model, call, key, jax.random.key(3))
    assert np.array_equal(*ends) == (model.spec.text is None and config.keys().isdisjoint(_RANDOM))
    assert not np.array_equal(*logits)  # dropout before the head
    assert set(moved) == set(before)
    assert all(not np.array_equal(moved[path], before[path]) for path in before)

    _mode(model, training=False)
    ends, logits, still = _jit(model, call, None, key)
    _assert_same(ends[0], ends[1])  # inference mode takes no notice of a key
    _assert_same(logits[0], logits[1])
    _assert_same(still, before)


@compiled
def test_every_parameter_takes_part(config: dict[str, Any]) -> None:
    model = _model(config)
    _mode(model, training=False)
    graph, params, stats = split(model)

    def loss(params: dict[str, jax.Array]) -> jax.Array:
        return jnp.sum(merge(graph, params, stats)(_inputs(model, config)) ** 2)

    grads = jax.jit(jax.grad(loss))(params)
    size = max(float(jnp.abs(grad).max()) for grad in grads.values())
    still = {path for path, grad in grads.items() if float(jnp.abs(grad).max()) < 1e-7 * size}
    # A bias on the keys adds the same to all scores of a query, which softmax does not see.
    assert {path for path in still if not path.endswith("attention/key/bias")} == set()


@every_config
def test_bfloat16_stays_bfloat16(config: dict[str, Any]) -> None:
    """Weights and pictures in bfloat16, statistics in float32: no part widens the carry again."""
    model = _model(config)
    for training in (False, True):
        key = _mode(model, training=training)
        graph, params, stats = split(model)

        def chain(params: Any, stats: Any, images: jax.Array, key: Any = key, graph: Any = graph) -> Any:
            model = merge(graph, params, stats)
            stem = model.stem(images, key=key)
            carry, taps = run(model, stem, taps=range(len(model.blocks)), key=key)
            return [stem, carry, taps, model.answer(model.neck(carry), key=key)], statistics(model)

        half = {path: leaf.astype(jnp.bfloat16) for path, leaf in params.items()}
        inputs = _inputs(model, config)
        inputs = inputs if model.spec.text else inputs.astype(jnp.bfloat16)
        chained, moved = jax.eval_shape(chain, half, stats, inputs)
        dtypes = {leaf.dtype for leaf in jax.tree.leaves(chained)} - {jnp.dtype(bool)}  # masks
        assert dtypes == {jnp.dtype("bfloat16")}
        assert {leaf.dtype for leaf in moved.values()} <= {jnp.dtype("float32")}


@pytest.mark.parametrize("neck", ["pooled", "flatten", "twisted"])
@every_config
def test_a_neck_can_be_chosen_or_is_refused(config: dict[str, Any], neck: str) -> None:
    allowed = getattr(backbones.family(config), "NECKS", ())
    chosen = {**config, NECK: neck, "image_size": _side(config)}
    if neck not in allowed:
        with pytest.raises(ConfigError, match=rf"{NECK}='{neck}' must be .*{'|'.join(allowed) or 'none'}"):
            _build(chosen)
        return
    model = nnx.eval_shape(lambda: _build(chosen))
    _, params, _ = split(model)
    assert not [path for path in params if path.startswith("neck/")]
    cells = model.spec.cells(_side(config), len(model.blocks)) ** 2 if neck == "flatten" else 1
    assert model.spec.features == cells * model.spec.widths[-1]
    assert nnx.eval_shape(lambda model, x: model(x), model, _images(config)).shape == (4, OUTPUTS)
    again = nnx.eval_shape(lambda: _build(dict(model.spec.config)))
    assert again.spec.features == model.spec.features
