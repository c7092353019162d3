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

from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

from tl_jax.data.sources import splits as given
from tl_jax.data.sources import tree
from tl_jax.data.sources.errors import counted, some
from tl_jax.data.sources.files import DICOM, SUFFIXES
from tl_jax.data.sources.rows import Rows, files, table
from tl_jax.data.table import Table

_ENDINGS = " ".join(sorted(suffix[1:] for suffix in SUFFIXES))


def read(config: Any, *, training: bool = True) -> Table:
    """The table of ``config.root``. An id is the path below the root, with forward slashes.

    Uses ``root``, ``group``, ``classes``, ``fold``, ``max_pixels`` and ``window`` of ``config``. With
    ``training=False`` the pictures are only to be predicted or measured, and need not hold a train split.

    Raises:
      SourceError: the folder is missing, or its layout leaves something in doubt; lists everything.
    """
    rows = collect(config, training=training)
    rows.find_groups(config.group)
    medical = sum(PurePath(path).suffix.lower() in DICOM for path in rows.paths)
    if medical and rows.groups is None:
        scans = counted(medical, "DICOM file")
        rows.notes.append(f"nothing names patients; data.source='dicom' groups {scans} by patient")
    return table(rows, files(rows, config))


def collect(config: Any, *, training: bool, wanted: Callable[[str], bool] = tree.is_picture) -> Rows:
    """The rows of ``config.root``, checked, without groups. ``wanted``: see `tree.walk`."""
    root = tree.folder(config.root)
    reading = _Reading(root, set(config.classes), training, wanted)
    folders = reading.subfolders("")
    by_split: dict[str, list[str]] = {}
    for name in folders:
        if split := given.FOLDER_NAMES.get(name.lower()):
            by_split.setdefault(split, []).append(name)
    if by_split:
        reading.read_splits(folders, by_split)
    elif folders:
        reading.read_classes(folders)
    else:
        reading.rows.problems.append(f"there is no folder in it{_what_is_there(root)}")
    reading.rows.notes += tree.others_note(reading.others, root)
    kinds = _ENDINGS if wanted is tree.is_picture else 'DICOM files; others are for data.source="folder"'
    reading.rows.check(
        config,
        f"data.root={str(config.root)!r} cannot be used:",
        "A folder holds train/, val/ and test/ with a folder for each class in them, or the classes "
        f"alone. Pictures are {kinds}.",
        training=training,
    )
    return reading.rows


class _Reading:
    """Collects pictures, and everything that is wrong, folder by folder."""

    def __init__(self, root: Path, classes: set[str], training: bool, wanted: Callable[[str], bool]) -> None:
        self.root, self.classes, self.training, self.wanted = root, classes, training, wanted
        self.rows = Rows()
        self.others: Counter[str] = Counter()

    def add_class(self, label: str, below: str, split: str) -> None:
        found = tree.walk(self.root / below, wanted=self.wanted)
        self.rows.problems += found.problems
        if not found.pictures and (not self.classes or label in self.classes):
            kinds = some([f"{n:,} {suffix}" for suffix, n in found.others.most_common()])
            there = f"; other files there: {kinds}" if kinds else ""
            self.rows.problems.append(f"class folder {below} holds no picture{there}")
        self.others += found.others
        self.rows.ids += [f"{below}/{path}" for path in found.pictures]
        self.rows.inner += found.pictures
        self.rows.labels += [label] * len(found.pictures)
        self.rows.splits += [split] * len(found.pictures)
        self.rows.paths += [str(self.root / below / path) for path in found.pictures]

    def read_splits(self, folders: list[str], by_split: dict[str, list[str]]) -> None:
        for split, names in by_split.items():
            if len(names) > 1:
                self.rows.problems.append(f"{' and '.join(names)} both mean the {split} split; keep one")
                continue
            below = names[0]
            classes = self.subfolders(below)
            loose = self._loose(below)
            if not classes:
                what = f" but {counted(loose, 'picture')} without a class" if loose else ""
                self.rows.problems.append(
                    f"{below} holds no class folder{what}{_what_is_there(self.root / below)}"
                )
            elif loose:
                self._note_loose(loose, below)
            for label in classes:
                self.add_class(label, f"{below}/{label}", split)
        self._loose("")
        for name in folders:
            if name.lower() in given.FOLDER_NAMES:
                continue
            number = len(tree.walk(self.root / name, wanted=self.wanted).pictures)
            if any(inner.lower() in given.FOLDER_NAMES for inner in self.subfolders(name)):
                self.rows.notes.append(f"{self.root / name} has splits of its own and was not read")
            elif number:
                splits = ", ".join(names[0] for names in by_split.values())
                self.rows.problems.append(
                    f"layouts are mixed: {name} ({counted(number, 'picture')}) lies beside the splits "
                    f"{splits}; put it into them, or move it away"
                )

    def read_classes(self, folders: list[str]) -> None:
        if loose := self._loose(""):
            self._note_loose(loose, "")
        nested = {}
        for name in folders:
            inside = [inner for inner in self.subfolders(name) if inner.lower() in given.FOLDER_NAMES]
            if inside:
                nested[name] = inside
        if nested and len(folders) == 1:
            name, inside = next(iter(nested.items()))
            self.rows.problems.append(
                f"it holds only the folder {name}, which holds {', '.join(inside)}; "
                f"did you mean data.root={str(self.root / name)!r}?"
            )
            return
        for name, inside in nested.items():
            self.rows.problems.append(
                f"class {name} holds {', '.join(inside)}: splits go above the classes, as {inside[0]}/{name}/"
            )
        if len(folders) == 1 and self.training:
            inner = self.subfolders(folders[0])
            hint = f"; it holds {some(inner, 5)}: is it the root?" if inner else "; there must be two or more"
            self.rows.problems.append(f"{folders[0]} is the only class{hint}")
        for label in folders:
            self.add_class(label, label, "")

    def subfolders(self, below: str) -> list[str]:
        return [name for name, kind in tree.entries(self.root / below) if kind == "folder"]

    def _loose(self, below: str) -> int:
        """Pictures directly in a folder that should hold folders; other files there are counted."""
        number = 0
        for name, kind in tree.entries(self.root / below):
            if kind == "file" and self.wanted(str(self.root / below / name)):
                number += 1
            elif kind == "file":
                self.others[tree.ending(name)] += 1
        return number

    def _note_loose(self, number: int, below: str) -> None:
        pictures = counted(number, "picture")
        self.rows.notes.append(f"{pictures} directly in {self.root / below}, outside every class, not read")


def _what_is_there(folder: Path) -> str:
    names = [name for name, _ in tree.entries(folder)]
    return f" (it holds {some(names, 5)})" if names else " (it is empty)"
