"""From a config to three splits of examples, with everything said that a careful reader would ask."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tl_jax.data import checks, duplicates, sources, splits
from tl_jax.data.examples import Rows, Split
from tl_jax.data.labels import CLASSES, Labels
from tl_jax.data.misfit import misfit
from tl_jax.data.reading import PictureReader, Read, Reader, Say
from tl_jax.data.shift import Shift
from tl_jax.data.sources.errors import SourceError, counted, nearest, some
from tl_jax.data.table import SPLITS, Table


@dataclass(frozen=True)
class Data:
    """``train.images`` are on the canvas, ``val`` and ``test`` ones as the network sees them.

    ``classes``: names of classes, or of whatever else ``labels`` are. ``channels``: what the pictures have, 1
    or 3; ``at_least``: the side in pixels that decoding kept.
    ``notes``: lines to print; ``caveat``: of the table, and what is shifted. ``fingerprint``: digest of every
    picture, label and split. ``noun``: what an example is, "picture" or "text". ``strata`` (n,) str:
    what each example of ``train`` was split by, its class where it has one.
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
    noun: str = "picture"
    labels: Labels = CLASSES
    strata: np.ndarray = field(default_factory=lambda: np.zeros(0, str))

    def counts(self) -> dict[str, Any]:
        """Split → ``groups``, their number, and `Labels.summary`: ``classes``, pictures by class."""
        splits = (self.train, self.val, self.test)
        return {
            name: {"groups": len(np.unique(split.groups)), **self.labels.summary(split.labels, self.classes)}
            for name, split in zip(SPLITS, splits, strict=True)
        }


def load(
    config: Any,
    *,
    image_size: int,
    channels: int,
    resample: str,
    augmented: bool,
    say: Say = lambda line: None,
) -> Data:
    """Reads, splits, decodes and checks a data set of pictures (``config``: `tl_jax.defaults.data`).

    ``image_size`` in pixels; ``channels``: 1 makes all pictures gray; ``augmented``: pixels will be
    moved, so training pictures are kept on a larger canvas; ``say`` gets a line every few seconds
    while pictures are decoded. Raises SourceError, listing what is wrong: first whatever can be known
    without decoding, then what is wrong with the pictures.
    """
    return load_by(PictureReader(image_size, channels, resample, augmented=augmented), config, say)


def load_by(reader: Reader, config: Any, say: Say = lambda line: None, labels: Labels = CLASSES) -> Data:
    """As `load`, whatever the examples are, which ``reader`` knows, and whatever their labels."""
    shift = Shift.of(config.shift)
    table, notes = _rows(config, reader.noun)
    table, classes, told = labels.read(table, config)
    notes += told
    noun = reader.noun
    shifted = shift.lines(classes)
    notes += shifted
    where, told = splits.assign(table.groups, table.labels, table.splits, config, noun=noun)
    labels.check(table, where, classes)
    notes += reader.check(config)
    found = reader.read(table, config, say)
    notes += found.notes

    twins = duplicates.find(found.digests, found.bad)
    problems = checks.unusable(table, found.bad, config.on_bad_image)
    given = not config.fold and bool((table.splits != "").all())
    if given and config.on_group_overlap == "error":
        problems += duplicates.problems(table, splits.effective(table.splits, config), twins)
    if problems:
        raise SourceError("\n".join(problems))
    notes += checks.skipped(found.bad, noun)
    if twins:
        # An example in two splits is a leak like a patient in two splits, so it is treated alike.
        table = replace(table, groups=splits.merge_groups(table.groups, twins))
        where, told = splits.assign(table.groups, table.labels, table.splits, config, noun=noun)
        told = [*told, *duplicates.notes(table, twins)]
    notes += told
    where[list(found.bad)] = ""
    if config.train_fraction < 1:
        train = np.flatnonzero(where == "train")
        seed = config.split_seed if config.train_seed < 0 else config.train_seed
        kept = splits.few(table.groups[train], table.labels[train], config.train_fraction, seed)
        where[train[~kept]] = ""
        notes.append(
            f"data.train_fraction={config.train_fraction:g} keeps {counted(int(kept.sum()), noun)} "
            f"of {len(train):,} for training"
        )
    labels.check(table, where, classes, found.bad)
    # Splits are cut by what examples show, so that no patient moves with the labels.
    table = replace(table, labels=shift.renamed(table.labels, classes))
    notes.append(splits.check(table.groups, where, grouped=table.grouped, noun=noun))
    notes += labels.counts(table, where, classes)

    parts = {name: (found.arrays[name], np.flatnonzero(where == name)) for name in SPLITS}
    images = _take_images(parts, config.host_budget)
    facts = (*found.facts, classes, *shift.facts)
    return Data(
        **{
            name: _split(table, found, rows, images[name], _learned(labels, table, found, rows, classes))
            for name, (_, rows) in parts.items()
        },
        classes=classes,
        channels=found.channels,
        at_least=found.at_least,
        notes=tuple(notes),
        caveat="; ".join(filter(None, (table.caveat, *shifted))),
        fingerprint=_fingerprint(table, where, found.digests, facts),
        noun=noun,
        labels=labels,
        strata=table.labels[where == "train"],
    )


def load_labelled(
    config: Any,
    *,
    classes: Sequence[str],
    image_size: int,
    channels: int,
    resample: str,
    at_least: int,
    say: Say = lambda line: None,
    labels: Labels = CLASSES,
) -> tuple[Split, tuple[str, ...]]:
    """All of a labelled data set of pictures as one split, for measuring a finished run; and lines to print.

    Labels must be among ``classes``. Neither splits nor ``config.fold`` are looked at. Raises SourceError.
    """
    reader = PictureReader(image_size, channels, resample, at_least=at_least)
    return load_labelled_by(reader, config, classes=classes, say=say, labels=labels)


def load_labelled_by(
    reader: Reader,
    config: Any,
    *,
    classes: Sequence[str],
    say: Say = lambda line: None,
    labels: Labels = CLASSES,
) -> tuple[Split, tuple[str, ...]]:
    """As `load_labelled`, whatever the examples are, which ``reader`` knows, and whatever their labels."""
    shift = Shift.of(config.shift)
    table, notes = _rows(config, reader.noun, training=False)
    table, names, told = labels.read(table, config)
    notes += [*told, *shift.lines(classes)]
    unseen = sorted(set(names) - set(classes))
    if unseen:
        raise SourceError(
            f"labels {some(unseen)} are not among the classes this run knows: {some(list(classes))}"
            f"{nearest(unseen[0], classes)}; data.classes limits what is read"
        )
    if table.targets is not None and names != tuple(classes):
        raise SourceError(
            f"the run has learned {some(list(classes))}, in this order, and data.columns.labels names "
            f"{some(list(names))}"
        )
    found = reader.read(table, config, say)
    if problems := checks.unusable(table, found.bad, config.on_bad_image):
        raise SourceError("\n".join(problems))
    table = replace(table, labels=shift.renamed(table.labels, classes))
    notes += [*found.notes, *checks.skipped(found.bad, reader.noun)]
    if twins := duplicates.find(found.digests, found.bad):
        table = replace(table, groups=splits.merge_groups(table.groups, twins))
        notes += duplicates.notes(table, twins)
    rows = np.setdiff1d(np.arange(len(table)), list(found.bad))
    images = _take_images({"all": (found.arrays["test"], rows)}, config.host_budget)["all"]
    return _split(table, found, rows, images, _learned(labels, table, found, rows, classes)), tuple(notes)


def _rows(config: Any, noun: str, *, training: bool = True) -> tuple[Table, list[str]]:
    """The source's table, and its notes."""
    if wrong := misfit(config, noun):
        raise SourceError(wrong)
    table = sources.read(config, training=training)
    if wrong := misfit(config, noun, table):
        raise SourceError(wrong)
    checks.check_table(table)
    notes = [line for line in (table.caveat, *table.notes) if line]
    return table, notes


def _take_images(
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]], host_budget: int
) -> dict[str, np.ndarray | Rows]:
    """The rows of each array: in memory if all of them together fit, else where they are."""
    views = {name: Rows(array, rows) for name, (array, rows) in parts.items()}
    if sum(view.nbytes for view in views.values()) > host_budget:
        return dict(views)
    return {name: view[:] for name, view in views.items()}


def _learned(labels: Labels, table: Table, found: Read, rows: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The labels of some rows, from wherever they are."""
    return labels.array(table, rows, names) if found.labels is None else found.labels[rows]


def _split(
    table: Table, found: Read, rows: np.ndarray, images: np.ndarray | Rows, labels: np.ndarray
) -> Split:
    columns = {f"data_{key}" if key in found.columns else key: table.columns[key] for key in table.columns}
    columns = {key: column[rows] for key, column in {**columns, **found.columns}.items()}
    lengths = None if found.lengths is None else found.lengths[rows]
    return Split(table.ids[rows], labels, table.groups[rows], images, columns, lengths, found.widths)


def _fingerprint(table: Table, where: np.ndarray, digests: np.ndarray, facts: object) -> str:
    """Whatever the order of the rows."""
    digest = hashlib.sha256(repr(facts).encode())
    for row in np.argsort(table.ids, kind="stable"):
        cells = [table.ids[row], table.labels[row], table.groups[row], where[row], digests[row]]
        cells += [] if table.targets is None else table.targets[row].tolist()
        digest.update("\0".join(map(str, cells)).encode() + b"\n")
    return digest.hexdigest()
