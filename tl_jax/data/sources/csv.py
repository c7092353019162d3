"""A manifest: a CSV file with one row a picture.

``data.columns`` says which column holds the path, the label (or, as ``labels``, which ones hold several
findings or numbers) and, if any, the group and the split; all other columns go along as facts about the rows
(site, sex), for the evaluation by subgroups. Paths are relative to ``data.root``, or to the manifest's folder
where that is empty. The file is UTF-8 (with or without a byte order mark) or UTF-16; the delimiter is a
comma, a semicolon or a tab, whichever finds the columns.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import Any

from tl_jax.data.sources import targets, texts, tree
from tl_jax.data.sources.errors import SourceError, counted, nearest, some
from tl_jax.data.sources.groups import below_class
from tl_jax.data.sources.manifest import parse
from tl_jax.data.sources.rows import Rows, files, table
from tl_jax.data.sources.splits import SPLIT_NAMES
from tl_jax.data.table import Table


def read(config: Any, *, training: bool = True) -> Table:
    """The table of ``config.manifest``; of texts where ``config.columns.text`` names their column, see
    `tl_jax.data.sources.texts`. An id is the path as the manifest gives it, with forward slashes.

    Uses ``manifest``, ``root``, ``columns``, ``group`` (on ids, where no group column is named), ``classes``,
    ``fold``, ``max_pixels`` and ``window`` of ``config``. A repeated row counts once.

    Raises:
      SourceError: no such file or column, missing pictures, empty cells, unknown split names, one picture
        with two labels; lists everything.
    """
    if config.columns.text or config.columns.target:
        return texts.read(config, training=training)
    rows = collect(config, training=training)
    if rows.groups is None:
        rows.find_groups(config.group)
    return table(rows, files(rows, config))


def collect(config: Any, *, training: bool) -> Rows:
    """The rows of ``config.manifest``, checked; ``groups`` only from a column."""
    manifest = _manifest(config)
    names, labels = targets.columns(config.columns.to_dict())
    header, records = parse(manifest, names, ("path",) if labels else ("path", "label"))
    root = tree.folder(config.root) if config.root else manifest.parent
    reading = _Reading(config, root, header, splits_count=training and not config.fold)
    for line, record in records:
        reading.add(line, record)
    rows = reading.finish()
    rows.check(config, f"{manifest} cannot be used:", training=training)
    return rows


class _Reading:
    """Turns records into rows. Each kind of problem is told once, with its first lines and its count."""

    def __init__(self, config: Any, root: Path, header: list[str], *, splits_count: bool) -> None:
        self.root, self.header, self.splits_count = root, header, splits_count
        self.skip = config.on_bad_image == "skip"
        names, labels = targets.columns(config.columns.to_dict())
        self.names = {key: name for key, name in names.items() if key not in ("text", "target")}
        self.rows = Rows(groups=[] if self.names["group"] else None, names=labels)
        taken = {name for name in self.names.values() if name}
        self.further = [name for name in header if name and name not in taken]
        self.rows.columns = {name: [] for name in self.further}
        self.seen: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.found: dict[str, list[str]] = {}
        self.repeated: list[int] = []
        self.ungrouped: list[str] = []
        self.unsplit: list[int] = []
        if self.names["group"] and config.group:
            self.rows.problems.append(
                f"both data.columns.group={self.names['group']!r} and data.group={config.group!r} name "
                "groups; keep one"
            )

    def add(self, line: int, record: list[str]) -> None:
        if len(record) != len(self.header):
            self._problem("cells, not " + str(len(self.header)), f"line {line} ({len(record)})")
            return
        cells = dict(zip(self.header, (cell.strip() for cell in record), strict=True))
        needed = ("path",) if self.rows.names else ("path", "label")
        empty = [key for key in needed if not cells[self.names[key]]]
        for key in empty:
            self._problem(f"empty {self.names[key]!r}", f"line {line}")
        if empty:
            return
        path = cells[self.names["path"]]
        if "\\" in path and "/" not in path:  # written on Windows
            path = path.replace("\\", "/")
        full = self.root / Path(path).expanduser()
        inside = os.path.normpath(full)
        name = (
            PurePath(os.path.relpath(inside, self.root)).as_posix()
            if not _outside(inside, self.root)
            else path
        )
        text = tuple(cells.values())
        if name in self.seen:
            first, before = self.seen[name]
            if text == before:
                self.repeated.append(line)
            else:
                self._problem("two rows that differ for one picture", f"{name} (lines {first}, {line})")
            return
        self.seen[name] = (line, text)
        if not full.is_file() and not self.skip:  # else it is found missing, and counted, when it is read
            self._problem(f"no such file below {self.root}", f"{path} (line {line}){_ending_hint(full)}")
        self._append(line, name, inside, cells)

    def _append(self, line: int, name: str, path: str, cells: dict[str, str]) -> None:
        split = cells[self.names["split"]] if self.names["split"] else ""
        if not split:
            self.unsplit.append(line)
        elif split.lower() not in SPLIT_NAMES:
            self._problem("unknown split", f"{split!r} (line {line}){nearest(split, SPLIT_NAMES)}")
        self.rows.paths.append(path)
        self.rows.ids.append(name)
        label = cells[self.names["label"]] if self.names["label"] else ""
        self.rows.labels.append(label)
        if self.rows.names:
            self.rows.targets.append(targets.parse(cells, self.rows.names, f"line {line}", self.found))
        self.rows.inner.append(below_class(name, label))
        self.rows.splits.append(SPLIT_NAMES.get(split.lower(), ""))
        for column in self.further:
            self.rows.columns[column].append(cells[column])
        if self.rows.groups is not None:
            group = cells[self.names["group"]]
            self.rows.groups.append(group or name)
            if not group:
                self.ungrouped.append(f"line {line}")

    def finish(self) -> Rows:
        rows = self.rows
        if self.splits_count and 0 < len(self.unsplit) < len(rows.ids):
            lines = [f"line {line}" for line in self.unsplit]
            self.found[f"empty {self.names['split']!r} while other rows have a split"] = lines
        if not rows.ids and not self.found:
            rows.problems.append("it has a header but no rows")
        if self.ungrouped and 2 * len(self.ungrouped) >= len(rows.ids):
            self.found[f"empty {self.names['group']!r} in {counted(len(self.ungrouped), 'row')}"] = (
                self.ungrouped
            )
        elif self.ungrouped:
            rows.notes.append(
                f"{counted(len(self.ungrouped), 'row')} without {self.names['group']!r}, each a group of its "
                f"own: {some(self.ungrouped, 5)}"
            )
        if self.repeated:
            lines = some([f"line {line}" for line in self.repeated], 5)
            rows.notes.append(f"{counted(len(self.repeated), 'repeated row')} counted once: {lines}")
        rows.problems += [f"{kind}: {some(where)}" for kind, where in self.found.items()]
        return rows

    def _problem(self, kind: str, where: str) -> None:
        self.found.setdefault(kind, []).append(where)


def _manifest(config: Any) -> Path:
    if not config.manifest:
        advice = (
            "data.manifest is empty: set it to the CSV file that lists the pictures, --config.data.manifest=…"
        )
        raise SourceError(advice)
    path = Path(config.manifest).expanduser()
    below = Path(config.root).expanduser() / path
    path = below if config.root and not path.exists() and below.exists() else path
    if path.is_file():
        return path
    if path.is_dir():
        raise SourceError(f"data.manifest={config.manifest!r} is a folder, not a CSV file")
    above = tree.folder(str(path.parent), "data.manifest")
    names = [name for name, _ in tree.entries(above)]
    raise SourceError(
        f"data.manifest={config.manifest!r} is not there: {above} holds {some(names) or 'nothing'}"
        f"{nearest(path.name, names)}"
    )


def _outside(path: str, root: Path) -> bool:
    return os.path.relpath(path, root).startswith("..")


def _ending_hint(path: Path) -> str:
    """Manifests often give names without their ending."""
    if tree.is_picture(path.name) or not path.parent.is_dir():
        return ""
    near = sorted(other.name for other in path.parent.glob(f"{path.name}.*") if tree.is_picture(other.name))
    return f" [{near[0]} is there: the ending is missing]" if near else ""
