"""Photographs as data."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from tl_jax.report import images


def read(address: str) -> Image.Image:
    head, _, text = address.partition(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return Image.open(io.BytesIO(base64.b64decode(text)))


@pytest.mark.parametrize("channels", [1, 3])
def test_small_ones_are_kept_exactly(channels):
    image = np.random.default_rng(0).integers(0, 256, (32, 24, channels), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(read(images.data(image))).reshape(image.shape), image)


def test_large_ones_are_small_files_and_nearly_the_same():
    y, x = np.mgrid[:224, :224]
    image = (127 + 60 * np.sin(x / 20) + 60 * np.cos(y / 30)).astype(np.uint8)[..., None]
    address = images.data(image)
    assert len(address) < image.nbytes / 3
    assert np.abs(np.asarray(read(address)).astype(int) - image[..., 0]).max() < 16


def test_an_overlay_leaves_the_cold_alone_and_marks_the_hot():
    image = np.full((8, 8, 1), 100, np.uint8)
    heat = np.zeros((8, 8), np.float32)
    heat[2, 3] = 1
    found = images.overlay(image, heat)
    assert found.dtype == np.uint8
    assert (np.delete(found.reshape(64, 3), 2 * 8 + 3, axis=0) == 100).all()
    assert found[2, 3].astype(int).max() > 180
    colour = images.overlay(np.repeat(image, 3, -1), heat)
    np.testing.assert_array_equal(colour, found)
