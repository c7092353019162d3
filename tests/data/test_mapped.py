"""Mapped files leave the process's memory again, with nothing lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tl_jax.data.examples import Rows
from tl_jax.data.mapped import release

N, SIDE = 256, 256
MEGABYTES = N * SIDE * SIDE / 1e6


def resident() -> float:
    """Megabytes of mapped files in this process's memory."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        pytest.skip("this system does not say how much of a process is mapped files")
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("RssFile"))


def filled(path: Path) -> np.ndarray:
    """Picture i holds the number i."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(N, SIDE, SIDE, 1))
    array[:] = np.arange(N, dtype=np.uint8)[:, None, None, None]
    return array


def test_what_was_written_is_kept(tmp_path: Path) -> None:
    array, before = filled(tmp_path / "a.npy"), resident()
    release(array[1:].reshape(-1))  # a view of the file is a way to all of it
    assert before - resident() > 0.9 * MEGABYTES
    assert (array[:, 0, 0, 0] == np.arange(N)).all()


def test_reading_rows_does_not_fill_the_memory(tmp_path: Path) -> None:
    filled(tmp_path / "a.npy").flush()
    rows = Rows(np.load(tmp_path / "a.npy", mmap_mode="r"), np.arange(N)[::-1])
    before = resident()
    for start in range(0, N, 16):
        assert (rows[start : start + 16][:, 0, 0, 0] == N - 1 - np.arange(start, start + 16)).all()
    assert resident() - before < 0.2 * MEGABYTES


def test_arrays_in_memory_are_left_alone() -> None:
    array = np.arange(3)
    release(array)
    assert array.tolist() == [0, 1, 2]
