"""Folders of arrays on disk, each entry under a key of its content.

An entry is written aside and renamed, so that a half-written one is never read, and found only by the digest
of everything that went into it, so that a stale one is never found. What is mapped into memory stays readable
when its entry is deleted.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ABANDONED = 3 * 24 * 3600  # seconds after which a scratch folder belongs to no living process


def locate(setting: str, kind: str) -> Path | None:
    """The folder that a config names: ``"auto"`` is ``kind`` in the user's cache folder, ``""`` none. Whether
    it can be read or written is found out by doing so."""
    if setting != "auto":
        return Path(setting).expanduser() if setting else None
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "tl_jax" / kind


@contextmanager
def aside(folder: Path, kind: str) -> Iterator[Path]:
    """A scratch folder next to the entries, gone at the end unless it was published; and removes those that
    killed processes left behind. Raises OSError where the folder cannot be written."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _sweep(folder, kind)
    scratch = Path(tempfile.mkdtemp(prefix=f".{kind}-", dir=folder))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def publish(scratch: Path, entry: Path) -> None:
    """Gives a scratch folder the entry's name."""
    try:
        os.replace(scratch, entry)
    except OSError:  # a damaged one is there; or another process was quicker, with the same content
        shutil.rmtree(entry, ignore_errors=True)
        os.replace(scratch, entry)


def reserve(path: Path, size: int) -> None:
    """Takes room for a file of ``size`` bytes at once: a mapped file that outgrows the disk later would kill
    the process without a word. Raises OSError."""
    path.touch()
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    elif shutil.disk_usage(path.parent).free < size:
        raise OSError(f"no room for {size / 1e9:.1f} GB in {path.parent}")


def entry(folder: Path, kind: str, digest: str) -> Path:
    """Where an entry of a kind lies whose age matters (`holds`, `make_room`). Its name says so: nothing else
    is ever deleted in a folder that may be somebody's own."""
    return folder / f"{kind}-{digest}"


def holds(folder: Path, kind: str) -> int:
    """Bytes of all entries of a kind."""
    return sum(_size(one) for one in _entries(folder, kind))


def make_room(folder: Path, kind: str, size: int, budget: int) -> None:
    """Deletes the entries of a kind that were unused for longest until ``size`` bytes more keep within
    ``budget`` and fit the disk; or until there are none. Raises OSError where there is no such folder."""
    entries = _entries(folder, kind)
    held = sum(map(_size, entries))
    while entries and (held + size > budget or shutil.disk_usage(folder).free < size):
        oldest = entries.pop(0)
        held -= _size(oldest)
        shutil.rmtree(oldest, ignore_errors=True)


def mark_used(entry: Path) -> None:
    """Makes an entry the youngest."""
    with contextlib.suppress(OSError):
        os.utime(entry)


def _entries(folder: Path, kind: str) -> list[Path]:
    """From the one unused for longest to the one used last."""
    found = []
    for one in folder.glob(f"{kind}-*"):
        with contextlib.suppress(OSError):
            if re.fullmatch(r"[0-9a-f]{32}", one.name.removeprefix(f"{kind}-")):
                found.append((one.stat().st_mtime_ns, one))
    return [one for _, one in sorted(found)]


def _size(entry: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for file in entry.iterdir():
            total += file.stat().st_size
    return total


def _sweep(folder: Path, kind: str) -> None:
    for scratch in folder.glob(f".{kind}-*"):
        with contextlib.suppress(OSError):
            if time.time() - scratch.stat().st_mtime > _ABANDONED:
                shutil.rmtree(scratch, ignore_errors=True)
