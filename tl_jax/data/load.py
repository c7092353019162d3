"""From a config to three splits of pictures, with everything said that a careful reader would ask."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tl_jax.data import duplicates, sources, splits, store
from tl_jax.data.examples import Rows, Split
from tl_jax.data.sources.errors import SourceError, counted, listed, nearest, some
from tl_jax.data.table import SPLITS, Table

_SHOWN = 20  # of a list in an error
_LINES = 30  # classes whose counts are printed one by one


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


def load(
    config: Any,
    *,
    image_size: int,
    channels: int,
    resample: str,
    augmented: bool,
    say: Callable[[str], None] = lambda line: None,
) -> Data:
    """Reads, splits, decodes and checks a data set (``config``: `tl_jax.defaults.data`).

    ``image_size`` in pixels; ``channels``: 1 makes all pictures gray; ``augmented``: pixels will be
    moved, so training pictures are kept on a larger canvas; ``say`` gets a line every few seconds
    while pictures are decoded. Raises SourceError, listing what is wrong: first whatever can be known
    without decoding, then what is wrong with the pictures.
    """
    table, notes = _rows(config)
    classes = tuple(config.classes) or tuple(sorted(set(table.labels.tolist())))
    where, told = splits.assign(table.groups, table.labels, table.splits, config)
    _check_labels(table.labels, where, classes)
    canvas = config.canvas or (-(-image_size * 8 // 7) if augmented else image_size)
    sizes = sorted({image_size, canvas})
    at_least = 2 * max(sizes)
    pictures = _decode(table, sizes, config, resample, gray=channels == 1, at_least=at_least, say=say)
    array_of = dict(zip(sizes, pictures.arrays, strict=True))

    twins = duplicates.find(pictures.digests, pictures.bad)
    problems = _unusable(table, pictures.bad, config.on_bad_image)
    given = not config.fold and bool((table.splits != "").all())
    if given and config.on_group_overlap == "error":
        problems += duplicates.problems(table, splits.effective(table.splits, config), twins)
    if problems:
        raise SourceError("\n".join(problems))
    notes += _skipped(pictures.bad)
    groups = table.groups
    if twins:
        # A picture in two splits is a leak like a patient in two splits, so it is treated alike.
        groups = splits.merge_groups(groups, twins)
        where, told = splits.assign(groups, table.labels, table.splits, config)
        told = [*told, *duplicates.notes(table, twins)]
    notes += told
    where[list(pictures.bad)] = ""
    if config.train_fraction < 1:
        train = np.flatnonzero(where == "train")
        kept = splits.few(groups[train], table.labels[train], config.train_fraction, config.split_seed)
        where[train[~kept]] = ""
        notes.append(
            f"data.train_fraction={config.train_fraction:g} keeps {counted(int(kept.sum()), 'picture')} "
            f"of {len(train):,} for training"
        )
    _check_labels(table.labels, where, classes)
    notes.append(splits.check(groups, where, grouped=table.grouped))
    notes += _counts(table.labels, where, classes)

    side = {"train": canvas, "val": image_size, "test": image_size}
    parts = {name: (array_of[side[name]], np.flatnonzero(where == name)) for name in SPLITS}
    images = _take_images(parts, config.host_budget)
    facts = (side, config.fit, resample, pictures.channels, classes)
    return Data(
        **{name: _split(table, rows, images[name], classes) for name, (_, rows) in parts.items()},
        classes=classes,
        channels=pictures.channels,
        at_least=at_least,
        notes=tuple(notes),
        fingerprint=_fingerprint(table, where, pictures.digests, facts),
    )


def load_labelled(
    config: Any,
    *,
    classes: Sequence[str],
    image_size: int,
    channels: int,
    resample: str,
    at_least: int,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Split, tuple[str, ...]]:
    """All of a labelled data set as one split, for measuring a finished run; and lines to print.

    Labels must be among ``classes``. Neither splits nor ``config.fold`` are looked at. Raises SourceError.
    """
    table, notes = _rows(config, training=False)
    unseen = sorted(set(table.labels.tolist()) - set(classes))
    if unseen:
        raise SourceError(
            f"labels {some(unseen)} are not among the classes this run knows: {some(list(classes))}"
            f"{nearest(unseen[0], classes)}; data.classes limits what is read"
        )
    pictures = _decode(table, [image_size], config, resample, gray=channels == 1, at_least=at_least, say=say)
    if problems := _unusable(table, pictures.bad, config.on_bad_image):
        raise SourceError("\n".join(problems))
    notes += _skipped(pictures.bad)
    rows = np.setdiff1d(np.arange(len(table)), list(pictures.bad))
    images = _take_images({"all": (pictures.arrays[0], rows)}, config.host_budget)["all"]
    return _split(table, rows, images, classes), tuple(notes)


def _rows(config: Any, *, training: bool = True) -> tuple[Table, list[str]]:
    """The source's table limited to the classes asked for, and its notes."""
    table = sources.read(config, training=training)
    _check_table(table)
    notes = list(table.notes)
    if config.classes:
        have = set(table.labels.tolist())
        absent = [name for name in config.classes if name not in have]
        if absent:
            raise SourceError(
                f"data.classes names {some(absent)}, which no picture has; there are "
                f"{some(sorted(have))}{nearest(absent[0], have)}"
            )
        if len(set(config.classes)) < len(config.classes):
            raise SourceError(f"data.classes names a class twice: {some(list(config.classes))}")
        rows = np.flatnonzero(np.isin(table.labels, list(config.classes)))
        if len(rows) < len(table):
            notes.append(f"data.classes leaves out {counted(len(table) - len(rows), 'picture')}")
            table = _take(table, rows)
    return table, notes


def _check_table(table: Table) -> None:
    """Raises SourceError for what is wrong with the form of a table: a user may have written its source."""
    n, problems = len(table), []
    columns = {name: getattr(table, name) for name in ("ids", "labels", "groups", "splits")}
    for name, column in (columns | dict(table.columns)).items():
        if not isinstance(column, np.ndarray) or column.shape != (n,):
            problems.append(f"{name} is not an array of {n} entries, as ids are")
        elif name in columns and column.dtype.kind != "U":
            problems.append(f"{name} holds {column.dtype}, not str: use np.array(…, dtype=str)")
    if not problems:
        twice = [name for name, number in Counter(table.ids.tolist()).items() if number > 1]
        if twice:
            problems.append(f"ids are not unique: {some(twice)}")
        strange = sorted(set(table.splits.tolist()) - {*SPLITS, ""})
        if strange:
            problems.append(f"splits are called {some(strange)}; they may be {some(SPLITS)}, or empty")
    if not n:
        problems.append("it holds no picture")
    if problems:
        raise listed("the data set cannot be used:", problems)


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


def _decode(
    table: Table,
    sizes: Sequence[int],
    config: Any,
    resample: str,
    *,
    gray: bool,
    at_least: int,
    say: Callable[[str], None],
) -> store.Pictures:
    return store.load(
        table,
        sizes,
        fit=config.fit,
        resample=resample,
        gray=gray,
        workers=config.workers,
        cache=config.cache,
        host_budget=config.host_budget,
        max_pixels=config.max_pixels,
        at_least=at_least,
        say=say,
    )


def _unusable(table: Table, bad: Mapping[int, str], policy: str) -> list[str]:
    """What stops the run: bad pictures that may not be skipped, or nothing but bad ones."""
    if bad and policy == "error":
        shown = [*list(bad.values())[:_SHOWN], *([f"and {len(bad) - _SHOWN:,} more"] * (len(bad) > _SHOWN))]
        advice = "Mend or remove them, or leave them out with --config.data.on_bad_image=skip."
        return [str(listed(f"{counted(len(bad), 'picture')} cannot be used:", shown, advice))]
    if len(bad) == len(table):
        return [f"not one picture can be used; the first: {next(iter(bad.values()))}"]
    return []


def _skipped(bad: Mapping[int, str]) -> list[str]:
    if not bad:
        return []
    return [
        f"skipped {counted(len(bad), 'picture')} that cannot be used:",
        *(f"  {why}" for why in bad.values()),
    ]


def _check_labels(labels: np.ndarray, where: np.ndarray, classes: Sequence[str]) -> None:
    problems = []
    for name in SPLITS:
        here = Counter(labels[where == name].tolist())
        if not here:
            problems.append(f"{name} has no picture; give it some, or another data.fractions")
        elif name == "train":
            absent = [label for label in classes if not here[label]]
            problems += [f"class {label!r} has no picture in train" for label in absent[:_SHOWN]]
            if len(absent) > _SHOWN:
                problems.append(f"nor have {len(absent) - _SHOWN:,} more classes")
    if len(classes) < 2:
        problems.append(f"there is one class only ({some(list(classes))}); nothing can be told apart")
    if problems:
        raise listed("the splits cannot be used:", problems)


def _counts(labels: np.ndarray, where: np.ndarray, classes: Sequence[str]) -> list[str]:
    """The table of counts by class and split; of many classes, the smallest and the largest count."""
    counts = {name: Counter(labels[where == name].tolist()) for name in SPLITS}
    body = [[label, *(str(counts[name][label]) for name in SPLITS)] for label in classes]
    if len(classes) > _LINES:
        by_split = [[counts[name][label] for label in classes] for name in SPLITS]
        body = [[f"each of {len(classes):,} classes", *(f"{min(c)}…{max(c)}" for c in by_split)]]
    rows = [["", *SPLITS], *body, ["all", *(str(counts[name].total()) for name in SPLITS)]]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return [
        "  "
        + row[0].ljust(widths[0])
        + "".join(f"  {cell.rjust(width)}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]


def _take_images(
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]], host_budget: int
) -> dict[str, np.ndarray | Rows]:
    """The rows of each array: in memory if all of them together fit, else where they are."""
    views = {name: Rows(array, rows) for name, (array, rows) in parts.items()}
    if sum(view.nbytes for view in views.values()) > host_budget:
        return dict(views)
    return {name: view[:] for name, view in views.items()}


def _split(table: Table, rows: np.ndarray, images: np.ndarray | Rows, classes: Sequence[str]) -> Split:
    number = {label: i for i, label in enumerate(classes)}
    labels = np.array([number[label] for label in table.labels[rows].tolist()], np.int32)
    columns = {key: column[rows] for key, column in table.columns.items()}
    return Split(table.ids[rows], labels, table.groups[rows], images, columns)


def _fingerprint(table: Table, where: np.ndarray, digests: np.ndarray, facts: object) -> str:
    """Whatever the order of the rows."""
    digest = hashlib.sha256(repr(facts).encode())
    for row in np.argsort(table.ids, kind="stable"):
        cells = (table.ids[row], table.labels[row], table.groups[row], where[row], digests[row])
        digest.update("\0".join(map(str, cells)).encode() + b"\n")
    return digest.hexdigest()
