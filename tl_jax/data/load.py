"""From a config to three splits of pictures, with everything said that a careful reader would ask."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tl_jax.data import sources, splits, store
from tl_jax.data.sources.errors import SourceError, counted, listed, nearest, some
from tl_jax.data.table import SPLITS, Table


@dataclass(frozen=True)
class Split:
    """Examples: ``ids`` and ``groups`` (n,) str, ``labels`` (n,) int32, ``images`` (n, h, w, c) uint8
    (an array, or `Rows` of one on disk), ``columns`` of further facts (n,) by name."""

    ids: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    images: Any
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Rows:
    """Some rows of a memory-mapped array; indexing reads them."""

    array: np.ndarray
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.array.shape[1:])

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.asarray(self.array[self.rows[index]])


@dataclass(frozen=True)
class Data:
    """``train.images`` are on the canvas, ``val`` and ``test`` ones as the network sees them.

    ``channels``: what the pictures have, 1 or 3; ``at_least``: the side in pixels that decoding kept.
    ``notes``: lines to print. ``fingerprint``: digest of every picture, label and split.
    """

    train: Split
    val: Split
    test: Split
    classes: tuple[str, ...]
    channels: int
    at_least: int
    notes: tuple[str, ...]
    fingerprint: str


def load(config: Any, *, image_size: int, channels: int, resample: str, augmented: bool) -> Data:
    """Reads, splits, decodes and checks a data set (``config``: `tl_jax.defaults.data`).

    ``image_size`` in pixels; ``channels``: 1 makes all pictures gray; ``augmented``: pixels will be
    moved, so training pictures are kept on a larger canvas. Raises SourceError, listing what is wrong.
    """
    table, notes = _rows(config)
    groups = table.groups
    where, told = splits.assign(groups, table.labels, table.splits, config)
    canvas = config.canvas or (-(-image_size * 8 // 7) if augmented else image_size)
    pictures = store.load(
        table,
        sorted({image_size, canvas}),
        fit=config.fit,
        resample=resample,
        gray=channels == 1,
        workers=config.workers,
        cache=config.cache,
        host_budget=config.host_budget,
        max_pixels=config.max_pixels,
        at_least=max(image_size, canvas),
    )
    array_of = dict(zip(sorted({image_size, canvas}), pictures.arrays, strict=True))
    notes += _bad(table, pictures.bad, config.on_bad_image)
    good = np.array([row not in pictures.bad for row in range(len(table))], bool)

    where = np.where(good, where, "")
    groups, where, more = _separate(table, groups, where, _twins(pictures.digests, good), config)
    where = np.where(good, where, "")
    notes += told + more
    if config.train_fraction < 1:
        train = np.flatnonzero(where == "train")
        kept = splits.few(groups[train], table.labels[train], config.train_fraction, config.split_seed)
        where[train[~kept]] = ""
        notes.append(f"data.train_fraction={config.train_fraction:g}: {counted(int(kept.sum()), 'picture')}")

    classes = tuple(config.classes) or tuple(sorted(set(table.labels.tolist())))
    _check_labels(table.labels, where, classes)
    notes.append(splits.check(groups, where, grouped=table.grouped))
    notes += _counts(table.labels, where, classes)

    def split(name: str) -> Split:
        rows = np.flatnonzero(where == name)
        array = array_of[canvas if name == "train" else image_size]
        images = Rows(array, rows) if isinstance(array, np.memmap) else array[rows]
        labels = np.array([classes.index(label) for label in table.labels[rows].tolist()], np.int32)
        columns = {key: column[rows] for key, column in table.columns.items()}
        return Split(table.ids[rows], labels, table.groups[rows], images, columns)

    return Data(
        train=split("train"),
        val=split("val"),
        test=split("test"),
        classes=classes,
        channels=pictures.channels,
        at_least=max(image_size, canvas),
        notes=tuple(notes),
        fingerprint=_fingerprint(table, where, pictures.digests, (image_size, canvas)),
    )


def load_labelled(
    config: Any, *, classes: Sequence[str], image_size: int, channels: int, resample: str, at_least: int
) -> tuple[Split, tuple[str, ...]]:
    """All of a labelled data set as one split, for measuring a finished run; and lines to print.

    Labels must be among ``classes``. Given splits are not looked at, except that ``config.fold`` has no
    meaning here. Raises SourceError.
    """
    table, notes = _rows(config, training=False)
    unseen = sorted(set(table.labels.tolist()) - set(classes))
    if unseen:
        raise SourceError(
            f"labels {some(unseen)} are not among the classes this run knows: {some(list(classes))}; "
            "data.classes limits what is read"
        )
    pictures = store.load(
        table,
        [image_size],
        fit=config.fit,
        resample=resample,
        gray=channels == 1,
        workers=config.workers,
        cache=config.cache,
        host_budget=config.host_budget,
        max_pixels=config.max_pixels,
        at_least=at_least,
    )
    notes += _bad(table, pictures.bad, config.on_bad_image)
    rows = np.array([row for row in range(len(table)) if row not in pictures.bad], int)
    labels = np.array([list(classes).index(label) for label in table.labels[rows].tolist()], np.int32)
    columns = {key: column[rows] for key, column in table.columns.items()}
    images = pictures.arrays[0][rows]
    return Split(table.ids[rows], labels, table.groups[rows], images, columns), tuple(notes)


def _rows(config: Any, *, training: bool = True) -> tuple[Table, list[str]]:
    """The source's table limited to the classes asked for, and its notes."""
    table = sources.read(config, training=training)
    notes = list(getattr(table, "notes", ()))
    if config.classes:
        have = set(table.labels.tolist())
        absent = [name for name in config.classes if name not in have]
        if absent:
            raise SourceError(
                f"data.classes names {some(absent)}, which no picture has; there are "
                f"{some(sorted(have))}{nearest(absent[0], have)}"
            )
        rows = np.flatnonzero(np.isin(table.labels, list(config.classes)))
        if len(rows) < len(table):
            notes.append(f"data.classes leaves out {counted(len(table) - len(rows), 'picture')}")
            table = _take(table, rows)
    if not len(table):
        raise SourceError("the data set holds no picture")
    return table, notes


def _take(table: Table, rows: np.ndarray) -> Table:
    return replace(
        table,
        ids=table.ids[rows],
        labels=table.labels[rows],
        groups=table.groups[rows],
        splits=table.splits[rows],
        columns={key: column[rows] for key, column in table.columns.items()},
        read=lambda i, at_least: table.read(int(rows[i]), at_least),
        stamp=lambda i: table.stamp(int(rows[i])),
    )


def _bad(table: Table, bad: Mapping[int, str], policy: str) -> list[str]:
    if not bad:
        return []
    if policy == "error":
        shown = [*list(bad.values())[:20], *([f"and {len(bad) - 20:,} more"] if len(bad) > 20 else [])]
        raise listed(
            f"{counted(len(bad), 'picture')} cannot be used:",
            shown,
            "Mend or remove them, or leave them out with --config.data.on_bad_image=skip.",
        )
    if len(bad) == len(table):
        raise SourceError(f"not one picture can be used; the first: {next(iter(bad.values()))}")
    return [
        f"skipped {counted(len(bad), 'picture')} that cannot be used:",
        *(f"  {why}" for why in bad.values()),
    ]


def _twins(digests: np.ndarray, good: np.ndarray) -> list[list[int]]:
    """Rows that hold the same picture, together."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row in np.flatnonzero(good):
        rows[str(digests[row])].append(int(row))
    return [same for same in rows.values() if len(same) > 1]


def _separate(
    table: Table, groups: np.ndarray, where: np.ndarray, twins: Sequence[list[int]], config: Any
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Takes pictures out of two splits at once: a leak like a patient in two splits, and treated alike.

    Splits of our own making are simply cut again with such pictures together.
    """
    used = [[row for row in same if where[row]] for same in twins]
    crossing = [same for same in used if len(set(where[same].tolist())) > 1]
    if not crossing:
        return groups, where, []
    told = [" = ".join(f"{table.ids[row]} ({where[row]})" for row in same) for same in crossing]
    given = not config.fold and not (table.splits == "").any()
    if given and config.on_group_overlap == "error":
        raise listed(
            f"{counted(len(told), 'picture')} in more than one of the given splits:",
            [*told[:20], *([f"and {len(told) - 20:,} more"] if len(told) > 20 else [])],
            f"Results on such splits are too good. {splits.CHOICES}.",
        )
    if given and config.on_group_overlap == "drop_from_train":
        where = where.copy()
        for same in crossing:
            keep = max(where[same].tolist(), key=SPLITS.index)
            where[[row for row in same if where[row] != keep]] = ""
        return groups, where, [f"pictures in two splits, kept in the later one only: {some(told)}"]
    groups = splits.merge_groups(groups, twins)
    blank = np.full(len(table), "") if given else table.splits
    where, more = splits.assign(groups, table.labels, blank, config)
    return groups, where, [f"pictures that are there twice are kept in one split: {some(told)}", *more]


def _check_labels(labels: np.ndarray, where: np.ndarray, classes: Sequence[str]) -> None:
    problems = []
    for name in SPLITS:
        here = Counter(labels[where == name].tolist())
        if not here:
            problems.append(f"{name} has no picture; give it some, or another data.fractions")
        elif name == "train":
            problems += [f"class {label!r} has no picture in train" for label in classes if not here[label]]
    if len(classes) < 2:
        problems.append(f"there is one class only ({some(list(classes))}); nothing can be told apart")
    if problems:
        raise listed("the splits cannot be used:", problems)


def _counts(labels: np.ndarray, where: np.ndarray, classes: Sequence[str]) -> list[str]:
    """The table of counts by class and split."""
    rows = [["", *SPLITS]]
    for label in classes:
        rows.append([label, *(str(int(((labels == label) & (where == name)).sum())) for name in SPLITS)])
    rows.append(["all", *(str(int((where == name).sum())) for name in SPLITS)])
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return [
        "  "
        + row[0].ljust(widths[0])
        + "".join(f"  {cell.rjust(width)}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]


def _fingerprint(table: Table, where: np.ndarray, digests: np.ndarray, sizes: Sequence[int]) -> str:
    digest = hashlib.sha256(repr(tuple(sizes)).encode())
    for row in np.argsort(table.ids, kind="stable"):
        facts = (table.ids[row], table.labels[row], table.groups[row], where[row], digests[row])
        digest.update("\0".join(map(str, facts)).encode() + b"\n")
    return digest.hexdigest()
