"""Pictures decoded once into uint8 arrays, and kept on disk under a key of their content.

A cached array is found only by the digest of everything that went into it, and is written aside and
renamed: a stale or half-written one can never be read. Arrays stay memory-mapped, so that a caller reads
the rows it needs. Without a usable cache folder the run goes on, with a warning.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tl_jax.data import decode
from tl_jax.data.sources.errors import SourceError, counted
from tl_jax.data.table import BadImageError, Table

log = logging.getLogger("tl_jax")

VERSION = 2
"""Part of every key; to be raised when decoding or resizing changes."""

SECONDS = 5.0
"""Between two lines about progress."""

_CHUNK = 16  # pictures a thread takes at a time
_SCRATCH = ".pictures-"
_ABANDONED = 3 * 24 * 3600  # seconds after which a scratch folder belongs to no living process


@dataclass(frozen=True)
class Pictures:
    """``arrays[j]`` (n, sizes[j], sizes[j], channels) uint8, memory-mapped where they come from a file;
    ``digests`` (n,) str, of each picture as it was decoded, before resizing; ``bad`` {row: why} of the
    pictures that could not be used, whose rows are zero and whose digests are empty."""

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
    say: Callable[[str], None] = lambda line: None,
) -> Pictures:
    """Every picture of a table at each of ``sizes`` (pixels, square), from the cache or decoded.

    ``gray``: keep one channel whatever the pictures have. Otherwise one channel is kept if and only if
    every picture is gray. ``at_least`` (pixels): see `Table.read`. ``cache``: a folder, "auto" or "".
    Where nothing can be cached, up to ``host_budget`` bytes are decoded into memory, more into a file in
    the system's folder for such. Raises SourceError if there is no room for them.
    """
    key = _key(table, [*sizes, at_least, max_pixels], fit, resample, gray, workers)
    folder = _folder(cache)
    if folder is not None and (found := _read(folder / key, len(table), sizes)) is not None:
        # A failing disk or a wrong permission leaves the stamp as it was.
        if not any(_is_readable(table, row, at_least) for row in found.bad):
            return found
        log.warning("pictures that could not be read before can be now: all are decoded again")
    how = _Decoder(table, sizes, at_least, fit, resample, gray, workers, say)
    if folder is not None:
        try:
            return _decode_to_cache(how, folder, key)
        except OSError as error:
            log.warning("pictures are not cached: %s", error)
    if how.nbytes(3) <= host_budget:
        return how.run(None)
    try:
        scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH))
        try:
            return how.run(scratch)  # the arrays outlive the names of their files
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise SourceError(
            f"there is no room for {counted(len(table), 'decoded picture')}, {how.nbytes(3) / 1e9:.1f} GB: "
            f"{error}. Set data.cache to a folder on a larger disk, or raise data.host_budget."
        ) from error


def _key(table: Table, numbers: Sequence[int], fit: str, resample: str, gray: bool, workers: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([VERSION, *numbers, fit, resample, gray]).encode())
    with ThreadPoolExecutor(max(1, workers)) as pool:  # a stamp may wait for a file server
        rows = range(0, len(table), 256)
        stamps = pool.map(lambda a: [table.stamp(i) for i in range(a, min(a + 256, len(table)))], rows)
        for start, some in zip(rows, stamps, strict=True):
            for name, stamp in zip(table.ids[start : start + 256].tolist(), some, strict=True):
                digest.update(f"\0{name}\0{stamp}".encode())
    return digest.hexdigest()


def _folder(setting: str) -> Path | None:
    """The cache folder; whether it can be read or written is found out by doing so."""
    if setting != "auto":
        return Path(setting).expanduser() if setting else None
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "tl_jax" / "pictures"


def is_gray(picture: np.ndarray) -> bool:
    """Whether a picture (h, w, c) has one channel, or three that are the same."""
    return picture.shape[-1] == 1 or bool(
        (picture[..., 0] == picture[..., 1]).all() and (picture[..., 0] == picture[..., 2]).all()
    )


def _is_readable(table: Table, row: int, at_least: int) -> bool:
    try:
        table.read(row, (at_least, at_least))
    except BadImageError:
        return False
    return True


class _ColourFoundError(Exception):
    """A picture in colour among those taken for gray."""


@dataclass
class _Progress:
    """Says every few seconds how far decoding is."""

    total: int
    say: Callable[[str], None]
    done: int = 0
    start: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)

    def add(self, number: int) -> None:
        self.done += number
        now = time.monotonic()
        if now - self.last >= SECONDS:
            self.last = now
            left = (self.total - self.done) * (now - self.start) / self.done
            rate = self.done / (now - self.start)
            self.say(
                f"decoded {self.done:,} of {counted(self.total, 'picture')}, {rate:,.0f} a second, "
                + (f"{left:.0f} s left" if left < 100 else f"{left / 60:.0f} min left")
            )


@dataclass(frozen=True)
class _Decoder:
    """Decodes all pictures of a table into memory, or into files in a folder."""

    table: Table
    sizes: Sequence[int]
    at_least: int
    fit: str
    resample: str
    gray: bool
    workers: int
    say: Callable[[str], None]

    def nbytes(self, channels: int) -> int:
        return sum(len(self.table) * size * size * channels for size in self.sizes)

    def run(self, folder: Path | None) -> Pictures:
        """Raises OSError where the folder has no room."""
        try:
            return self._run(folder, 1 if self.gray or self._looks_gray() else 3)
        except _ColourFoundError:
            return self._run(folder, 3)

    def _looks_gray(self) -> bool:
        """Whether a few pictures spread over the table are gray: a guess, proved while decoding."""
        for i in np.unique(np.linspace(0, len(self.table) - 1, 16).astype(int)):
            try:
                if not is_gray(self.table.read(int(i), (self.at_least, self.at_least))):
                    return False
            except BadImageError:
                continue
        return True

    def _run(self, folder: Path | None, channels: int) -> Pictures:
        n = len(self.table)
        arrays = tuple(
            np.zeros((n, size, size, channels), np.uint8)
            if folder is None
            else _reserve(folder / f"{size}.npy", (n, size, size, channels))
            for size in self.sizes
        )
        digests, bad = np.zeros(n, "U32"), {}

        def one(i: int) -> None:
            try:
                picture = self.table.read(i, (self.at_least, self.at_least))
            except BadImageError as error:
                bad[i] = str(error)
                return
            if channels == 1 and not self.gray and not is_gray(picture):
                raise _ColourFoundError
            picture = np.ascontiguousarray(decode.to_channels(picture, channels))
            for array, size in zip(arrays, self.sizes, strict=True):
                array[i] = decode.resize(picture, size, fit=self.fit, resample=self.resample)
            shape = repr(picture.shape).encode()
            digests[i] = hashlib.blake2b(picture, digest_size=16, key=shape).hexdigest()

        def several(start: int) -> int:
            rows = range(start, min(start + _CHUNK, n))
            for i in rows:
                one(i)
            return len(rows)

        progress = _Progress(n, self.say)
        with ThreadPoolExecutor(max(1, self.workers)) as pool:
            for number in pool.map(several, range(0, n, _CHUNK)):
                progress.add(number)
        bad = dict(sorted(bad.items()))
        if folder is not None:
            for array in arrays:
                array.flush()
            np.save(folder / "digests.npy", digests)
            (folder / "facts.json").write_text(json.dumps({"bad": bad}))
        return Pictures(arrays, digests, bad)


def _reserve(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A zeroed array in a file whose room on the disk is taken at once: a mapped file that outgrows the
    disk later would kill the process without a word. Raises OSError."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    size = path.stat().st_size
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    elif shutil.disk_usage(path.parent).free < size:
        raise OSError(f"no room for {size / 1e9:.1f} GB in {path.parent}")
    return array


def _decode_to_cache(how: _Decoder, folder: Path, key: str) -> Pictures:
    """Raises OSError where the folder cannot be written or has no room."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _sweep(folder)
    began = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=folder))
    try:
        pictures = how.run(scratch)
        try:
            os.replace(scratch, folder / key)
        except OSError:  # a damaged one is there; or another process was quicker, with the same content
            shutil.rmtree(folder / key, ignore_errors=True)
            os.replace(scratch, folder / key)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    size = sum(array.nbytes for array in pictures.arrays)
    how.say(
        f"decoded {counted(len(how.table), 'picture')} in {time.monotonic() - began:.1f} s; "
        f"{size / 1e6:,.0f} MB are kept in {folder / key}"
    )
    return pictures


def _sweep(folder: Path) -> None:
    """Removes what killed processes left behind."""
    for scratch in folder.glob(f"{_SCRATCH}*"):
        try:
            if time.time() - scratch.stat().st_mtime > _ABANDONED:
                shutil.rmtree(scratch, ignore_errors=True)
        except OSError:
            continue


def _read(folder: Path, n: int, sizes: Sequence[int]) -> Pictures | None:
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
        return Pictures(arrays, digests, bad)
    except Exception as error:  # damaged files can make numpy and json raise almost anything
        log.warning("the cached pictures in %s cannot be used (%s): they are made again", folder, error)
        return None
