"""Heat maps: the contract over all families, a network whose maps are known, and a patch that decides."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from tests import tiny
from tests.backbones.test_contract import CONFIGS
from tl_jax import backbones, compilation, pretrained, tasks
from tl_jax.backbones.anatomy import Backbone, Head, Spec, inference_graph, merge, set_mode, split, statistics
from tl_jax.evaluation import grad_cam
from tl_jax.evaluation.grad_cam import Cut
from tl_jax.forward import Recipe, predict
from tl_jax.inputs import Pictures

PATCH, SIDE = 9, 6


@pytest.fixture(scope="module", autouse=True)
def _programs() -> Iterator[None]:
    """What one test has compiled, the others need not."""
    with compilation.shared():
        yield


def recipe(size: int, *, channels: int = 3, classes: int = 3, precision: str = "float32") -> Recipe:
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    return Recipe(
        task=tasks.find("classification"),
        classes=classes,
        input=Pictures(size, channels, mean[:channels], std[:channels]),
        precision=precision,
    )


def photographs(n: int, size: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, channels), dtype=np.uint8)


# ---- all families


SOME = (
    "resnet basic",
    "resnet odd",
    "vit",
    "deit",
    "deit with teacher",
    "dinov2",
    "dinov2 with registers",
    "convnext",
    "vgg",
    "vgg without its top",
    "inception",
)


def test_every_family_is_here() -> None:
    seen = {name for name in backbones.FAMILIES if not backbones.reads_text({"model_type": name})}
    assert {CONFIGS[name]["model_type"] for name in SOME} == seen


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "inception" else ()) for name in SOME]
)
def test_contract(name: str) -> None:
    config = CONFIGS[name]
    size = config.get("image_size", 32)
    model, _ = pretrained.scratch(config, num_classes=3, image_size=size)
    n = grad_cam.ROWS + 3  # more than one batch, the second one padded
    images, classes = photographs(n, size), np.arange(n) % 3
    maps = grad_cam.heatmaps(model, recipe(size), images, classes)
    assert maps.shape == (n, size, size)
    assert maps.dtype == np.float32
    assert np.isfinite(maps).all()
    assert maps.min() >= 0
    highest = maps.max(axis=(1, 2))
    assert set(highest) <= {0.0, 1.0}
    assert highest.mean() > 0.3
    # Another row of another batch, with other neighbours and with padding.
    rows = np.array([n - 1, 0, 7])
    again = grad_cam.heatmaps(model, recipe(size), images[rows], classes[rows])
    np.testing.assert_allclose(again, maps[rows], atol=1e-4)


@pytest.mark.parametrize("name", ["resnet basic", "vit"])
def test_bfloat16_gray_pictures_and_training_mode(name: str) -> None:
    """Maps of half precision are those of full precision, roughly; one channel is shown as three; the mode
    that the model was in does not matter, and its statistics stay."""
    model, _ = pretrained.scratch(CONFIGS[name], num_classes=3, image_size=32)
    images, classes = photographs(6, 32, 1), np.arange(6) % 3
    full = grad_cam.heatmaps(model, recipe(32), np.repeat(images, 3, axis=-1), classes)
    before = {path: np.array(leaf) for path, leaf in statistics(model).items()}
    set_mode(model, dropout=True, batch_statistics=True)
    half = grad_cam.heatmaps(model, recipe(32, precision="bfloat16"), images, classes)
    assert np.isfinite(half).all()
    assert np.corrcoef(half.ravel(), full.ravel())[0, 1] > 0.95
    for path, leaf in statistics(model).items():
        np.testing.assert_array_equal(leaf, before[path])


@pytest.mark.parametrize(("name", "size"), [("resnet basic", 33), ("vit", 37)])
def test_odd_sizes(name: str, size: int) -> None:
    """A ViT does not see what is beyond its last whole patch; there the map goes on as at its edge."""
    config = {**CONFIGS[name], **({"image_size": size} if name == "vit" else {})}
    model, _ = pretrained.scratch(config, num_classes=3)
    maps = grad_cam.heatmaps(model, recipe(size), photographs(2, size), [0, 1])
    assert maps.shape == (2, size, size)
    assert np.isfinite(maps).all()
    assert maps.max() == 1


# ---- the cut


@pytest.mark.parametrize(
    ("arch", "size", "cut"),
    [
        ({"depths": (1, 2), "hidden_sizes": (4, 8)}, 64, 3),  # maps of 16 and 8 cells
        ({"depths": (1, 2), "hidden_sizes": (4, 8)}, 40, 1),  # of 10 and 5
        ({"depths": (2, 1), "hidden_sizes": (4, 8)}, 16, 2),  # of 4 and 2: nowhere enough
    ],
)
def test_the_deepest_map_with_enough_cells(arch: dict[str, Any], size: int, cut: int) -> None:
    config = {"model_type": "resnet", "layer_type": "basic", "embedding_size": 4, **arch}
    model, _ = pretrained.scratch(config, num_classes=2)
    assert grad_cam.chosen(model, recipe(size)) == Cut(cut, "each")


def test_where_pooling_ends_a_level_its_other_blocks_have_the_cells_of_the_level_before() -> None:
    """24 pixels: 12 cells after the first level, still after the next block, and 6 after that level's end."""
    config = {"model_type": "vgg", "hidden_sizes": (4, 4, 4), "depths": (1, 2, 2), "num_features": 8}
    model, _ = pretrained.scratch(config, num_classes=3, image_size=24)
    assert [model.spec.cells(24, blocks) for blocks in range(1, 6)] == [12, 12, 6, 6, 3]
    assert grad_cam.chosen(model, recipe(24)) == Cut(4, "each")
    maps = grad_cam.heatmaps(model, recipe(24), photographs(2, 24), [0, 1])
    assert maps.shape == (2, 24, 24)
    assert (maps[:, 0] == maps[:, 1]).all(), "the first of six cells is centred at 1.5 pixels"


@pytest.mark.parametrize("name", ["vit", "deit", "deit with teacher"])
def test_where_the_class_token_goes_on_alone_the_cut_is_before_the_last_block(name: str) -> None:
    model, _ = pretrained.scratch(CONFIGS[name], num_classes=3, image_size=32)
    n = len(model.blocks)
    assert grad_cam.chosen(model, recipe(32)) == Cut(n - 1, "relative")
    images = photographs(2, 32)
    assert not grad_cam.heatmaps(model, recipe(32), images, [0, 1], cut=Cut(n, "each")).any()


@pytest.mark.parametrize(
    ("name", "way"), [("dinov2", "relative"), ("dinov2 with registers", "relative"), ("convnext", "each")]
)
def test_where_the_patches_are_read_the_cut_is_after_all_blocks(name: str, way: str) -> None:
    """A DINOv2's neck normalises each patch before their mean; that of a ConvNeXt the mean alone."""
    model, _ = pretrained.scratch({**CONFIGS[name], "patch_size": 4}, num_classes=3, image_size=64)
    assert grad_cam.chosen(model, recipe(64)) == Cut(len(model.blocks), way)


# ---- a network whose maps are known


class Cells(nnx.Module):
    """Pictures (B, 54, 54, 3) → the means of their 6 × 6 patches of 9 pixels."""

    def __call__(self, x: jax.Array, *, key: Any = None) -> dict[str, jax.Array]:
        return {"x": x.reshape(len(x), SIDE, PATCH, SIDE, PATCH, 3).mean(axis=(2, 4))}


class Same(nnx.Module):
    def __call__(self, carry: Any, *, key: Any = None) -> Any:
        return carry


class Mean(nnx.Module):
    def __call__(self, carry: Any, *, key: Any = None) -> jax.Array:
        return carry["x"].mean(axis=(1, 2))


class Linear(Backbone):
    """A linear head over the mean of known maps, the patches' colours."""

    def __init__(self, kernel: np.ndarray) -> None:
        self.spec = Spec("linear", (1,), (PATCH,), (3,), ((PATCH - 1) / 2,), 3)
        self.stem, self.blocks, self.neck = Cells(), nnx.List([Same()]), Mean()
        self.head = Head(3, kernel.shape[1], rngs=nnx.Rngs(0))
        self.head.linear.kernel[...] = jnp.asarray(kernel, jnp.float32)

    def feature_map(self, carry: Any) -> jax.Array:
        return carry["x"]


def known(kernel: Any, images: np.ndarray, classes: Any, **options: Any) -> np.ndarray:
    """Its maps, at the pixels on which cells are centred."""
    kernel = np.asarray(kernel)
    how = recipe(SIDE * PATCH, classes=kernel.shape[1])
    maps = grad_cam.heatmaps(Linear(kernel), how, images, classes, **options)
    return maps[:, PATCH // 2 :: PATCH, PATCH // 2 :: PATCH]


def colours(images: np.ndarray) -> np.ndarray:
    shape = (len(images), SIDE, PATCH, SIDE, PATCH, 3)
    how = recipe(SIDE * PATCH)
    return ((images / 255 - how.input.mean) / how.input.std).reshape(shape).mean(axis=(2, 4))


def test_two_classes_by_hand() -> None:
    """The log-odds of class 1 are (w₁ - w₀) · mean: each cell argues with its colour times that."""
    kernel, images = np.array([[0.5, 2.0], [1.0, -1.0], [0.0, 0.3]]), photographs(4, SIDE * PATCH)
    argues = colours(images) @ (kernel[:, 1] - kernel[:, 0])
    for sign, label in ((1, 1), (-1, 0)):
        wanted = np.maximum(sign * argues, 0)
        wanted /= wanted.max(axis=(1, 2), keepdims=True)
        for way in ("each", "averaged"):  # before a mean over the picture: one and the same
            found = known(kernel, images, np.full(4, label), cut=Cut(1, way))
            np.testing.assert_allclose(found, wanted, atol=1e-5)
        relative = np.maximum(sign * (argues - argues.mean(axis=(1, 2), keepdims=True)), 0)
        relative /= relative.max(axis=(1, 2), keepdims=True)
        found = known(kernel, images, np.full(4, label), cut=Cut(1, "relative"))
        np.testing.assert_allclose(found, relative, atol=1e-5)


def test_three_classes_by_hand() -> None:
    """The slope of logit less log-sum-exp of the others: the others count by their softmax."""
    rng = np.random.default_rng(1)
    kernel, images, classes = rng.normal(size=(3, 3)), photographs(4, SIDE * PATCH), np.array([0, 2, 1, 2])
    maps = colours(images)
    logits = maps.mean(axis=(1, 2)) @ kernel
    for i, c in enumerate(classes):
        others = np.exp(logits[i])
        others[c] = 0
        argues = maps[i] @ (kernel[:, c] - kernel @ (others / others.sum()))
        found = known(kernel, images[i : i + 1], [c])[0]
        np.testing.assert_allclose(found, np.maximum(argues, 0) / argues.max(), atol=1e-5)


def test_only_evidence_against_is_an_empty_map() -> None:
    """Bright everywhere argues for class 1 alone; a number on all logits changes nothing."""
    images = np.full((2, SIDE * PATCH, SIDE * PATCH, 3), 250, np.uint8)
    for common in (0.0, 100.0):
        kernel = np.array([[-1.0, 1.0]] * 3) + common
        against, towards = known(kernel, images, [0, 1])
        assert not against.any()
        np.testing.assert_allclose(towards, 1, atol=1e-4)
    assert not known(np.zeros((3, 2)), images, [0, 1]).any()


def test_weights_that_are_no_numbers_give_an_empty_map() -> None:
    assert not known(np.full((3, 2), np.nan), photographs(2, SIDE * PATCH), [0, 1]).any()


def test_a_cell_is_hottest_on_the_pixel_it_is_centred_on() -> None:
    maps = np.zeros((2, 3, 3), np.float32)
    maps[0, 1, 2] = maps[1, 0, 0] = 5
    for stride, origin, middle in ((32, 0.0, (32, 64)), (33, 16.0, (49, 82))):
        large = grad_cam.enlarged(maps, Spec("any", (1,), (stride,), (1,), (origin,), 1), 1, 3 * stride)
        assert large.max(axis=(1, 2)).tolist() == [1, 1]
        assert np.unravel_index(large[0].argmax(), large[0].shape) == middle
        assert (large[1, : int(origin) + 1, : int(origin) + 1] == 1).all()  # constant beyond the outermost


# ---- a patch that decides


def test_the_patch_that_decides_is_found() -> None:
    """Noise, and in class 1 a disc somewhere: after some training a ResNet's maps say where."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]
    centres = rng.uniform(6, 26, (256, 2))
    discs = np.hypot(y - centres[:, :1, None], x - centres[:, 1:, None]) < 6
    labels = np.arange(256) % 2
    images = rng.normal(90, 25, (256, 32, 32)) + 110 * (discs & (labels == 1)[:, None, None])
    images = images.clip(0, 255).astype(np.uint8)[..., None]

    how = recipe(32, channels=1, classes=2)
    model, _ = pretrained.scratch(tiny.ARCH, num_classes=2)
    set_mode(model, dropout=False, batch_statistics=True)
    graph, params, stats = split(model)
    tx = optax.adam(3e-3)

    @jax.jit
    def train(params: Any, stats: Any, state: Any, images: jax.Array, labels: jax.Array) -> Any:
        def loss(params: Any) -> Any:
            network = merge(graph, params, stats)
            logits = network(how.input.network(images))
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), statistics(network)

        (value, moved), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), moved, state, value

    state, value = tx.init(params), np.inf
    for step in range(120):
        rows = np.random.default_rng(step).integers(0, 192, 64)
        params, stats, state, value = train(params, stats, state, images[rows], labels[rows])
    assert value < 0.1
    ill = np.flatnonzero(labels[192:]) + 192
    maps = grad_cam.heatmaps(
        merge(inference_graph(model), params, stats), how, images[ill], np.ones(len(ill), int)
    )
    inside = (maps * discs[ill]).sum(axis=(1, 2)) / maps.sum(axis=(1, 2))
    assert inside.mean() > 1.7 * discs[ill].mean()
    hottest = np.array([np.unravel_index(one.argmax(), one.shape) for one in maps])
    assert np.mean(np.hypot(*(hottest - centres[ill]).T) < 8) > 0.8  # a fifth of the picture is as near


def test_a_transformer_that_looks_at_one_patch() -> None:
    """The first block hands every token on and the last attends to all alike, so that pictures which differ
    in one patch differ in one cell. For the class that this patch argues for, it is where the mass is."""
    config = {**tiny.VIT, "num_hidden_layers": 2, "initializer_range": 0.3}
    graph, params, stats = split(pretrained.scratch(config, num_classes=2)[0])
    for path in params:
        if path.startswith(("blocks/0/attention/out", "blocks/0/mlp/fc2", "blocks/1/attention/query")):
            params[path] = jnp.zeros_like(params[path])
    params["stem/positions"] = jnp.zeros_like(params["stem/positions"])
    model, how = merge(graph, params, stats), recipe(32, channels=1, classes=2)
    plain = np.full((1, 32, 32, 1), 120, np.uint8)
    images = np.repeat(plain, 16, axis=0)
    pattern = np.random.default_rng(0).integers(0, 256, (8, 8, 1), dtype=np.uint8)
    masks = np.zeros((16, 32, 32), bool)
    for i in range(16):
        at = (i, slice(i // 4 * 8, i // 4 * 8 + 8), slice(i % 4 * 8, i % 4 * 8 + 8))
        images[at], masks[at] = pattern, True
    logits = np.asarray(jax.jit(partial(predict, graph, how))(params, {}, np.concatenate([plain, images])))
    margins = logits[:, 1] - logits[:, 0]
    towards = (margins[1:] > margins[0]).astype(int)
    assert len(set(towards)) == 1  # without positions every place is like every other
    maps = grad_cam.heatmaps(model, how, images, towards)
    assert [masks[i].ravel()[one.argmax()] for i, one in enumerate(maps)] == [True] * 16
    inside = (maps * masks).sum(axis=(1, 2)) / maps.sum(axis=(1, 2))
    assert inside.min() > 0.4


# ---- what does not fit


def test_all_problems_at_once() -> None:
    model = Linear(np.zeros((3, 2)))
    how = recipe(SIDE * PATCH, classes=2)
    with pytest.raises(ValueError) as error:
        grad_cam.heatmaps(model, how, np.zeros((3, 9, 9, 3), np.float32), [0, 1], cut=Cut(2, "best"))
    told = str(error.value)
    for words in ("float32 (3, 9, 9, 3)", "uint8 (n, 54, 54, c)", "(2,) for 3", "after 2 blocks", "'best'"):
        assert words in told
    images = photographs(2, SIDE * PATCH)
    with pytest.raises(ValueError, match=r"0…2, of 0…1"):
        grad_cam.heatmaps(model, how, images, [0, 2])
    with pytest.raises(ValueError, match="not integers"):
        grad_cam.heatmaps(model, how, images, [0.0, 1.0])
    assert grad_cam.heatmaps(model, how, images[:0], []).shape == (0, 54, 54)
