"""How arrays become leaves, and back."""

from __future__ import annotations

import numpy as np
import pytest

from tl_jax.pretrained.transforms import CONV, FIRST_CONV, LINEAR, bicubic, positions


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("transform", "theirs", "ours"), [(LINEAR, (2, 3), (3, 2)), (CONV, (2, 3, 4, 5), (4, 5, 3, 2))]
)
def test_kernels_are_permuted_and_permuted_back(transform, theirs, ours) -> None:
    array = _random(*theirs)
    leaf = transform.to_ours([array], ours)
    assert leaf.shape == ours
    (back,) = transform.to_theirs(leaf)
    np.testing.assert_array_equal(back, array)
    assert leaf[(*(0,) * (leaf.ndim - 2), 1, 0)] == array[(0, 1, *(0,) * (leaf.ndim - 2))]


def test_the_first_convolution_is_summed_for_one_channel_only() -> None:
    array = _random(8, 3, 7, 7)
    np.testing.assert_array_equal(
        FIRST_CONV.to_ours([array], (7, 7, 3, 8)), CONV.to_ours([array], (7, 7, 3, 8))
    )
    gray = FIRST_CONV.to_ours([array], (7, 7, 1, 8))
    np.testing.assert_allclose(gray[:, :, 0], array.sum(1).transpose(1, 2, 0), rtol=1e-6)


def test_positions_of_the_right_number_are_left_alone() -> None:
    table = _random(1, 10, 4)
    assert positions(1).to_ours([table], (1, 10, 4)) is table
    rectangle = _random(1, 1 + 2 * 7, 4)
    assert positions(1).to_ours([rectangle], (1, 15, 4)) is rectangle


def test_positions_keep_their_tokens_and_resize_the_rest() -> None:
    table = _random(1, 2 + 9, 4)
    large = positions(2).to_ours([table], (1, 2 + 25, 4))
    assert large.shape == (1, 27, 4)
    assert large.dtype == np.float32
    np.testing.assert_array_equal(large[:, :2], table[:, :2])
    constant = np.full((1, 1 + 9, 4), 3.0, np.float32)
    np.testing.assert_allclose(positions(1).to_ours([constant], (1, 1 + 16, 4)), 3.0, rtol=1e-6)
    # Rows stay rows: a table that differs down the picture only still does.
    rows = np.concatenate([np.zeros((1, 1, 1)), np.repeat([0.0, 1.0, 2.0], 3).reshape(1, 9, 1)], axis=1)
    grid = positions(1).to_ours([rows], (1, 1 + 36, 1))[0, 1:].reshape(6, 6)
    np.testing.assert_allclose(grid, np.broadcast_to(grid[:, :1], (6, 6)), atol=1e-12)
    assert grid[0, 0] < grid[2, 0] < grid[5, 0]


def test_positions_that_are_no_square_cannot_be_resized() -> None:
    with pytest.raises(ValueError, match="square"):
        positions(1).to_ours([_random(1, 1 + 14, 4)], (1, 1 + 16, 4))
    with pytest.raises(ValueError, match="square"):
        positions(2).to_ours([_random(1, 2 + 9, 4)], (1, 1 + 16, 4))


def test_antialiased_bicubic_weights() -> None:
    np.testing.assert_allclose(bicubic(5, 5, antialias=True), np.eye(5), atol=1e-15)
    # Halfway between two pixels, by hand from Keys' formula with a = -0.5, the kernel twice as wide.
    taps = np.array([-0.0234375, -0.0703125, 0.2265625, 0.8671875]) / 2
    row = [0, *taps, *taps[::-1], 0, 0, 0]
    np.testing.assert_allclose(bicubic(12, 6, antialias=True)[2], row, atol=1e-15)


def test_bicubic_weights() -> None:
    np.testing.assert_allclose(bicubic(5, 5), np.eye(5), atol=1e-15)
    for old, new in ((3, 8), (14, 24), (9, 4)):
        np.testing.assert_allclose(bicubic(old, new).sum(axis=1), 1)
        np.testing.assert_allclose(bicubic(old, new), bicubic(old, new)[::-1, ::-1], atol=1e-15)
    # At a quarter between two pixels, by hand from Keys' formula with a = -0.75.
    np.testing.assert_allclose(
        bicubic(8, 16)[7], [0, 0, -0.10546875, 0.87890625, 0.26171875, -0.03515625, 0, 0]
    )
