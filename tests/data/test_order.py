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


@given(
    seed=st.integers(0, 5),
    n=st.integers(1, 300),
    batch=st.integers(1, 20),
    kinds=st.integers(1, 4),
    epochs=st.integers(1, 3),
)
def test_sorted_by_size_every_epoch_is_still_whole(seed, n, batch, kinds, epochs):
    sizes = np.random.default_rng(n).integers(0, kinds, n)
    steps = -(-epochs * n // batch)
    rows = np.concatenate([order.indices(seed, step, batch, n, sizes=sizes) for step in range(steps)])
    for epoch in range(epochs):
        assert sorted(rows[epoch * n : (epoch + 1) * n].tolist()) == list(range(n))


def test_batches_are_of_one_size_where_they_can_be():
    sizes = np.random.default_rng(0).integers(0, 3, 3200)
    steps = range(300)  # three epochs
    plain = [len({*sizes[order.indices(0, step, 32, 3200)].tolist()}) for step in steps]
    found = [order.indices(0, step, 32, 3200, sizes=sizes) for step in steps]
    alike = [len({*sizes[rows].tolist()}) for rows in found]
    assert set(plain) == {3}
    assert np.mean(np.array(alike) == 1) > 0.8
    first = [int(sizes[rows].max()) for rows in found[: order.WINDOW]]
    assert first != sorted(first), "batches of one size do not come one after the other"


def test_where_all_are_of_one_size_nothing_changes_but_the_turns():
    sizes = np.zeros(64, int)
    plain = {tuple(order.indices(0, step, 8, 64).tolist()) for step in range(8)}
    assert {tuple(order.indices(0, step, 8, 64, sizes=sizes).tolist()) for step in range(8)} == plain
