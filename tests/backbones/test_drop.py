"""Dropout: what stays, how much of it, and what it is multiplied by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tl_jax.backbones.drop import drop_path, dropped

KEY = jax.random.key(0)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("columns", [1, 7, 64])
def test_the_share_of_its_rate_is_dropped_and_the_rest_grows(rate, columns):
    x = jnp.ones((80_000 // columns, columns))
    found = np.asarray(dropped(nnx.Dropout(rate), x, KEY))
    assert set(np.unique(found)) == {np.float32(0), np.float32(1 / (1 - rate))}
    n = found.size
    assert abs((found == 0).mean() - rate) < 5 * (rate * (1 - rate) / n) ** 0.5


def test_places_are_dropped_apart_from_each_other():
    gone = np.asarray(dropped(nnx.Dropout(0.5), jnp.ones((4000, 16)), KEY)) == 0
    between = np.corrcoef(gone.T.astype(float)) - np.eye(16)
    assert np.abs(between).max() < 5 / 4000**0.5


def test_a_key_decides_and_another_one_otherwise():
    x = jnp.ones((50, 7))
    first, again, other = (dropped(nnx.Dropout(0.5), x, jax.random.key(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_gradients_pass_where_units_stay():
    x, dropout = jnp.ones((30, 5)), nnx.Dropout(0.3)
    found, backward = jax.vjp(lambda x: dropped(dropout, x, KEY), x)
    np.testing.assert_allclose(backward(jnp.ones_like(x))[0], found, rtol=1e-6)


def test_without_key_rate_or_training_nothing_is_dropped():
    x = jnp.ones((3, 4))
    for dropout, key in (
        (nnx.Dropout(0.5), None),
        (nnx.Dropout(0.0), KEY),
        (nnx.Dropout(0.5, deterministic=True), KEY),
    ):
        assert np.array_equal(dropped(dropout, x, key), x)
    assert not dropped(nnx.Dropout(1.0), x, KEY).any()


def test_stochastic_depth_drops_a_row_whole():
    found = np.asarray(dropped(drop_path(0.5, axes=3), jnp.ones((200, 3, 4)), KEY)).reshape(200, -1)
    assert np.array_equal(found.min(1), found.max(1))
    assert 60 < (found[:, 0] == 0).sum() < 140
