"""Pictures decoded once into uint8 arrays, and kept on disk under a key of their content.

How a stale or half-written array is never read: `tl_jax.cache_folder`. Arrays stay memory-mapped, so that a
caller reads the rows it needs. Without a usable cache folder the run goes on, with a warning.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tl_jax import cache_folder, processes
from tl_jax.data.decoder import Decoder, Pictures
from tl_jax.data.shift import Shift
from tl_jax.data.sources.errors import SourceError, counted
from tl_jax.data.table import BadImageError, Table

log = logging.getLogger("tl_jax")

VERSION = 3
"""Part of every key; to be raised when decoding or resizing changes."""

AS_THEY_ARE = Shift()
"""Pictures that are not shifted."""

_KIND = "pictures"


def load(
    table: Table,
    sizes: Sequence[int],
    *,
    fit: str,
    resample: str,
    gray: bool,
    workers: int,
    cache: str,
    host_budget: int,
    max_pixels: int,
    at_least: int,
    shift: Shift = AS_THEY_ARE,
    say: Callable[[str], None] = lambda line: None,
) -> Pictures:
    """Every picture of a table at each of ``sizes`` (pixels, square), from the cache or decoded.

    ``gray``: keep one channel whatever the pictures have. Otherwise one channel is kept if and only if
    every picture is gray. ``at_least`` (pixels): see `Table.read`. ``shift``: what is done to a picture once
    it is resized. ``cache``: a folder, "auto" or "".
    What is cached is compared with its check sums where it fits ``host_budget`` (more would take minutes).
    Where nothing can be cached, up to ``host_budget`` bytes are decoded into memory, more into a file in
    the system's folder for such. Raises SourceError if there is no room for them.
    """
    facts: list[Any] = [*sizes, at_least, max_pixels, fit, resample, gray]
    if shift.of_pictures:  # to its last bit it depends on where it is computed
        facts += [shift.of_pictures, jax.default_backend()]
    key = _key(table, facts, workers)
    folder = cache_folder.locate(cache, _KIND)
    found = _read(folder / key, len(table), sizes, host_budget) if folder is not None else None
    # A failing disk or a wrong permission leaves the stamp as it was.
    if found is not None and any(_is_readable(table, row, at_least) for row in found.bad):
        log.warning("pictures that could not be read before can be now: all are decoded again")
        found = None
    # Several processes decode together, or not at all.
    if all(processes.gather_values(found is not None)) and found is not None:
        return found
    how = Decoder(table, sizes, at_least, fit, resample, gray, workers, shift, say)
    if folder is not None:
        try:
            return _decode_to_cache(how, folder, key)
        except OSError as error:
            log.warning("pictures are not cached: %s", error)
    if how.nbytes(3) <= host_budget:
        return how.run(None)
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{_KIND}-"))
        try:
            return how.run(scratch)  # the arrays outlive the names of their files
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise SourceError(
            f"there is no room for {counted(len(table), 'decoded picture')}, {how.nbytes(3) / 1e9:.1f} GB: "
            f"{error}. Set data.cache to a folder on a larger disk, or raise data.host_budget."
        ) from error


def _key(table: Table, facts: Sequence[Any], workers: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([VERSION, *facts]).encode())
    with ThreadPoolExecutor(max(1, workers)) as pool:  # a stamp may wait for a file server
        rows = range(0, len(table), 256)
        stamps = pool.map(lambda a: [table.stamp(i) for i in range(a, min(a + 256, len(table)))], rows)
        for start, some in zip(rows, stamps, strict=True):
            for name, stamp in zip(table.ids[start : start + 256].tolist(), some, strict=True):
                digest.update(f"\0{name}\0{stamp}".encode())
    return digest.hexdigest()


def _is_readable(table: Table, row: int, at_least: int) -> bool:
    try:
        table.read(row, (at_least, at_least))
    except BadImageError:
        return False
    return True


def _decode_to_cache(how: Decoder, folder: Path, key: str) -> Pictures:
    """Raises OSError where the folder cannot be written or has no room."""
    began = time.monotonic()
    with ExitStack() as stack:
        scratch = processes.together(lambda: stack.enter_context(cache_folder.aside(folder, _KIND)))
        pictures = how.run(scratch)
        processes.together(lambda: cache_folder.publish(scratch, folder / key))
    size = sum(array.nbytes for array in pictures.arrays)
    how.say(
        f"decoded {counted(len(how.table), 'picture')} in {time.monotonic() - began:.1f} s; "
        f"{size / 1e6:,.0f} MB are kept in {folder / key}"
    )
    return pictures


def _read(folder: Path, n: int, sizes: Sequence[int], host_budget: int) -> Pictures | None:
    """A cached set, or None where there is none, or a damaged one."""
    try:
        if not folder.is_dir():
            return None
        bad = {
            int(row): str(why) for row, why in json.loads((folder / "facts.json").read_text())["bad"].items()
        }
        arrays = tuple(np.load(folder / f"{size}.npy", mmap_mode="r") for size in sizes)
        digests = np.load(folder / "digests.npy")
        shapes = {array.shape for array in arrays}
        if digests.shape != (n,) or not any(
            shapes == {(n, size, size, channels) for size in sizes} for channels in (1, 3)
        ):
            raise ValueError(f"arrays of {sorted(shapes)}")
        if sum(array.nbytes for array in arrays) <= host_budget:
            _verify(arrays, np.load(folder / "sums.npy"), bad)
        return Pictures(arrays, digests, bad)
    except Exception as error:  # damaged files can make numpy and json raise almost anything
        log.warning("the cached pictures in %s cannot be used (%s): they are made again", folder, error)
        return None


def _verify(arrays: Sequence[np.ndarray], sums: np.ndarray, bad: Collection[int]) -> None:
    """Raises ValueError where a row is not what was written."""
    for row in range(len(sums)):
        if row not in bad and [zlib.crc32(array[row]) for array in arrays] != sums[row].tolist():
            raise ValueError(f"row {row} has changed")
