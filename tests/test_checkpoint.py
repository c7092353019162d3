"""A checkpoint is read back as it was, or refused."""

from __future__ import annotations

import threading

import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import checkpoint

ARRAYS = {"a": {"x": jnp.arange(6.0).reshape(2, 3)}, "empty": {}}


def test_arrays_and_record_come_back(tmp_path):
    assert checkpoint.latest(tmp_path / "last") is None
    checkpoint.save(tmp_path / "last", 1, ARRAYS, {"step": 7, "best": None})
    checkpoint.save(tmp_path / "last", 2, ARRAYS, {"step": 7, "best": 0.5})
    assert checkpoint.latest(tmp_path / "last") == 2
    assert checkpoint.record(tmp_path / "last", 1) == {"step": 7, "best": None}
    found = checkpoint.restore(tmp_path / "last", 2, ARRAYS)
    np.testing.assert_array_equal(found["a"]["x"], ARRAYS["a"]["x"])
    checkpoint.prune(tmp_path / "last", 2)
    with pytest.raises(FileNotFoundError):
        checkpoint.record(tmp_path / "last", 1)


def test_only_saving_removes_what_a_killed_write_left(tmp_path):
    """A reader that does so in the background takes away what is written next."""
    checkpoint.save(tmp_path, 1, ARRAYS, {})
    half = tmp_path / "2.orbax-checkpoint-tmp"
    half.mkdir()
    before = threading.enumerate()
    checkpoint.latest(tmp_path)
    checkpoint.record(tmp_path, 1)
    checkpoint.restore(tmp_path, 1, ARRAYS)
    checkpoint.prune(tmp_path, 1)
    for thread in set(threading.enumerate()) - set(before):
        thread.join(timeout=10)
    assert half.exists()
    checkpoint.save(tmp_path, 3, ARRAYS, {})
    assert not half.exists()


@pytest.mark.parametrize(
    "other", [{"a": {"y": jnp.zeros((2, 3))}, "empty": {}}, {"a": {"x": jnp.zeros((3, 2))}, "empty": {}}]
)
def test_another_structure_is_refused(other, tmp_path):
    checkpoint.save(tmp_path, 1, ARRAYS, {})
    with pytest.raises(ValueError, match=r"x|shape"):
        checkpoint.restore(tmp_path, 1, other)
