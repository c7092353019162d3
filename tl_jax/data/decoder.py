"""Decodes every picture of a table, by threads, into memory or into a file.

Of several processes each decodes its share."""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tl_jax import cache_folder, processes
from tl_jax.data import decode, shares
from tl_jax.data.mapped import release
from tl_jax.data.shift import Shift
from tl_jax.data.sources.errors import counted
from tl_jax.data.table import BadImageError, Table
from tl_jax.pace import left_over

SECONDS = 5.0
"""Between two lines about progress."""

FLAT = "flat "
"""How the digest of a picture begins that has one value everywhere."""

_CHUNK = 16  # pictures a thread takes at a time


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


def is_gray(picture: np.ndarray) -> bool:
    """Whether a picture (h, w, c) has one channel, or three that are the same."""
    return picture.shape[-1] == 1 or bool(
        (picture[..., 0] == picture[..., 1]).all() and (picture[..., 0] == picture[..., 2]).all()
    )


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
                f"{left_over(left)}"
            )


@dataclass(frozen=True)
class Decoder:
    """Decodes all pictures of a table into memory, or into files in a folder; what is kept is shifted."""

    table: Table
    sizes: Sequence[int]
    at_least: int
    fit: str
    resample: str
    gray: bool
    workers: int
    shift: Shift
    say: Callable[[str], None]

    def nbytes(self, channels: int) -> int:
        return sum(len(self.table) * size * size * channels for size in self.sizes)

    def run(self, folder: Path | None) -> Pictures:
        """Raises OSError where the folder has no room."""
        try:
            gray = self.gray or all(processes.gather_values(self._looks_gray()))
            return self._run(folder, 1 if gray else 3)
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
        n, own = len(self.table), shares.own(len(self.table))
        arrays = processes.together(
            lambda: tuple(
                np.zeros((n, size, size, channels), np.uint8)
                if folder is None
                else _reserve(folder / f"{size}.npy", (n, size, size, channels))
                for size in self.sizes
            )
        )
        digests, bad = np.zeros(n, f"U{32 + len(FLAT)}"), {}
        sums = np.zeros((n, len(arrays)), np.uint32)

        def one(i: int) -> None:
            try:
                picture = self.table.read(i, (self.at_least, self.at_least))
            except BadImageError as error:
                bad[i] = str(error)
                return
            if channels == 1 and not self.gray and not is_gray(picture):
                raise _ColourFoundError
            picture = np.ascontiguousarray(decode.to_channels(picture, channels))
            for j, size in enumerate(self.sizes):
                small = decode.resize(picture, size, fit=self.fit, resample=self.resample)
                small = self.shift.corrupted(small, self.table.ids[i])
                arrays[j][i] = small
                sums[i, j] = zlib.crc32(small.tobytes())
            shape = repr(picture.shape).encode()
            digest = hashlib.blake2b(picture.tobytes(), digest_size=16, key=shape).hexdigest()
            digests[i] = digest if picture.min() < picture.max() else FLAT + digest

        def several(start: int) -> int:
            rows = own[start : start + _CHUNK]
            for i in rows:
                one(i)
            for array in arrays:
                release(array)
            return len(rows)

        progress, colour = _Progress(len(own), self.say), False
        try:
            with ThreadPoolExecutor(max(1, self.workers)) as pool:
                for number in pool.map(several, range(0, len(own), _CHUNK)):
                    progress.add(number)
        except _ColourFoundError:
            colour = True
        if any(processes.gather_values(colour)):
            raise _ColourFoundError
        for array in (*arrays, sums, digests.view(np.uint32).reshape(n, -1)):
            shares.exchange(array)
        for array in arrays:
            release(array)
        bad = shares.merged(bad)
        pictures = Pictures(arrays, digests, bad)
        if folder is not None:
            processes.together(lambda: _write(folder, pictures, sums))
        return pictures


def _write(folder: Path, pictures: Pictures, sums: np.ndarray) -> None:
    """Puts everything onto the disk. Raises OSError."""
    for array in pictures.arrays:
        if isinstance(array, np.memmap):
            array.flush()
    np.save(folder / "digests.npy", pictures.digests)
    np.save(folder / "sums.npy", sums)
    (folder / "facts.json").write_text(json.dumps({"bad": pictures.bad}))


def _reserve(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A zeroed array in a file whose room on the disk is taken at once. Raises OSError."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    cache_folder.reserve(path, path.stat().st_size)
    return array
