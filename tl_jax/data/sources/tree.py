"""Walks a folder: the pictures in it, what else lies there, and what stands in the way."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
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


def is_hidden(name: str) -> bool:
    """Files that systems leave behind and nobody means: dot files, __MACOSX, Thumbs.db."""
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS


def is_picture(path: str) -> bool:
    return PurePath(path).suffix.lower() in SUFFIXES


def entries(folder: str | Path) -> list[tuple[str, str]]:
    """(name, "folder" | "file" | "nothing") of what lies in a folder, by name, without what is hidden.

    Links count as what they lead to; "nothing" is a link that leads nowhere. Raises SourceError.
    """
    try:
        with os.scandir(folder) as inside:
            return sorted((entry.name, _kind(entry)) for entry in inside if not is_hidden(entry.name))
    except OSError as error:
        raise SourceError(f"{folder} cannot be read: {error.strerror}") from error


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        return "folder" if entry.is_dir() else "file" if entry.is_file() else "nothing"
    except OSError:  # a link that leads to itself
        return "nothing"


def walk(root: Path, *, wanted: Callable[[str], bool] = is_picture) -> Found:
    """Everything below ``root``. Links are followed; loops and dead ends are problems.

    ``wanted`` takes a file's full path and says whether it is a picture.
    """
    found = Found()
    stack: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while stack:
        below, above = stack.pop()
        folder = os.path.join(root, below)
        try:
            stat, names = os.stat(folder), entries(folder)
        except (OSError, SourceError) as error:
            found.problems.append(str(error))
            continue
        here = (stat.st_dev, stat.st_ino)
        if here in above:
            leads = os.path.realpath(folder)
            found.problems.append(f"{folder} is a link that leads back to a folder above it ({leads})")
            continue
        for name, kind in names:
            path = f"{below}/{name}" if below else name
            full = os.path.join(root, path)
            if kind == "folder":
                stack.append((path, above | {here}))
            elif kind == "nothing" and is_picture(name):
                found.problems.append(f"{full} is a link to a file that is not there")
            elif kind == "file" and wanted(full):
                found.pictures.append(path)
                if not name.isprintable():  # line breaks, and bytes that are not UTF-8
                    found.problems.append(f"{full!a} has a name that cannot be printed; rename it")
            elif kind == "file":
                found.others[ending(name)] += 1
    found.pictures.sort()
    return found


def ending(name: str) -> str:
    """What messages call the kind of a file."""
    return PurePath(name).suffix.lower() or "no ending"


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
