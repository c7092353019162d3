"""What a frozen prefix makes of the pictures of a stage: computed, or found on disk from another run.

An entry of the cache folder is found only by a digest of everything that went into it
(`tl_jax.prefix_pass.Pass.digest`). So a stale one is never found, and one that is found has the bits that
computing it again would give. What is wrong with the folder costs a warning and time, never the run.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

from tl_jax import cache_folder, prefix
from tl_jax.backbones.anatomy import Leaves
from tl_jax.data import Split
from tl_jax.data.mapped import release
from tl_jax.job import Job
from tl_jax.prefix import KIND, Cut, amount
from tl_jax.prefix_pass import Pass, Programs

log = logging.getLogger("tl_jax")

_ROWS = 1024  # that are read of a mapped file before its pages are given back


class Kept:
    """What frozen prefixes of one run make of its pictures. ``say`` gets a line about each pass over a split.

    Arrays (n, …) lie in memory or, beyond ``data.host_budget``, in a file that stays readable.
    """

    def __init__(self, job: Job, say: Callable[[str], None]) -> None:
        self.job, self.say = job, say
        self.programs: Programs = {}

    def serve(self, number: int, cut: Cut, params: Leaves, stats: Leaves) -> tuple[Split, Split] | None:
        """Train and val of stage ``number`` with what its prefix makes of the pictures in their place; None,
        with a warning, where the disk that was to hold it has failed since the stage was planned.

        Views are numbered as `data.order.indices` says. ``params`` and ``stats`` are those that the stage
        begins with.
        """
        begin = partial(Pass, self.job, number, cut, params, stats, programs=self.programs)
        # Val first: it is the smaller one, and where it fails nothing long was done in vain.
        found = self._splits([begin("val"), begin("train")])
        if found is None:
            log.warning("the frozen prefix runs at every step instead")
            return None
        return found[1], found[0]

    def test(self, number: int, cut: Cut, params: Leaves, stats: Leaves) -> Split | None:
        """The test split in the same way, for any parameters that stage ``number`` has come to; None where
        that would not fit into memory."""
        one = Pass(self.job, number, cut, params, stats, "test", programs=self.programs)
        found = self._splits([one]) if one.nbytes <= self.job.config.data.host_budget else None
        return found[0] if found else None

    def _splits(self, passes: Sequence[Pass]) -> list[Split] | None:
        """What the passes make, read or computed; None where there is no room for it."""
        budget = self.job.config.cache.disk_budget
        nbytes = sum(one.nbytes for one in passes)
        in_memory = nbytes <= self.job.config.data.host_budget
        folder = prefix.folder(self.job.config) if nbytes <= budget else None
        served = []
        for one in passes:
            entry = cache_folder.entry(folder, KIND, one.digest()) if folder else None
            values = _read(entry, one, verify=in_memory) if entry else None
            if values is not None:
                self.say(f"{one.stage}: what the frozen prefix makes of {one.inputs} is read from {entry}")
            else:
                values = _make(entry, one, budget, in_memory, self.say)
            if values is None:
                return None
            if in_memory and isinstance(values, np.memmap):
                values = np.array(values)
            served.append(one.split(values))
        return served


def _make(
    entry: Path | None, one: Pass, budget: int, in_memory: bool, say: Callable[[str], None]
) -> np.ndarray | None:
    """Computes the values: straight into a file that becomes the entry, or in memory where that cannot be.
    None where there is no room for them in either."""
    values: np.ndarray | None = None
    with ExitStack() as stack:
        if entry is not None:
            try:
                scratch = stack.enter_context(cache_folder.aside(entry.parent, KIND))
                cache_folder.make_room(entry.parent, KIND, one.nbytes, budget)
                values = _file(scratch, one)
            except OSError as error:
                entry = None
                log.warning("%s: the frozen prefix of %s is not kept on disk: %s", one.stage, one.name, error)
        if values is None:
            if not in_memory:
                return None
            values = np.empty(one.shape, one.dtype)
        began = time.monotonic()
        one.fill(values, say)
        taken = time.monotonic() - began
        told = f"{one.stage}: the frozen prefix ran on {one.inputs} in {taken:.1f} s"
        if entry is not None:
            try:
                _write(scratch, values, entry)
                told += f"; {amount(one.nbytes)} are kept in {entry}"
            except OSError as error:
                log.warning("%s: the frozen prefix of %s is not kept on disk: %s", one.stage, one.name, error)
        say(told)
    return values  # a mapped file outlives its name


def _file(folder: Path, one: Pass) -> np.memmap:
    path = folder / "values.bin"
    cache_folder.reserve(path, one.nbytes)
    return np.memmap(path, one.dtype, "r+", shape=one.shape)


def _write(scratch: Path, values: np.ndarray, entry: Path) -> None:
    """Puts the check sums beside the values, everything onto the disk, and gives the entry its name."""
    assert isinstance(values, np.memmap)
    values.flush()
    with open(scratch / "sums.npy", "wb") as file:
        np.save(file, _sums(values))
        file.flush()
        os.fsync(file.fileno())
    cache_folder.publish(scratch, entry)


def _read(entry: Path, one: Pass, *, verify: bool) -> np.ndarray | None:
    """The values of an entry, mapped; None where there is none, or a damaged one, which is deleted. With
    ``verify`` their check sums are compared; else only their number, since that would read everything."""
    if not entry.is_dir():
        return None
    try:
        path = entry / "values.bin"
        found = path.stat().st_size
        if found != one.nbytes:
            raise ValueError(f"{found:,} bytes instead of {one.nbytes:,}")
        values = np.memmap(path, one.dtype, "r", shape=one.shape)
        sums = np.load(entry / "sums.npy")
        if sums.shape != one.shape[:1] or (verify and not np.array_equal(_sums(values), sums)):
            raise ValueError("it is not what was written")
    except Exception as error:  # damaged files can make numpy raise almost anything
        log.warning("%s cannot be used (%s): it is made again", entry, error)
        shutil.rmtree(entry, ignore_errors=True)
        return None
    cache_folder.mark_used(entry)
    return values


def _sums(values: np.ndarray) -> np.ndarray:
    """A check sum of each row, (n,) uint32."""
    rows, sums = values.reshape(len(values), -1).view(np.uint8), np.empty(len(values), np.uint32)
    for number, row in enumerate(rows):
        sums[number] = zlib.crc32(row.data)
        if number % _ROWS == 0:
            release(values)
    return sums
