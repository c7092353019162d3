"""Walks a folder: the pictures in it, what else lies there, and what stands in the way."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from tl_jax.data.sources.errors import SourceError, counted, nearest, some
from tl_jax.data.sources.files import SUFFIXES

_LEFT_BY_SYSTEMS = frozenset({"__macosx", "thumbs.db", "desktop.ini"})


@dataclass
class Found:
    """What a walk met, with paths relative to where it started and forward slashes."""

    pictures: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)  # files that are no pictures, by ending
    problems: list[str] = field(default_factory=list)

    def add(self, below: str, more: Found) -> None:
        self.pictures += [f"{below}/{path}" for path in more.pictures]
        self.others += more.others
        self.problems += more.problems


def is_hidden(name: str) -> bool:
    """Files that systems leave behind and nobody means: dot files, __MACOSX, Thumbs.db."""
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS


def is_picture(path: str) -> bool:
    return PurePath(path).suffix.lower() in SUFFIXES


def walk(root: Path, *, wanted=is_picture) -> Found:
    """Everything below ``root``, in the order of names. Links are followed; loops and dead ends are problems.

    ``wanted`` takes a full path (str) and says whether the file is a picture.
    """
    found = Found()
    stack: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(str(root), "", frozenset())]
    while stack:
        folder, below, above = stack.pop()
        try:
            stat = os.stat(folder)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            found.problems.append(f"{folder} cannot be read: {error.strerror}")
            continue
        here = (stat.st_dev, stat.st_ino)
        if here in above:
            found.problems.append(
                f"{folder} is a link that leads back to a folder above it ({os.path.realpath(folder)})"
            )
            continue
        for entry in entries:
            if is_hidden(entry.name):
                continue
            path = f"{below}{entry.name}"
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError:  # a link that leads to itself
                is_folder = is_file = False
            if is_folder:
                stack.append((entry.path, f"{path}/", above | {here}))
            elif is_file and wanted(entry.path):
                found.pictures.append(path)
                if not path.isprintable() or path != path.encode("utf-8", "replace").decode():
                    found.problems.append(f"{entry.path!a} has a name that cannot be printed; rename it")
            elif is_file:
                found.others[PurePath(entry.name).suffix.lower() or "no ending"] += 1
            elif entry.is_symlink() and is_picture(entry.name):
                found.problems.append(f"{entry.path} is a link to a file that is not there")
    found.pictures.sort()
    return found


def others_note(others: Counter[str], root: Path) -> list[str]:
    """A line that counts the files passed over, or none."""
    if not others:
        return []
    kinds = some([f"{n:,} {suffix}" for suffix, n in others.most_common()], 6)
    return [f"{counted(sum(others.values()), 'file')} in {root} passed over, no pictures: {kinds}"]


def folder(setting: str, key: str = "data.root") -> Path:
    """The folder that a config names. Raises SourceError saying what is there instead."""
    if not setting:
        raise SourceError(f"{key} is empty: set it to the folder that holds the pictures, --config.{key}=…")
    path = Path(setting).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        kind = " Unpack it first." if path.suffix.lower() in {".zip", ".tar", ".gz", ".tgz", ".7z"} else ""
        raise SourceError(f"{key}={setting!r} is a file, not a folder.{kind}")
    missing, above = path, path.absolute().parent
    while not above.is_dir():
        missing, above = above, above.parent
    try:
        names = sorted(name for name in os.listdir(above) if not is_hidden(name))
    except OSError:
        names = []
    there = f"{above} holds {some(names)}" if names else f"{above} is empty"
    raise SourceError(f"{key}={setting!r} is not there: {there}{nearest(missing.name, names)}")
