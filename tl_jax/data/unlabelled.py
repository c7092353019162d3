"""Examples nobody has labelled yet, read exactly as those that were trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from tl_jax.data import store
from tl_jax.data.examples import Split
from tl_jax.data.reading import Reader
from tl_jax.data.sources import texts, tree
from tl_jax.data.sources.dicom import is_dicom
from tl_jax.data.sources.errors import SourceError, listed
from tl_jax.data.sources.files import SUFFIXES, Files
from tl_jax.data.table import Table


def load_unlabelled(
    source: str | Path,
    config: Any,
    *,
    image_size: int,
    channels: int,
    resample: str,
    at_least: int,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Split, tuple[str, ...], tuple[str, ...]]:
    """A picture, or every picture below a folder: (split, what is wrong with the bad ones, notes).

    ``config`` is that of the data the network was trained on (``fit``, ``window``, ``max_pixels``,
    ``workers``, ``host_budget``); the rest as in `load_labelled`. An id is the path below the folder, with
    forward slashes, or a single file's name; labels are -1, and every picture is a group of its own. DICOM
    is known by its ending or its first bytes. Raises SourceError where there is no picture at all.
    """
    root = Path(source).expanduser()
    names, paths, notes = _files(root)
    medical = [is_dicom(path) for path in paths]
    how = (tuple(paths), tuple(names), int(config.max_pixels), tuple(config.window))
    as_dicom, as_picture = Files(*how, dicom=True), Files(*how)
    ids = np.array(names, dtype=str)
    table = Table(
        ids=ids,
        labels=np.full(len(ids), "", dtype="U1"),
        groups=ids,
        splits=np.full(len(ids), "", dtype="U5"),
        read=lambda i, small: (as_dicom if medical[i] else as_picture).read(i, small),
        stamp=as_picture.stamp,
    )
    pictures = store.load(
        table,
        [image_size],
        fit=config.fit,
        resample=resample,
        gray=channels == 1,
        workers=config.workers,
        cache="",
        host_budget=config.host_budget,
        max_pixels=config.max_pixels,
        at_least=at_least,
        say=say,
    )
    good = np.setdiff1d(np.arange(len(ids)), list(pictures.bad))
    images = pictures.arrays[0]
    split = Split(
        ids=ids[good],
        labels=np.full(len(good), -1, np.int32),
        groups=ids[good],
        images=images if len(good) == len(ids) else images[good],
    )
    return split, tuple(pictures.bad.values()), notes


def load_texts(
    source: str | Path, config: Any, reader: Reader, *, say: Callable[[str], None] = lambda line: None
) -> tuple[Split, tuple[str, ...], tuple[str, ...]]:
    """The texts of a file, see `texts.unlabelled`: (split, what is wrong with the bad ones, notes). Labels
    are -1, and every text is a group of its own. Raises SourceError where there is none at all."""
    path = Path(source).expanduser()
    if not path.is_file():
        raise SourceError(f"{source} is no file: give one with a text a line, or a CSV file")
    table = texts.unlabelled(path, config.columns.text or config.features.text)
    found = reader.read(table, config, say)
    good = np.setdiff1d(np.arange(len(table)), list(found.bad))
    lengths = None if found.lengths is None else found.lengths[good]
    labels, images = np.full(len(good), -1, np.int32), found.arrays["test"][good]
    if found.labels is not None:
        labels = found.labels[good]
    ids = table.ids[good]
    split = Split(ids, labels, ids, images, lengths=lengths, widths=found.widths)
    return split, tuple(found.bad.values()), found.notes


def _files(root: Path) -> tuple[list[str], list[str], tuple[str, ...]]:
    """(names, paths, notes) of what is to be read."""
    if root.is_file():
        return [root.name], [str(root)], ()
    folder = tree.folder(str(root), "input")
    found = tree.walk(folder, wanted=_is_wanted)
    if found.problems:
        raise listed(f"{root} cannot be read:", found.problems)
    if not found.pictures:
        endings = " ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        raise SourceError(f"{root} holds no picture ({endings})")
    paths = [str(folder / name) for name in found.pictures]
    return found.pictures, paths, tuple(tree.others_note(found.others, folder))


def _is_wanted(path: str) -> bool:
    return PurePath(path).name.upper() != "DICOMDIR" and (tree.is_picture(path) or is_dicom(path))
