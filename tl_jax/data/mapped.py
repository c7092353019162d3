"""Arrays in mapped files: what was read of them need not stay in the process's memory."""

from __future__ import annotations

import mmap

import numpy as np


def release(array: np.ndarray) -> None:
    """Takes a mapped file's pages out of this process; any other array is left alone.

    They stay in the system's own memory while that has room, and are mapped again when they are needed, so
    nothing is lost, what was written included. Else a process would hold all it ever read, and be as large
    as its data set.
    """
    file: object = array
    while isinstance(file, np.ndarray):  # a view's base may be a view
        file = file.base
    if isinstance(file, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        file.madvise(mmap.MADV_DONTNEED)
