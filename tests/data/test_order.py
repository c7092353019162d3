"""Batch order: whole epochs, each a permutation, whatever the batch size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_jax.data import order


@given(n=st.integers(1, 40), size=st.integers(1, 50), seed=st.integers(0, 2**32), epochs=st.integers(1, 3))
def test_batches_are_permutations_end_to_end(n, size, seed, epochs):
    steps = -(-n * epochs // size)
    rows = np.concatenate([order.indices(seed, step, size, n) for step in range(steps)])
    assert rows.dtype == np.int32
    for epoch in range(epochs):
        assert sorted(rows[epoch * n : (epoch + 1) * n].tolist()) == list(range(n))


def test_a_batch_may_straddle_epochs():
    whole = np.concatenate([order.indices(3, step, 1, 10) for step in range(20)])
    assert np.array_equal(order.indices(3, 1, 7, 10), whole[7:14])
    assert np.array_equal(order.indices(3, 0, 20, 10), whole)


def test_pure_in_seed_and_step_and_different_between_them():
    before = order.indices(0, 5, 8, 100)
    for seed in range(6):  # push everything out of the cache
        order.indices(seed, 99, 8, 100)
    assert np.array_equal(order.indices(0, 5, 8, 100), before)
    assert not np.array_equal(order.indices(1, 5, 8, 100), before)
    epochs = [order.indices(0, epoch, 100, 100) for epoch in range(2)]
    assert not np.array_equal(*epochs)


def test_late_steps_do_not_overflow():
    rows = order.indices(0, 2**33, 4, 5)
    assert ((rows >= 0) & (rows < 5)).all()


@pytest.mark.parametrize(("n", "batch", "views"), [(10, 4, 3), (7, 20, 2), (5, 5, 1)])
def test_each_epoch_takes_the_next_view_of_the_same_pictures(n, batch, views):
    rows = np.concatenate([order.indices(3, step, batch, n, views) for step in range(4 * views * n // batch)])
    plain = np.concatenate([order.indices(3, step, batch, n) for step in range(4 * views * n // batch)])
    assert np.array_equal(rows % n, plain)
    assert np.array_equal(rows // n, np.arange(len(rows)) // n % views)
    for start in (0, n):  # any epochs in a row, as many as there are views
        assert sorted(rows[start : start + views * n]) == list(range(views * n))
