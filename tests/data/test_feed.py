"""Batches: the same whether they come from the device or from a stream, and from any step on."""

from __future__ import annotations

import threading
import time

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tl_jax.data import order
from tl_jax.data.examples import Rows, Split
from tl_jax.data.feed import Feed, eval_batches

N, BATCH = 21, 8


def split(path=None, n: int = N) -> Split:
    """Pictures whose pixels say their row; on disk, behind other rows, if a path is given."""
    images = np.repeat(np.arange(n, dtype=np.uint8), 3 * 3).reshape(n, 3, 3, 1)
    labels = (np.arange(n) % 4).astype(np.int32)
    names = np.array([f"p{i}" for i in range(n)])
    if path is None:
        return Split(names, labels, names, images)
    stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(2 * n, 3, 3, 1))
    stored[...] = 255
    stored[1::2] = images
    return Split(names, labels, names, Rows(stored, np.arange(1, 2 * n, 2)))


def sharding(devices: int) -> NamedSharding:
    return NamedSharding(Mesh(np.array(jax.devices()[:devices]), ("data",)), PartitionSpec("data"))


def feed(rows: Split, budget: int, devices: int = 1, seed: int = 5) -> Feed:
    return Feed(rows, batch_size=BATCH, seed=seed, device_budget=budget, sharding=sharding(devices))


def batch(source: Feed, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and labels as the compiled step sees them."""
    store, index = source.batch(step)
    if index is not None:
        store = {name: values[index] for name, values in store.items()}
    return np.asarray(store["image"]), np.asarray(store["label"])


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("budget", [10**6, 0], ids=["resident", "streamed"])
@pytest.mark.parametrize("on_disk", [False, True])
def test_batches_hold_the_rows_of_the_order(tmp_path, devices, budget, on_disk):
    rows = split(tmp_path / "a.npy" if on_disk else None)
    source = feed(rows, budget, devices)
    try:
        assert source.resident == bool(budget)
        for step in range(7):  # two epochs and a bit
            images, labels = batch(source, step)
            expected = order.indices(5, step, BATCH, N)
            assert images.dtype == np.uint8
            assert images.shape == (BATCH, 3, 3, 1)
            assert np.array_equal(images[:, 0, 0, 0], expected)
            assert np.array_equal(labels, expected % 4)
            assert labels.dtype == np.int32
    finally:
        source.close()


@pytest.mark.parametrize("budget", [10**6, 0], ids=["resident", "streamed"])
def test_any_step_may_be_asked_for(budget):
    source = feed(split(), budget)
    try:
        for step in (1000, 1001, 3, 4, 4, 0):
            images, _ = batch(source, step)
            assert np.array_equal(images[:, 0, 0, 0], order.indices(5, step, BATCH, N))
    finally:
        source.close()


def test_the_budget_is_inclusive():
    rows = split()
    assert feed(rows, rows.images.nbytes).resident
    assert not feed(rows, rows.images.nbytes - 1).resident


def test_resident_pictures_lie_on_every_device_and_batches_are_divided():
    source = feed(split(), 10**6, 4)
    store, index = source.batch(0)
    assert store["image"].sharding.is_fully_replicated
    assert len(store["image"].sharding.device_set) == 4
    assert {shard.data.shape for shard in index.addressable_shards} == {(2,)}
    again, _ = source.batch(1)
    assert again["image"] is store["image"]


def test_streamed_batches_are_divided():
    source = feed(split(), 0, 4)
    try:
        store, index = source.batch(0)
        assert index is None
        assert {shard.data.shape for shard in store["image"].addressable_shards} == {(2, 3, 3, 1)}
    finally:
        source.close()


def test_close_ends_the_threads():
    before = set(threading.enumerate())
    source = feed(split(), 0)
    source.batch(0)
    assert set(threading.enumerate()) - before
    source.close()
    deadline = time.monotonic() + 10
    while (
        left := {t for t in threading.enumerate() if t.is_alive()} - before
    ) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not left
    source.close()
    images, _ = batch(source, 2)  # and it can be used again
    assert np.array_equal(images[:, 0, 0, 0], order.indices(5, 2, BATCH, N))
    source.close()


def test_an_error_of_the_reader_arrives():
    class Broken(Rows):
        def __getitem__(self, index):
            raise OSError("the disk is gone")

    rows = split()
    broken = Split(rows.ids, rows.labels, rows.groups, Broken(np.asarray(rows.images), np.arange(N)))
    source = feed(broken, 0)
    with pytest.raises(Exception, match="the disk is gone"):
        source.batch(0)
    source.close()


@pytest.mark.parametrize("n", [1, 7, 8, 9, 16, 21])
@pytest.mark.parametrize("on_disk", [False, True])
def test_evaluation_counts_every_picture_once(tmp_path, n, on_disk):
    rows = split(tmp_path / "a.npy" if on_disk else None, n)
    seen = []
    for images, real in eval_batches(rows, BATCH):
        assert images.shape == (BATCH, 3, 3, 1)
        assert not images[real:].any()
        seen += images[:real, 0, 0, 0].tolist()
    assert seen == list(range(n))


def test_evaluation_of_nothing_has_no_batch():
    assert list(eval_batches(split(n=0), BATCH)) == []


def test_rows_index_like_an_array(tmp_path):
    images = split(tmp_path / "a.npy").images
    whole = split().images
    assert images.shape == whole.shape
    assert images.nbytes == whole.nbytes
    assert len(images) == N
    for index in (3, -1, slice(2, 9, 3), np.array([5, 5, 0]), [1, 2], np.arange(N) % 2 == 0):
        found = images[index]
        assert np.array_equal(found, whole[index])
        assert type(found) is np.ndarray
        assert found.flags.writeable
    images[0][...] = 9
    assert np.array_equal(images[0], whole[0])
