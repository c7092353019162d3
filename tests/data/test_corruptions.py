"""Each corruption is pure, stays in range, keeps its channels, and grows with its severity."""

from __future__ import annotations

import io

import jax
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from tl_jax import schema
from tl_jax.data.corruptions import CORRUPTIONS, SEVERITIES, check, several
from tl_jax.data.optics import along

SIZE = 112
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def gray() -> np.ndarray:
    """A disc on a ramp."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    picture = 0.2 + 0.4 * x + 0.3 * (np.hypot(y - 0.5, x - 0.5) < 0.25)
    return picture[..., None].astype(np.float32)


@pytest.fixture(scope="module")
def colour(gray) -> np.ndarray:
    return np.concatenate([gray, gray**2, 1 - gray], axis=-1)


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    """It has detail of every size, which a drawing lacks; of the size that the levels were made for."""
    return Image.fromarray(load_sample_image("china.jpg")).resize((224, 224))


def pixels(photograph: Image.Image, kind: str) -> np.ndarray:
    found = np.asarray(photograph.convert("L" if kind == "gray" else "RGB"))
    return found.reshape(224, 224, -1).astype(np.float32) / 255


def distance(one, other) -> float:
    return float(np.sqrt(np.mean((np.asarray(one) - other) ** 2)))


def edges(picture) -> np.ndarray:
    return np.diff(np.asarray(picture), axis=1)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("kind", ["gray", pytest.param("colour", marks=pytest.mark.slow)])
def test_what_all_promise(name, kind, photograph):
    picture = pixels(photograph, kind)
    found = [CORRUPTIONS[name](picture, severity, KEY) for severity in SEVERITIES]
    for one in found:
        assert one.shape == picture.shape, "gray stays gray"
        assert one.dtype == np.float32
        assert 0 <= one.min() <= one.max() <= 1
    away = [distance(one, picture) for one in found]
    if name == "fog":  # of which levels 3 and 4 are as thick as each other, and differ by the cloud's detail
        away = [distance(edges(one), edges(picture)) for one in found]
    assert away[0] > 0.005
    assert away == sorted(away), "each severity is further from the picture than the one before"
    assert len(set(away)) == len(away)
    assert np.array_equal(found[0], CORRUPTIONS[name](picture, 1, KEY)), "a function of its arguments alone"


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_which_are_random(name, gray):
    one, other = (CORRUPTIONS[name](gray, 3, jax.random.key(seed)) for seed in (1, 2))
    random = name in ("noise", "fog", "rain", "snow", "night", "motion")
    assert np.array_equal(one, other) == (not random)


@pytest.mark.slow
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_jit_changes_nothing(name, gray):
    with jax.disable_jit():
        plain = CORRUPTIONS[name](gray, 4, KEY)
    np.testing.assert_allclose(CORRUPTIONS[name](gray, 4, KEY), plain, atol=1e-6)


def test_contrast_and_brightness_by_hand(colour):
    mean = colour.mean(axis=(0, 1))
    np.testing.assert_allclose(
        CORRUPTIONS["contrast"](colour, 3, KEY), mean + 0.2 * (colour - mean), atol=1e-5
    )
    pixel = np.array([[[0.2, 0.1, 0.4]], [[0.0, 0.0, 0.0]]], np.float32)
    raised = CORRUPTIONS["brightness"](pixel, 2, KEY)
    np.testing.assert_allclose(raised, [[[0.3, 0.15, 0.6]], [[0.2, 0.2, 0.2]]], atol=1e-6)


def test_noise_has_the_deviation_of_its_level():
    flat = np.full((128, 128, 1), 0.5, np.float32)
    found = np.asarray(CORRUPTIONS["noise"](flat, 1, KEY))
    assert found.std() == pytest.approx(0.08, rel=0.03)
    assert abs(found.mean() - 0.5) < 0.002


def test_blur_keeps_flat_what_is_flat_and_means_the_same_on_every_canvas():
    flat = np.full((20, 28, 3), 0.7, np.float32)
    np.testing.assert_allclose(CORRUPTIONS["blur"](flat, 5, KEY), flat, atol=1e-6)

    def width(size: int) -> float:
        """Of a blurred line, as a share of the side."""
        line = np.zeros((size, size, 1), np.float32)
        line[:, size // 2] = 1
        across = np.asarray(CORRUPTIONS["blur"](line, 5, KEY))[0, :, 0]
        at = np.arange(size) - size // 2
        return float(np.sqrt((across * at**2).sum() / across.sum()) / size)

    assert width(224) == pytest.approx(6 / 224, rel=0.01)
    assert width(256) == pytest.approx(width(224), rel=0.02)


def test_several_act_in_their_order_each_with_a_key_of_its_own(gray):
    first = CORRUPTIONS["contrast"](gray, 2, jax.random.fold_in(KEY, 0))
    both = CORRUPTIONS["noise"](first, 2, jax.random.fold_in(KEY, 1))
    assert np.array_equal(several(gray, ("contrast", "noise"), 2, KEY), both)
    assert distance(several(gray, ("noise", "contrast"), 2, KEY), both) > 0.01


def test_what_there_is_not_is_told_at_once(gray):
    check(("noise", "blur"), 5)
    with pytest.raises(
        ValueError, match=r"'fogg', 'rains'; severity is 6, .* 1 to 5.*contrast, brightness, noise"
    ):
        several(gray, ("fogg", "noise", "rains"), 6, KEY)


def test_a_config_may_name_all_of_them():
    assert tuple(CORRUPTIONS) == schema.CORRUPTIONS


# ---- optics


@pytest.mark.parametrize("kind", ["gray", "colour"])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_jpeg_loses_what_a_real_file_loses(kind, severity, photograph):
    """Against Pillow's encoder and decoder. They calculate in whole numbers, so that a wave halfway between
    two steps may be rounded the other way, which moves its whole block: most pixels agree, not all."""
    picture = (pixels(photograph, kind) * 255).round().astype(np.uint8)[:104, :99]
    file = io.BytesIO()
    quality = (25, 18, 15, 10, 7)[severity - 1]
    Image.fromarray(picture[..., 0] if kind == "gray" else picture).save(file, "JPEG", quality=quality)
    real = np.asarray(Image.open(file), np.float32).reshape(picture.shape)
    found = 255 * np.asarray(CORRUPTIONS["jpeg"](picture.astype(np.float32) / 255, severity, KEY))

    def agree(one, other) -> float:
        return float(np.mean(np.abs(one - other) < 1.5))

    assert agree(found, real) > 0.9
    assert agree(picture, real) < 0.5


def test_defocus_makes_a_disc_of_a_point():
    point = np.zeros((224, 224, 1), np.float32)
    point[112, 112] = 1
    found = np.asarray(CORRUPTIONS["defocus"](point, 4, KEY))[..., 0]
    assert found.sum() == pytest.approx(1, abs=1e-4)
    away = np.hypot(*(np.mgrid[:224, :224] - 112))
    assert found[away < 7].min() == pytest.approx(1 / (np.pi * 8**2), rel=0.03)
    assert found[away > 9.5].max() < 1e-6


def test_motion_keeps_a_line_that_it_goes_along():
    flat = np.full((64, 80, 3), 0.3, np.float32)
    np.testing.assert_allclose(CORRUPTIONS["motion"](flat, 5, KEY), flat, atol=1e-5)
    point = np.zeros((101, 101, 1), np.float32)
    point[50, 50] = 1
    found = np.asarray(along(point, np.float32(0.0), 10 / 101, 4 / 101))[..., 0]
    assert found[50].sum() == pytest.approx(1, abs=1e-5)
    assert np.count_nonzero(found[50] > 1e-6) == 21


def test_few_pixels_are_means_and_squares():
    picture = np.random.default_rng(0).random((224, 224, 1)).astype(np.float32)
    found = np.asarray(CORRUPTIONS["resolution"](picture, 2, KEY))
    means = picture.reshape(112, 2, 112, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(found[..., 0], means.repeat(2, 0).repeat(2, 1), atol=1e-6)


# ---- weather


def test_snow_means_the_same_on_every_canvas():
    def fallen(size: int) -> float:
        return float(np.mean(CORRUPTIONS["snow"](np.zeros((size, size, 1), np.float32), 2, KEY)))

    assert fallen(112) == pytest.approx(fallen(224), rel=0.02)
    assert fallen(256) == pytest.approx(fallen(224), rel=0.02)


def test_through_the_same_fog_less_is_seen(gray):
    """Of a difference between two pictures that are equally bright: top / (top + thickness), Hendrycks'."""
    other = np.flip(gray, axis=1)
    for severity, thick in zip(SEVERITIES, (1.5, 2.0, 2.5, 2.5, 3.0), strict=True):
        one, two = (np.asarray(CORRUPTIONS["fog"](picture, severity, KEY)) for picture in (gray, other))
        left = gray.max() / (gray.max() + thick)
        np.testing.assert_allclose(one - two, left * (gray - other), atol=1e-5)


def test_night_is_dark_and_fog_is_pale(colour):
    by_night = [float(np.mean(CORRUPTIONS["night"](colour, severity, KEY))) for severity in SEVERITIES]
    assert by_night == sorted(by_night, reverse=True)
    in_fog = [float(np.std(CORRUPTIONS["fog"](colour, severity, KEY))) for severity in SEVERITIES]
    assert max(in_fog) < float(np.std(colour))
