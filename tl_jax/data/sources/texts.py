"""Texts of a CSV file, or of a folder of them: one row a text, or a pair of them.

``data.columns.text`` names their column, and ``data.columns.target`` that of what is to be written after
them, such as a translation: then a row is a pair, and nothing is called a label. ``data.manifest`` is the
file, with a column for the split if splits are given, or a folder of files that are called after their
splits, such as train.csv, val.csv and test.csv. The column of texts and all that have no part here go along
as facts about the rows; those of pairs do when they are read (`tl_jax.data.pairs`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tl_jax.data.sources import targets
from tl_jax.data.sources.errors import SourceError, listed, nearest, some
from tl_jax.data.sources.manifest import decoded, parse
from tl_jax.data.sources.rows import Rows, table
from tl_jax.data.sources.splits import SPLIT_NAMES
from tl_jax.data.table import Table

PAIR = "pair"
"""What a row of two texts is, and what stands in the place of its label."""


class Words:
    """Reads text i, or the two texts of pair i."""

    def __init__(self, texts: Sequence[str | tuple[str, str]]) -> None:
        self.texts = tuple(texts)

    def read(self, i: int, at_least: tuple[int, int] | None = None) -> str | tuple[str, str]:
        return self.texts[i]

    def stamp(self, i: int) -> str:
        text = self.texts[i]
        words = text if isinstance(text, str) else "\0".join(text)
        return hashlib.blake2b(words.encode(), digest_size=16).hexdigest()


def read(config: Any, *, training: bool = True) -> Table:
    """The table of the texts that ``config.manifest`` holds. An id is the line, counted from 1, behind the
    file's name where there are several: ``17``, ``train/17``.

    Uses ``manifest``, ``columns`` (not ``path``), ``group`` (on ids), ``classes`` and ``fold`` of ``config``.

    Raises:
      SourceError: no such file or column, empty labels, unknown split names; lists everything.
    """
    names, labels = targets.columns({**config.columns.to_dict(), "path": ""})
    paired = bool(names["target"])
    if paired:
        names["label"] = ""
    rows = Rows(groups=[] if config.columns.group else None, names=labels)
    texts: list[str | tuple[str, str]] = []
    needed = ("text", "target") if paired else ("text",) if labels else ("text", "label")
    own = {*names.values()} - ({""} if paired else {names["text"]})
    files = list(_files(config))
    if len(files) > 1 and names["split"]:
        rows.problems.append(
            f"both the files' names and data.columns.split={names['split']!r} give splits; keep one"
        )
    if names["group"] and config.group:
        rows.problems.append(
            f"both data.columns.group={names['group']!r} and data.group={config.group!r} name groups; "
            "keep one"
        )
    for path, split in files:
        header, records = parse(path, names, needed)
        further = [name for name in header if name and name not in own]
        rows.columns = rows.columns or {name: [] for name in further}
        if set(rows.columns) != set(further):
            rows.problems.append(f"{path} has other columns than {files[0][0]}: {some(header, 20)}")
            continue
        unlabelled: list[str] = []
        unsplit: list[str] = []
        wrong: dict[str, list[str]] = {}
        for line, cells in _cells(path, header, records, rows.problems):
            name = f"{split}/{line}" if len(files) > 1 else str(line)
            label = cells[names["label"]].strip() if names["label"] else PAIR * paired
            given = cells[names["split"]].strip().lower() if names["split"] else split
            if labels:
                rows.targets.append(targets.parse(cells, labels, f"line {line}", wrong))
            elif not label:
                unlabelled.append(f"line {line}")
            if not given:
                unsplit.append(f"line {line}")
            elif given not in SPLIT_NAMES:
                rows.problems.append(
                    f"{path}, line {line}: split {given!r} is unknown{nearest(given, SPLIT_NAMES)}"
                )
            text = cells[names["text"]]
            texts.append((text, cells[names["target"]]) if paired else text)
            rows.ids.append(name)
            rows.inner.append(name)
            rows.labels.append(label)
            rows.splits.append(SPLIT_NAMES.get(given, ""))
            for column in rows.columns:
                rows.columns[column].append(cells[column])
            if rows.groups is not None:
                rows.groups.append(cells[names["group"]].strip() or name)
        rows.problems += [f"{path}: {kind}: {some(where)}" for kind, where in wrong.items()]
        if unlabelled:
            rows.problems.append(f"{path}: empty {names['label']!r}: {some(unlabelled)}")
        if training and not config.fold and 0 < len(unsplit) < len(texts):
            rows.problems.append(
                f"{path}: empty {names['split']!r} while other rows have a split: {some(unsplit)}"
            )
    if not texts and not rows.problems:
        rows.problems.append("there is a header but no rows")
    rows.check(config, f"{config.manifest} cannot be used:", training=training)
    if rows.groups is None:
        rows.find_groups(config.group)
    return of(rows, texts, noun=PAIR if paired else "text")


def of(rows: Rows, texts: Sequence[str | tuple[str, str]], *, noun: str = "text") -> Table:
    """The table of checked rows whose words are ``texts``."""
    return replace(table(rows, Words(texts)), noun=noun)


def unlabelled(path: Path, column: str) -> Table:
    """Texts to be predicted: a column of a CSV file, or the lines of any other file that are not empty."""
    if path.suffix.lower() in (".csv", ".tsv"):
        header, records = parse(path, {"text": column}, ("text",))
        problems: list[str] = []
        pairs = [(line, cells[column]) for line, cells in _cells(path, header, records, problems)]
        if problems:
            raise listed(f"{path} cannot be used:", problems)
    else:
        lines = decoded(path).splitlines()
        pairs = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not pairs:
        raise SourceError(f"{path} holds no text: give a file with one text a line, or a CSV file")
    ids = [str(line) for line, _ in pairs]
    rows = Rows(ids=ids, labels=[""] * len(ids), splits=[""] * len(ids))
    return of(rows, [text for _, text in pairs])


def _cells(
    path: Path, header: Sequence[str], records: Iterable[tuple[int, list[str]]], problems: list[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line and cells by column of each record; one of another length goes to ``problems`` instead."""
    for line, record in records:
        if len(record) == len(header):
            yield line, dict(zip(header, record, strict=True))
        else:
            problems.append(
                f"{path}, line {line}: {len(record)} cells, not {len(header)}; put quotes around a text "
                "that holds the delimiter"
            )


def _files(config: Any) -> Iterator[tuple[Path, str]]:
    """The files, and the split that each is called after, "" for a single one."""
    path = Path(config.manifest).expanduser()
    below = Path(config.root).expanduser() / path
    path = below if config.root and not path.exists() and below.exists() else path
    if path.is_file():
        yield path, ""
        return
    if not path.is_dir():
        raise SourceError(
            f"data.manifest={config.manifest!r} is not there: set it to a CSV file of texts, or to a folder "
            "of such files (train.csv, val.csv, test.csv)"
        )
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in (".csv", ".tsv"))
    named = [file for file in found if file.stem.lower() in SPLIT_NAMES]
    if not named:
        raise SourceError(
            f"data.manifest={config.manifest!r} holds no file that is called after a split, such as "
            f"train.csv; there is {some([file.name for file in found]) or 'none'}"
        )
    for file in named:
        yield file, file.stem.lower()
