"""Any data set of TensorFlow Datasets, read without TensorFlow.

`as_data_source` reads ArrayRecord files by index. Pictures come out as the bytes they were stored as, and
are decoded by `tl_jax.data.decode` like any file. Labels, groups and further facts are read once in the
beginning, which passes over every record; the pictures are not decoded then.

Splits map by name: train; validation, valid, val or dev; test. Others are mentioned and not read.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from tl_jax import cache_folder
from tl_jax.data.sources import texts, tree
from tl_jax.data.sources.errors import SourceError, counted, listed, nearest, some
from tl_jax.data.sources.groups import below_class
from tl_jax.data.sources.quiet import quiet
from tl_jax.data.sources.records import Records
from tl_jax.data.sources.rows import Rows, table
from tl_jax.data.sources.splits import FOLDER_NAMES, SPLIT_NAMES
from tl_jax.data.table import Table

BUILDERS = {"chest_phantom": "tl_jax.data.chest_phantom:ChestPhantom"}
"""Data sets that tl_jax brings itself: name → the class that makes them, known to TFDS once imported."""


def read(config: Any, *, training: bool = True) -> Table:
    """The table of the data set ``config.name``, such as ``"mnist"`` or ``"name/config:1.0.0"``.

    It lies in ``config.root``; where that is empty in $TFDS_DATA_DIR, else in ~/tensorflow_datasets, own data
    sets in the user's cache. If it is not there it is prepared, which may mean a download. Features are named
    by ``config.features``, of which ``text`` makes it one of texts; an id is the feature ``features.id``,
    else ``split/number``. Further scalar features become columns. Uses also ``group`` (on ids), ``classes``,
    ``fold`` and ``max_pixels``.

    Raises:
      SourceError: an unknown data set or feature, one that cannot be prepared or is not in ArrayRecord
        format, rows without a label; lists everything.
    """
    with quiet():
        builder = _prepared(config)
        reading = _Reading(config, builder)
        return reading.table(training)


class _Reading:
    """One pass over the records of a builder."""

    def __init__(self, config: Any, builder: Any) -> None:
        import tensorflow_datasets as tfds

        self.config, self.builder = config, builder
        self.names = {key: name for key, name in config.features.to_dict().items() if name}
        self.words: list[str] | None = [] if "text" in self.names else None
        if self.words is not None:
            self.names.pop("image", None)
        self.features = builder.info.features
        self._check_features()
        image = self.features[self.names["image"]] if "image" in self.names else None
        encoded = isinstance(image, tfds.features.Image) and image.np_dtype != np.float32
        self.decoders = {self.names["image"]: tfds.decode.SkipDecoding()} if encoded else None
        taken = set(self.names.values())
        taken -= {self.names.get("text", "")}  # which goes along as a fact, too
        facts = [name for name in self.features if name not in taken and _is_scalar(self.features[name])]
        self.rows = Rows(groups=[] if "group" in self.names else None, columns={name: [] for name in facts})
        self.rows.caveat = getattr(builder, "CAVEAT", "")
        self.places: list[tuple[str, int]] = []
        self.unlabelled: list[str] = []

    def _check_features(self) -> None:
        known = list(self.features)
        found = [
            f"data.features.{key}={name!r} is no feature; there are {some(known, 20)}{nearest(name, known)}"
            for key, name in self.names.items()
            if name not in known
        ]
        found += [f"data.features.{key} is empty" for key in self._needed() if key not in self.names]
        found += [
            f"data.features.{key}={name!r} holds {self.features[name]}, not one value"
            for key, name in self.names.items()
            if key != "image" and name in known and not _is_scalar(self.features[name])
        ]
        if "group" in self.names and self.config.group:
            found.append("both data.features.group and data.group name groups; keep one")
        if found:
            raise listed(f"data.name={self.config.name!r} cannot be used:", found)

    def _needed(self) -> tuple[str, str]:
        return ("image" if self.words is None else "text", "label")

    def table(self, training: bool) -> Table:
        sources = {}
        for split in self._splits():
            source = _source(self.builder, split, self.decoders)
            if self._add(split, source):
                sources[split] = source
        rows, ids = self.rows, self.rows.ids
        if self.unlabelled:
            rows.problems.append(
                f"{counted(len(self.unlabelled), 'picture')} without a label: {some(self.unlabelled)}"
            )
        if len(set(ids)) < len(ids):
            twice = [name for name, times in Counter(ids).items() if times > 1]
            rows.problems.append(f"data.features.id={self.names['id']!r} is not unique: {some(twice)}")
        rows.check(self.config, f"data.name={self.config.name!r} cannot be used:", training=training)
        rows.find_groups(self.config.group)
        if self.words is not None:
            return texts.of(rows, self.words)
        places, image = tuple(self.places), self.names["image"]
        records = Records(sources, places, tuple(ids), image, int(self.config.max_pixels), self._version())
        return table(rows, records)

    def _add(self, split: str, source: Any) -> bool:
        """Adds a split's rows, unless none of them has a label, as in the test split of a competition."""
        names, rows, unlabelled = self.names, self.rows, []
        start = len(rows.ids)
        for i in range(len(source)):
            record = source[i]
            name = self._text("id", record) if "id" in names else f"{split}/{i}"
            label = self._text("label", record)
            if not label:
                unlabelled.append(name)
            rows.ids.append(name)
            rows.inner.append(below_class(name, label))
            rows.labels.append(label)
            rows.splits.append(SPLIT_NAMES[split.lower()])
            if rows.groups is not None:
                rows.groups.append(self._text("group", record) or name)
            for fact, column in rows.columns.items():
                column.append(_as_text(record[fact], self.features[fact]))
            self.places.append((split, i))
            if self.words is not None:
                self.words.append(self._text("text", record))
        if len(unlabelled) < len(source):
            self.unlabelled += unlabelled
            return True
        rows.notes.append(f"split {split} has no labels ({counted(len(source), 'picture')}): not read")
        lists = [rows.ids, rows.inner, rows.labels, rows.splits, self.places, *rows.columns.values()]
        for column in (*lists, self.words or []):
            del column[start:]
        if rows.groups is not None:
            del rows.groups[start:]
        return False

    def _splits(self) -> list[str]:
        """Their names of the splits that are read."""
        theirs = list(self.builder.info.splits)
        known = [name for name in theirs if name.lower() in SPLIT_NAMES]
        passed = [name for name in theirs if name not in known]
        if not known:
            name = self.config.name
            raise SourceError(f"data.name={name!r} has no split of a known name, only {some(theirs)}")
        if passed:
            self.rows.notes.append(f"splits not read: {some(passed)}")
        return known

    def _text(self, key: str, record: Any) -> str:
        name = self.names[key]
        return _as_text(record[name], self.features[name])

    def _version(self) -> str:
        """Changes when the data set is prepared anew."""
        info = self.builder.info
        made = os.stat(os.path.join(str(self.builder.data_dir), "dataset_info.json")).st_mtime_ns
        return f"{info.full_name}@{made}"


def _is_scalar(feature: Any) -> bool:
    return getattr(feature, "shape", None) == ()


def _as_text(value: Any, feature: Any) -> str:
    """A scalar feature's value in words; of a ClassLabel its name, "" for −1, which means none."""
    if getattr(feature, "num_classes", None):
        return feature.int2str(int(value)) if int(value) >= 0 else ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value.item() if isinstance(value, np.ndarray | np.generic) else value)


def _source(builder: Any, split: str, decoders: Any) -> Any:
    try:
        return builder.as_data_source(split=split, decoders=decoders)
    except (NotImplementedError, ValueError) as error:
        raise SourceError(
            f"{builder.info.full_name} in {builder.data_dir} is not in ArrayRecord format, the only one that "
            "can be read without TensorFlow. Set data.root to another folder, where it will be prepared so."
        ) from error


def _prepared(config: Any) -> Any:
    """The builder, its data on disk."""
    import tensorflow_datasets as tfds

    if not config.name:
        raise SourceError("data.name is empty: set it to the name of a TFDS data set, --config.data.name=…")
    bare = config.name.partition("/")[0].partition(":")[0]
    own = bare in BUILDERS
    if own:
        module, _, name = BUILDERS[bare].partition(":")
        getattr(importlib.import_module(module), name)
    folder = _folder(config.root, own)
    try:
        builder = tfds.builder(config.name, data_dir=folder)
    except tfds.core.DatasetNotFoundError as error:
        known = [*BUILDERS, *tfds.list_builders(with_community_datasets=False)]
        where = f" in {folder}" if folder else ""
        raise SourceError(
            f"data.name={config.name!r} is no TFDS data set that is known or prepared{where}"
            f"{nearest(bare, known)}"
        ) from error
    except Exception as error:  # an unknown version or configuration, a damaged folder: TFDS says which
        raise SourceError(f"data.name={config.name!r}: {_first_line(error)}") from error
    if builder.is_prepared():
        return builder
    _refuse_pictures(config)
    what = "is being simulated" if own else "is being prepared, which may download it"
    print(f"{config.name} {what}, once, into {builder.data_dir}", file=sys.stderr, flush=True)
    if own or not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            builder.download_and_prepare(file_format="array_record")
    except Exception as error:
        raise SourceError(
            f"data.name={config.name!r} cannot be prepared in {builder.data_dir}: {_first_line(error)}"
        ) from error
    return builder


def _refuse_pictures(config: Any) -> None:
    """Raises SourceError where data are about to be prepared beside somebody's own pictures, which the config
    was meant to read."""
    root = Path(config.root).expanduser()
    if not config.root or not root.is_dir():
        return
    inside = tree.entries(root)
    folders = [name for name, kind in inside if kind == "folder"]
    within = [*inside, *(one for name in folders for one in tree.entries(root / name))]
    if any(name.lower() in FOLDER_NAMES for name in folders) or any(tree.is_picture(n) for n, _ in within):
        raise SourceError(
            f"data.root={str(config.root)!r} holds pictures, and the config reads the TFDS data set "
            f"{config.name!r}, which is not there: to read the pictures set data.source='folder'; to prepare "
            "the data set give data.root a folder of its own"
        )


def _folder(root: str, own: bool) -> str | None:
    """Where data sets are looked for and put; None leaves it to TFDS."""
    if root:
        return str(Path(root).expanduser())
    if os.environ.get("TFDS_DATA_DIR") or not own:
        return os.environ.get("TFDS_DATA_DIR")
    return str(cache_folder.locate("auto", "tfds"))


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
