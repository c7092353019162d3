"""A folder of pictures, the class being the folder a picture lies in.

Two layouts, told apart by the names found in the root:

    root/train/CLASS/**   root/val/CLASS/**   root/test/CLASS/**      splits are given
    root/CLASS/**                                                     splits are to be cut

A split's folder may be called train, training, val, valid, validation, test or testing, in capitals too.
Everything below a class belongs to it, at any depth. Hidden files and what systems leave behind
(``.DS_Store``, ``__MACOSX``, ``Thumbs.db``) are skipped; other files that are no pictures are counted and
mentioned. Whatever leaves the label or the split of a picture in doubt is an error, and all errors come at
once.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from tl_jax.data.sources import splits as given
from tl_jax.data.sources import tree
from tl_jax.data.sources.errors import counted, listed, some
from tl_jax.data.sources.files import SUFFIXES, files
from tl_jax.data.sources.groups import by_pattern
from tl_jax.data.sources.noted import NotedTable
from tl_jax.data.sources.tree import Found

_ENDINGS = " ".join(sorted(suffix[1:] for suffix in SUFFIXES))


def read(config: ConfigDict, *, training: bool = True) -> NotedTable:
    """The table of ``config.root``. An id is the path below the root, with forward slashes.

    Uses ``root``, ``group``, ``classes``, ``fold``, ``max_pixels`` and ``window`` of ``config``. With
    ``training=False`` the pictures are only to be predicted or measured, and need not hold a train split.

    Raises:
      SourceError: the folder is missing, or its layout leaves something in doubt; lists everything.
    """
    root = tree.folder(config.root)
    rows = _Rows(root, set(config.classes), training)
    folders = _subfolders(root)
    by_split: dict[str, list[str]] = {}
    for name in folders:
        if split := given.FOLDER_NAMES.get(name.lower()):
            by_split.setdefault(split, []).append(name)
    if by_split:
        _read_splits(rows, folders, by_split)
    elif folders:
        _read_classes(rows, folders)
    else:
        rows.problems.append(f"there is no folder in it{_what_is_there(root)}")
    if training and not config.fold:
        rows.problems += given.problems(rows.labels, rows.splits, rows.classes)
    if rows.problems:
        raise listed(
            f"data.root={str(config.root)!r} cannot be used:",
            rows.problems,
            "A folder holds train/, val/ and test/ with a folder for each class in them, or the classes "
            f"alone. Pictures are {_ENDINGS}.",
        )
    notes = [*rows.notes, *tree.others_note(rows.others, root)]
    groups = rows.ids
    if config.group:
        groups, more = by_pattern(rows.ids, rows.inner, config.group)
        notes += more
    source = files([str(root / path) for path in rows.ids], rows.ids, config)
    return NotedTable(
        ids=np.array(rows.ids, dtype=str),
        labels=np.array(rows.labels, dtype=str),
        groups=np.array(groups, dtype=str),
        splits=np.array(rows.splits, dtype=str),
        read=source.read,
        stamp=source.stamp,
        grouped=bool(config.group),
        notes=tuple(notes),
    )


class _Rows:
    """Collects pictures, and everything that is wrong, folder by folder."""

    def __init__(self, root: Path, classes: set[str], training: bool) -> None:
        self.root, self.classes, self.training = root, classes, training
        self.ids: list[str] = []
        self.inner: list[str] = []  # below the class folder
        self.labels: list[str] = []
        self.splits: list[str] = []
        self.others = Found().others
        self.problems: list[str] = []
        self.notes: list[str] = []

    def add_class(self, label: str, below: str, split: str) -> None:
        found = tree.walk(self.root / below)
        self.problems += found.problems
        if not found.pictures and (not self.classes or label in self.classes):
            kinds = some([f"{n:,} {suffix}" for suffix, n in found.others.most_common()])
            there = f"; other files there: {kinds}" if kinds else ""
            self.problems.append(f"class folder {below} holds no picture{there}")
        self.others += found.others
        self.ids += [f"{below}/{path}" for path in found.pictures]
        self.inner += found.pictures
        self.labels += [label] * len(found.pictures)
        self.splits += [split] * len(found.pictures)


def _read_splits(rows: _Rows, folders: list[str], by_split: dict[str, list[str]]) -> None:
    for split, names in by_split.items():
        if len(names) > 1:
            rows.problems.append(f"{' and '.join(names)} both mean the {split} split; keep one")
            continue
        below = names[0]
        classes = _subfolders(rows.root / below)
        loose = _loose(rows, below)
        if not classes:
            what = f"{counted(loose, 'picture')} without a class" if loose else "nothing to learn from"
            rows.problems.append(
                f"{below} holds no class folder but {what}{_what_is_there(rows.root / below)}"
            )
        elif loose:
            rows.notes.append(
                f"{counted(loose, 'picture')} directly in {rows.root / below}, outside every class, not read"
            )
        for label in classes:
            rows.add_class(label, f"{below}/{label}", split)
    _loose(rows, "")
    for name in folders:
        if name.lower() in given.FOLDER_NAMES:
            continue
        number = len(tree.walk(rows.root / name).pictures)
        if any(inner.lower() in given.FOLDER_NAMES for inner in _subfolders(rows.root / name)):
            rows.notes.append(f"{rows.root / name} has splits of its own and was not read")
        elif number:
            splits = ", ".join(names[0] for names in by_split.values())
            rows.problems.append(
                f"layouts are mixed: {name} ({counted(number, 'picture')}) lies beside the splits {splits}; "
                "put it into them, or move it away"
            )


def _read_classes(rows: _Rows, folders: list[str]) -> None:
    if loose := _loose(rows, ""):
        rows.notes.append(
            f"{counted(loose, 'picture')} directly in {rows.root}, outside every class, not read"
        )
    nested = {}
    for name in folders:
        inside = [inner for inner in _subfolders(rows.root / name) if inner.lower() in given.FOLDER_NAMES]
        if inside:
            nested[name] = inside
    if nested and len(folders) == 1:
        name, inside = next(iter(nested.items()))
        rows.problems.append(
            f"it holds only the folder {name}, which holds {', '.join(inside)}; "
            f"did you mean data.root={str(rows.root / name)!r}?"
        )
        return
    for name, inside in nested.items():
        rows.problems.append(
            f"class {name} holds {', '.join(inside)}: splits go above the classes, as {inside[0]}/{name}/"
        )
    if len(folders) == 1 and rows.training:
        inner = _subfolders(rows.root / folders[0])
        hint = f"; it holds {some(inner, 5)}: is it the root?" if inner else "; there must be two or more"
        rows.problems.append(f"{folders[0]} is the only class{hint}")
    for label in folders:
        rows.add_class(label, label, "")


def _subfolders(folder: Path) -> list[str]:
    return [name for name, kind in tree.entries(folder) if kind == "folder"]


def _loose(rows: _Rows, below: str) -> int:
    """Pictures directly in a folder that should hold folders; other files there are counted."""
    number = 0
    for name, kind in tree.entries(rows.root / below):
        if kind == "file" and tree.is_picture(name):
            number += 1
        elif kind == "file":
            rows.others[tree.ending(name)] += 1
    return number


def _what_is_there(folder: Path) -> str:
    names = [name for name, _ in tree.entries(folder)]
    return f" (it holds {some(names, 5)})" if names else " (it is empty)"
