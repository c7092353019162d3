"""From a config to three splits of pictures, with everything said that a careful reader would ask."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tl_jax.data import checks, duplicates, sources, splits, store
from tl_jax.data.decoder import Pictures
from tl_jax.data.examples import Rows, Split
from tl_jax.data.shift import Shift
from tl_jax.data.sources.errors import SourceError, counted, nearest, some
from tl_jax.data.table import SPLITS, Table


@dataclass(frozen=True)
class Data:
    """``train.images`` are on the canvas, ``val`` and ``test`` ones as the network sees them.

    ``channels``: what the pictures have, 1 or 3; ``at_least``: the side in pixels that decoding kept.
    ``notes``: lines to print; ``caveat``: of the table, and what is shifted. ``fingerprint``: digest of every
    picture, label and split.
    """

    train: Split
    val: Split
    test: Split
    classes: tuple[str, ...]
    channels: int
    at_least: int
    notes: tuple[str, ...]
    caveat: str
    fingerprint: str

    def counts(self) -> dict[str, Any]:
        """Split → ``groups``, their number, and ``classes``, pictures by class."""
        k, splits = len(self.classes), (self.train, self.val, self.test)
        return {
            name: {
                "groups": len(np.unique(split.groups)),
                "classes": dict(
                    zip(self.classes, np.bincount(split.labels, minlength=k).tolist(), strict=True)
                ),
            }
            for name, split in zip(SPLITS, splits, strict=True)
        }


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
    shift = Shift.of(config.shift)
    table, notes = _rows(config)
    classes = tuple(config.classes) or tuple(sorted(set(table.labels.tolist())))
    shifted = shift.lines(classes)
    notes += shifted
    where, told = splits.assign(table.groups, table.labels, table.splits, config)
    checks.check_labels(table.labels, where, classes)
    canvas = (config.canvas or -(-image_size * 8 // 7)) if augmented else image_size
    if canvas < image_size:
        raise SourceError(f"data.canvas={canvas} is below the {image_size} pixels that the network sees")
    if canvas > 1.5 * image_size:
        notes.append(
            f"data.canvas={canvas} is far above the {image_size} pixels that the network sees: "
            "training pictures are sampled without antialiasing and look sharper than those measured"
        )
    sizes = sorted({image_size, canvas})
    at_least = max(2 * image_size, canvas)
    pictures = _decode(table, sizes, config, resample, gray=channels == 1, at_least=at_least, say=say)
    array_of = dict(zip(sizes, pictures.arrays, strict=True))

    twins = duplicates.find(pictures.digests, pictures.bad)
    problems = checks.unusable(table, pictures.bad, config.on_bad_image)
    given = not config.fold and bool((table.splits != "").all())
    if given and config.on_group_overlap == "error":
        problems += duplicates.problems(table, splits.effective(table.splits, config), twins)
    if problems:
        raise SourceError("\n".join(problems))
    notes += checks.skipped(pictures.bad)
    if twins:
        # A picture in two splits is a leak like a patient in two splits, so it is treated alike.
        table = replace(table, groups=splits.merge_groups(table.groups, twins))
        where, told = splits.assign(table.groups, table.labels, table.splits, config)
        told = [*told, *duplicates.notes(table, twins)]
    notes += told
    where[list(pictures.bad)] = ""
    if config.train_fraction < 1:
        train = np.flatnonzero(where == "train")
        seed = config.split_seed if config.train_seed < 0 else config.train_seed
        kept = splits.few(table.groups[train], table.labels[train], config.train_fraction, seed)
        where[train[~kept]] = ""
        notes.append(
            f"data.train_fraction={config.train_fraction:g} keeps {counted(int(kept.sum()), 'picture')} "
            f"of {len(train):,} for training"
        )
    checks.check_labels(table.labels, where, classes, pictures.bad)
    # Splits are cut by what pictures show, so that no patient moves with the labels.
    table = replace(table, labels=shift.renamed(table.labels, classes))
    notes.append(splits.check(table.groups, where, grouped=table.grouped))
    notes += checks.counts(table.labels, where, classes)
    notes += checks.unmeasured(table.labels, where, classes)

    side = {"train": canvas, "val": image_size, "test": image_size}
    parts = {name: (array_of[side[name]], np.flatnonzero(where == name)) for name in SPLITS}
    images = _take_images(parts, config.host_budget)
    facts = (side, config.fit, resample, pictures.channels, classes, *shift.facts)
    return Data(
        **{name: _split(table, rows, images[name], classes) for name, (_, rows) in parts.items()},
        classes=classes,
        channels=pictures.channels,
        at_least=at_least,
        notes=tuple(notes),
        caveat="; ".join(filter(None, (table.caveat, *shifted))),
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
    shift = Shift.of(config.shift)
    table, notes = _rows(config, training=False)
    notes += shift.lines(classes)
    unseen = sorted(set(table.labels.tolist()) - set(classes))
    if unseen:
        raise SourceError(
            f"labels {some(unseen)} are not among the classes this run knows: {some(list(classes))}"
            f"{nearest(unseen[0], classes)}; data.classes limits what is read"
        )
    pictures = _decode(table, [image_size], config, resample, gray=channels == 1, at_least=at_least, say=say)
    if problems := checks.unusable(table, pictures.bad, config.on_bad_image):
        raise SourceError("\n".join(problems))
    table = replace(table, labels=shift.renamed(table.labels, classes))
    notes += checks.skipped(pictures.bad)
    if twins := duplicates.find(pictures.digests, pictures.bad):
        table = replace(table, groups=splits.merge_groups(table.groups, twins))
        notes += duplicates.notes(table, twins)
    rows = np.setdiff1d(np.arange(len(table)), list(pictures.bad))
    images = _take_images({"all": (pictures.arrays[0], rows)}, config.host_budget)["all"]
    return _split(table, rows, images, classes), tuple(notes)


def _rows(config: Any, *, training: bool = True) -> tuple[Table, list[str]]:
    """The source's table limited to the classes asked for, and its notes."""
    table = sources.read(config, training=training)
    checks.check_table(table)
    notes = [line for line in (table.caveat, *table.notes) if line]
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
) -> Pictures:
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
        shift=Shift.of(config.shift),
        say=say,
    )


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
