"""Pictures decoded once into uint8 arrays, and kept on disk under a key of their content.

A cached array is found only by the digest of everything that went into it, and is written aside and
renamed: a stale or half-written one can never be read. Without a usable cache folder the run goes on,
with a warning.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tl_jax.data import decode
from tl_jax.data.table import BadImageError, Table

log = logging.getLogger("tl_jax")

VERSION = 1
"""Part of every key; to be raised when decoding or resizing changes."""


@dataclass(frozen=True)
class Pictures:
    """``arrays[j]`` (n, sizes[j], sizes[j], channels) uint8; ``digests`` (n,) of the first; ``bad``
    {row: why} of the pictures that could not be used, whose rows are zero."""

    arrays: tuple[np.ndarray, ...]
    digests: np.ndarray
    bad: dict[int, str]

    @property
    def channels(self) -> int:
        return self.arrays[0].shape[-1]


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
    progress: Callable[[int], None] = lambda _: None,
) -> Pictures:
    """Every picture of a table at each of ``sizes`` (pixels, square), from the cache or decoded.

    ``gray``: keep one channel whatever the pictures have. Otherwise one channel is kept if and only if
    every picture is gray. ``at_least`` (pixels): see `Table.read`. Arrays beyond
    ``host_budget`` bytes stay memory-mapped.
    """
    key = _key(table, [*sizes, at_least, max_pixels], fit, resample, gray)
    folder = _folder(cache)
    if folder is not None and (found := _read(folder / key, host_budget)) is not None:
        return found
    scratch = Path(tempfile.mkdtemp(prefix=".pictures-", dir=folder))
    try:
        how = _Decoder(table, sizes, at_least, fit, resample, workers, scratch, progress)
        try:
            bad = how.run(1 if gray or _looks_gray(table) else 3, convert=gray)
        except _ColourFoundError:
            bad = how.run(3, convert=False)
        if folder is None:
            return _open(scratch, bad, host_budget, keep=False)
        target = folder / key
        shutil.rmtree(target, ignore_errors=True)
        os.replace(scratch, target)
        return _open(target, bad, host_budget, keep=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _key(table: Table, numbers: Sequence[int], fit: str, resample: str, gray: bool) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([VERSION, *numbers, fit, resample, gray]).encode())
    for i, name in enumerate(table.ids):
        digest.update(f"\0{name}\0{table.stamp(i)}".encode())
    return digest.hexdigest()


def _folder(setting: str) -> Path | None:
    """The cache folder, or None with a warning where there is none to be had."""
    if not setting:
        return None
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "tl_jax" / "pictures" if setting == "auto" else Path(setting)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder} cannot be written")
    except OSError as error:
        log.warning("pictures are not cached: %s", error)
        return None
    return folder


def _looks_gray(table: Table) -> bool:
    """Whether a few pictures spread over the table are gray: a guess, proved while decoding."""
    for i in np.unique(np.linspace(0, len(table) - 1, 16).astype(int)):
        try:
            if not is_gray(table.read(int(i), None)):
                return False
        except BadImageError:
            continue
    return True


def is_gray(picture: np.ndarray) -> bool:
    """Whether a picture (h, w, c) has one channel, or three that are the same."""
    return picture.shape[-1] == 1 or bool(
        (picture[..., 0] == picture[..., 1]).all() and (picture[..., 0] == picture[..., 2]).all()
    )


class _ColourFoundError(Exception):
    """A picture in colour among those taken for gray."""


@dataclass(frozen=True)
class _Decoder:
    """Decodes all pictures of a table into files in ``folder``."""

    table: Table
    sizes: Sequence[int]
    at_least: int
    fit: str
    resample: str
    workers: int
    folder: Path
    progress: Callable[[int], None]

    def run(self, channels: int, *, convert: bool) -> dict[int, str]:
        """The unreadable rows, with why. ``convert``: make colour gray where ``channels`` is 1, rather
        than raise `_ColourFoundError`."""
        n = len(self.table)
        arrays = [
            np.lib.format.open_memmap(
                self.folder / f"{size}.npy", mode="w+", dtype=np.uint8, shape=(n, size, size, channels)
            )
            for size in self.sizes
        ]
        digests, bad = np.zeros(n, "U32"), {}

        def one(i: int) -> None:
            try:
                picture = self.table.read(i, (self.at_least, self.at_least))
            except BadImageError as error:
                bad[i] = str(error)
                return
            if channels == 1 and not convert and not is_gray(picture):
                raise _ColourFoundError
            picture = decode.to_channels(picture, channels)
            for array, size in zip(arrays, self.sizes, strict=True):
                array[i] = decode.resize(picture, size, fit=self.fit, resample=self.resample)
            digests[i] = hashlib.blake2b(arrays[0][i].tobytes(), digest_size=16).hexdigest()

        with ThreadPoolExecutor(max(1, self.workers)) as pool:
            for done, _ in enumerate(pool.map(one, range(n))):
                self.progress(done + 1)
        for array in arrays:
            array.flush()
        np.save(self.folder / "digests.npy", digests)
        (self.folder / "facts.json").write_text(json.dumps({"sizes": list(self.sizes), "bad": bad}))
        return dict(sorted(bad.items()))


def _read(folder: Path, host_budget: int) -> Pictures | None:
    """A cached set, or None where there is none, or a damaged one."""
    if not folder.is_dir():
        return None
    try:
        facts = json.loads((folder / "facts.json").read_text())
        bad = {int(row): why for row, why in facts["bad"].items()}
        return _open(folder, bad, host_budget, keep=True)
    except (OSError, ValueError, KeyError) as error:
        log.warning("the cached pictures in %s are damaged (%s): they are made again", folder, error)
        return None


def _open(folder: Path, bad: dict[int, str], host_budget: int, *, keep: bool) -> Pictures:
    """The arrays of a folder; in memory where they fit the budget or the folder will go away."""
    sizes = json.loads((folder / "facts.json").read_text())["sizes"]
    arrays = [np.load(folder / f"{size}.npy", mmap_mode="r") for size in sizes]
    if sum(array.nbytes for array in arrays) <= host_budget:
        arrays = [np.array(array) for array in arrays]
    elif not keep:
        log.warning("data.cache is off and the pictures exceed data.host_budget: they stay in a deleted file")
    return Pictures(tuple(arrays), np.load(folder / "digests.npy"), bad)
