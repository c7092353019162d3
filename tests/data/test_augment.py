"""Augmentation against a plain numpy oracle, and the properties each of its parts promises."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tl_jax import defaults
from tl_jax.data import augment as room
from tl_jax.data.augment import affine, augment, box, erase, mix, normalise, sample, tone

seeds = st.integers(0, 2**31 - 1)
few = settings(max_examples=12, deadline=None)

EVERYTHING: dict[str, Any] = dict(
    scale=(0.3, 1.0),
    ratio=(0.7, 1.4),
    flip=True,
    flip_vertical=True,
    rotate=30.0,
    shift=0.2,
    brightness=0.4,
    contrast=0.5,
    erase=0.5,
)


def how(**changes: Any) -> dict[str, Any]:
    return {**defaults.augment(), **changes}


def keys(seed: int, n: int) -> jax.Array:
    return jax.random.split(jax.random.key(seed), n)


def pictures(seed: int = 0, shape: tuple[int, ...] = (4, 12, 12, 1)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@jax.jit
def plain(images: np.ndarray) -> jax.Array:
    """What evaluation makes of stored pictures. (The compiled division may round otherwise than numpy's.)"""
    return images.astype(jnp.float32) / 255


sampled = jax.jit(sample, static_argnums=2)
any_map = jax.jit(partial(affine, settings=how(**EVERYTHING)))
everything = jax.jit(partial(augment, settings=how(**EVERYTHING), size=10))
mixed_by = jax.jit(mix, static_argnames=("mixup", "cutmix"))
erased = jax.jit(erase, static_argnums=2)


def oracle(images: np.ndarray, maps: np.ndarray, size: int) -> np.ndarray:
    """Bilinear samples by loops, in float64."""
    n, height, width, channels = images.shape
    out = np.zeros((n, size, size, channels))
    for b in range(n):
        for i in range(size):
            for j in range(size):
                y, x = (i + 0.5) / size - 0.5, (j + 0.5) / size - 0.5
                v, u = maps[b].astype(np.float64) @ (y, x, 1.0)
                row = min(max((v + 0.5) * height - 0.5, 0), height - 1)
                column = min(max((u + 0.5) * width - 0.5, 0), width - 1)
                top, left = int(row), int(column)
                below, right = min(top + 1, height - 1), min(left + 1, width - 1)
                dy, dx = row - top, column - left
                corners = images[b].astype(np.float64)
                upper = corners[top, left] * (1 - dx) + corners[top, right] * dx
                lower = corners[below, left] * (1 - dx) + corners[below, right] * dx
                out[b, i, j] = (upper * (1 - dy) + lower * dy) / 255
    return out


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("height", "width", "size"), [(9, 9, 9), (9, 9, 6), (7, 10, 5), (5, 5, 8), (1, 1, 3)]
)
def test_sample_agrees_with_loops(height: int, width: int, size: int, channels: int) -> None:
    images = pictures(0, (3, height, width, channels))
    maps = np.random.default_rng(1).normal(0, 0.8, (3, 2, 3)).astype(np.float32)
    found = sampled(images, maps, size)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, oracle(images, maps, size), atol=2e-4)


@few
@given(seed=seeds)
def test_random_maps_agree_with_loops(seed: int) -> None:
    images = pictures(seed, (2, 8, 8, 1))
    maps = any_map(keys(seed, 2))
    found = sampled(images, maps, 6)
    np.testing.assert_allclose(found, oracle(images, np.asarray(maps), 6), atol=2e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_switched_on_returns_the_picture_exactly(channels: int) -> None:
    images = pictures(0, (5, 17, 17, channels))
    run = jax.jit(partial(augment, settings=how(), size=17))
    np.testing.assert_array_equal(run(images, jax.random.key(0)), plain(images))


@pytest.mark.parametrize("size", [7, 16, 33, 224])
def test_the_identity_map_returns_the_picture_exactly(size: int) -> None:
    images = pictures(0, (2, size, size, 1))
    maps = jnp.broadcast_to(jnp.eye(2, 3), (2, 2, 3))
    found = sampled(images, maps, size)
    np.testing.assert_array_equal(found, plain(images))


@pytest.mark.parametrize(
    ("changes", "axes"),
    [
        (dict(flip=True), [(), (2,)]),
        (dict(flip_vertical=True), [(), (1,)]),
        (dict(flip=True, flip_vertical=True), [(), (1,), (2,), (1, 2)]),
    ],
)
def test_flips_give_mirror_images_and_nothing_else(changes: dict, axes: list[tuple[int, ...]]) -> None:
    images = pictures(0, (40, 8, 8, 1))
    found = np.asarray(jax.jit(partial(augment, settings=how(**changes), size=8))(images, jax.random.key(0)))
    upright = np.asarray(plain(images))
    same = np.stack([(found == np.flip(upright, axis)).all((1, 2, 3)) for axis in axes])
    assert (same.sum(0) == 1).all()
    assert same.sum(1).min() > 40 / len(axes) / 3


def test_flipping_twice_changes_nothing() -> None:
    images = pictures(0, (2, 9, 9, 3))
    mirror = jnp.broadcast_to(jnp.array([[1.0, 0, 0], [0, -1.0, 0]]), (2, 2, 3))
    once = np.round(np.asarray(sampled(images, mirror, 9)) * 255).astype(np.uint8)
    np.testing.assert_array_equal(once, images[:, :, ::-1])
    twice = sampled(once, mirror, 9)
    np.testing.assert_array_equal(twice, plain(images))


@few
@given(seed=seeds, low=st.floats(0.05, 1.0), wide=st.floats(1.0, 3.0))
def test_crops_have_the_area_asked_for_and_lie_inside(seed: int, low: float, wide: float) -> None:
    maps = np.asarray(affine(keys(seed, 64), how(scale=(low, 1.0), ratio=(1 / wide, wide))))
    tall, width = maps[:, 0, 0], maps[:, 1, 1]
    np.testing.assert_array_equal(maps[:, [0, 1], [1, 0]], 0)
    assert (tall * width <= 1 + 1e-5).all()
    assert (tall / width <= wide * (1 + 1e-4)).all()
    assert (width / tall <= wide * (1 + 1e-4)).all()
    cut_off = np.maximum(tall, width) > 1 - 1e-6  # a side as long as the picture's: the area may be smaller
    assert (tall * width >= low - 1e-5)[~cut_off].all()
    for side, centre in ((tall, maps[:, 0, 2]), (width, maps[:, 1, 2])):
        assert (np.abs(centre) + side / 2 <= 0.5 + 1e-6).all()


def test_areas_spread_over_the_whole_range() -> None:
    maps = np.asarray(affine(keys(0, 2000), how(scale=(0.2, 0.8))))
    areas = maps[:, 0, 0] * maps[:, 1, 1]
    np.testing.assert_allclose(
        np.quantile(areas, [0, 0.25, 0.5, 0.75, 1]), [0.2, 0.35, 0.5, 0.65, 0.8], atol=0.03
    )


@few
@given(seed=seeds, degrees=st.floats(0.1, 180))
def test_rotation_turns_by_no_more_than_asked_for_and_keeps_lengths(seed: int, degrees: float) -> None:
    maps = np.asarray(affine(keys(seed, 32), how(rotate=degrees)))
    turn = maps[:, :, :2]
    np.testing.assert_allclose(
        turn @ turn.transpose(0, 2, 1), np.broadcast_to(np.eye(2), (32, 2, 2)), atol=1e-5
    )
    assert (np.linalg.det(turn) > 0).all()
    angle = np.rad2deg(np.arctan2(turn[:, 0, 1], turn[:, 0, 0]))
    assert (np.abs(angle) <= degrees + 1e-3).all()
    assert np.ptp(angle) > 0
    np.testing.assert_array_equal(maps[:, :, 2], 0)


def test_a_quarter_turn_is_that_of_numpy() -> None:
    images = pictures(0, (1, 8, 8, 1))
    quarter = jnp.array([[[0.0, 1, 0], [-1, 0, 0]]])
    np.testing.assert_allclose(
        np.asarray(sampled(images, quarter, 8))[0] * 255, np.rot90(images[0]), atol=1e-3
    )


def test_a_shift_moves_the_picture_and_continues_its_edge() -> None:
    images = pictures(0, (1, 8, 8, 1))
    right = jnp.array([[[1.0, 0, 0], [0, 1.0, 0.25]]])  # what was two pixels to the right comes here
    found = np.asarray(sampled(images, right, 8))[0, :, :, 0] * 255
    np.testing.assert_allclose(found[:, :6], images[0, :, 2:, 0], atol=1e-3)
    np.testing.assert_allclose(found[:, 6:], np.repeat(images[0, :, 7:, 0], 2, 1), atol=1e-3)


@few
@given(seed=seeds)
def test_whatever_is_switched_on_values_stay_in_range(seed: int) -> None:
    extremes = np.random.default_rng(seed).choice(np.array([0, 255], np.uint8), (4, 12, 12, 3))
    found = np.asarray(everything(extremes, jax.random.key(seed)))
    assert found.shape == (4, 10, 10, 3)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1


def test_a_key_decides_everything() -> None:
    images = pictures()
    first = np.asarray(everything(images, jax.random.key(5)))
    np.testing.assert_array_equal(everything(images, jax.random.key(5)), first)
    assert (np.asarray(everything(images, jax.random.key(6))) != first).any()
    np.testing.assert_allclose(
        augment(images, jax.random.key(5), how(**EVERYTHING), size=10), first, atol=1e-4
    )


def test_pictures_of_a_batch_are_changed_each_in_its_own_way() -> None:
    same = np.broadcast_to(pictures(0, (1, 12, 12, 1)), (4, 12, 12, 1))
    found = np.asarray(everything(same, jax.random.key(0)))
    assert len({picture.tobytes() for picture in found}) == 4


def test_a_picture_is_changed_the_same_in_a_smaller_batch() -> None:
    images, key = pictures(0, (8, 12, 12, 1)), jax.random.key(4)
    np.testing.assert_allclose(everything(images[:4], key), everything(images, key)[:4], atol=1e-6)


def test_devices_see_the_same_pictures_as_one() -> None:
    images, key = pictures(0, (8, 12, 12, 1)), jax.random.key(3)
    mesh = Mesh(np.array(jax.devices()), ("data",))
    spread = jax.device_put(images, NamedSharding(mesh, PartitionSpec("data")))
    assert len(spread.sharding.device_set) == 8
    np.testing.assert_allclose(everything(spread, key), everything(images, key), atol=1e-6)


def test_brightness_adds_one_number_to_a_picture() -> None:
    x = jnp.full((50, 4, 4, 1), 0.5) + jnp.linspace(-0.1, 0.1, 16).reshape(1, 4, 4, 1)
    added = np.asarray(tone(x, keys(0, 50), 0.3, 0.0) - x).reshape(50, -1)
    np.testing.assert_allclose(added, added[:, :1].repeat(16, 1), atol=1e-6)
    assert np.abs(added).max() <= 0.3 + 1e-6
    assert added.min() < -0.15
    assert added.max() > 0.15


def test_contrast_stretches_about_the_mean() -> None:
    x = 0.5 + 0.2 * jax.random.uniform(jax.random.key(1), (50, 6, 6, 1), minval=-1)
    found = tone(x, keys(0, 50), 0.0, 0.4)
    np.testing.assert_allclose(found.mean((1, 2, 3)), x.mean((1, 2, 3)), atol=1e-6)
    factor = np.asarray(found.std((1, 2, 3)) / x.std((1, 2, 3)))
    assert 0.6 - 1e-4 <= factor.min() < 0.75
    assert 1.25 < factor.max() <= 1.4 + 1e-4


def test_erasing_fills_one_rectangle_with_the_mean() -> None:
    x = np.random.default_rng(1).random((60, 20, 20, 3), np.float32)
    found = np.asarray(erased(x, keys(0, 60), 1.0))
    mean = x.mean((1, 2))
    for b in range(60):
        changed = (found[b] != x[b]).any(-1)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        assert changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert 0.01 < changed.mean() < 0.37
        np.testing.assert_allclose(found[b][changed], np.broadcast_to(mean[b], (changed.sum(), 3)), rtol=1e-5)


@pytest.mark.parametrize("probability", [0.25, 0.9])
def test_erasing_strikes_as_often_as_asked_for(probability: float) -> None:
    x = np.random.default_rng(1).random((600, 16, 16, 1), np.float32)
    struck = (np.asarray(erased(x, keys(0, 600), probability)) != x).any((1, 2, 3))
    assert abs(struck.mean() - probability) < 5 * np.sqrt(probability * (1 - probability) / 600)


def test_boxes_are_where_and_as_large_as_asked_for_and_cut_off_outside() -> None:
    centre = jnp.array([[0.5, 0.5], [0.0, 1.0]])
    sides = jnp.array([[0.25, 0.5], [0.5, 0.5]])
    inside, corner = np.asarray(box(centre, sides, 8, 16))
    wanted = np.zeros((8, 16), bool)
    wanted[3:5, 4:12] = True
    np.testing.assert_array_equal(inside, wanted)
    assert corner[:2, 12:].all()
    assert corner.sum() == 2 * 4


@pytest.mark.parametrize(("own", "wanted"), [(1, 1), (1, 3), (3, 3)])
def test_normalise_is_that_of_numpy(own: int, wanted: int) -> None:
    x = np.random.default_rng(0).random((2, 3, 3, own), np.float32)
    mean, std = [0.1, 0.2, 0.3][:wanted], [0.5, 0.6, 0.7][:wanted]
    found = normalise(jnp.asarray(x), mean, std, wanted)
    assert found.shape == (2, 3, 3, wanted)
    np.testing.assert_allclose(found, (x - mean) / std, rtol=1e-5, atol=1e-6)


def coded(n: int, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Picture i is i everywhere, and its target is class i of n: the mixture can be read off both."""
    images = np.broadcast_to(np.arange(n, dtype=np.float32)[:, None, None, None], (n, size, size, 1))
    return images, np.eye(n, dtype=np.float32)


@few
@given(seed=seeds)
def test_cutmix_targets_are_the_shares_of_pixels_exactly(seed: int) -> None:
    images, targets = coded(8)
    found, mixed = mixed_by(images, targets, jax.random.key(seed), mixup=0.0, cutmix=1.0)
    shares = np.stack(
        [np.bincount(picture.astype(int).ravel(), minlength=8) for picture in np.asarray(found)]
    )
    np.testing.assert_allclose(mixed, shares / 16**2, atol=1e-6)


@few
@given(seed=seeds)
def test_mixup_blends_pictures_and_targets_alike(seed: int) -> None:
    images, targets = coded(8)
    found, mixed = mixed_by(images, targets, jax.random.key(seed), mixup=1.0, cutmix=0.0)
    np.testing.assert_allclose(mixed.sum(1), 1, atol=1e-5)
    value = np.asarray(mixed) @ np.arange(8)
    np.testing.assert_allclose(found, np.broadcast_to(value[:, None, None, None], (8, 16, 16, 1)), atol=1e-4)


def test_mixing_really_mixes() -> None:
    images, targets = coded(8)
    for kind in (dict(mixup=1.0, cutmix=0.0), dict(mixup=0.0, cutmix=1.0)):
        pairs = [
            (np.asarray(mixed_by(images, targets, jax.random.key(seed), **kind)[1]) > 0.02).sum(1) == 2
            for seed in range(8)
        ]
        assert np.mean(pairs) > 0.6


def test_with_both_on_a_batch_gets_one_or_the_other() -> None:
    images, targets = coded(8)
    kinds = set()
    for seed in range(20):
        found, _ = mixed_by(images, targets, jax.random.key(seed), mixup=1.0, cutmix=1.0)
        kinds.add("cutmix" if (np.asarray(found) % 1 == 0).all() else "mixup")
    assert kinds == {"cutmix", "mixup"}


def test_mixing_off_hands_back_the_same() -> None:
    images, targets = coded(3)
    found, mixed = mix(images, targets, jax.random.key(0), mixup=0.0, cutmix=0.0)
    assert found is images
    assert mixed is targets


@pytest.mark.parametrize("kind", [dict(mixup=1.0, cutmix=0.0), dict(mixup=0.0, cutmix=1.0)])
def test_a_batch_of_one_mixes_with_itself(kind: dict[str, float]) -> None:
    images, targets = coded(1)
    found, mixed = mixed_by(images + 0.5, targets, jax.random.key(0), **kind)
    np.testing.assert_allclose(found, images + 0.5, atol=1e-6)
    np.testing.assert_allclose(mixed, targets, atol=1e-6)


@pytest.mark.parametrize(
    "changes", [dict(scale=(0.8, 1.0)), dict(ratio=(0.9, 1.1)), dict(rotate=1.0), dict(shift=0.1)]
)
def test_what_needs_values_between_pixels(changes: dict[str, Any]) -> None:
    assert room.moves_pixels(how(**changes))
    others = dict(
        brightness=0.1, contrast=0.1, erase=0.1, mixup=0.1, cutmix=0.1, flip=True, flip_vertical=True
    )
    assert not room.moves_pixels(how(**others))
