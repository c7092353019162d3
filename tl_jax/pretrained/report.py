"""What became of every array of a checkpoint and every leaf of the model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tl_jax.pretrained.rules import Leaf, Translation
from tl_jax.text_table import aligned


@dataclass(frozen=True)
class Loaded:
    """A leaf that the checkpoint gave: our path, its shape, and the array or arrays it was made of."""

    path: str
    shape: tuple[int, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Initialised:
    """A leaf that was initialised anew: our path, its shape, and why."""

    path: str
    shape: tuple[int, ...]
    why: str


@dataclass(frozen=True)
class Ignored:
    """An array of the checkpoint that was not used: its name, its shape, and why."""

    name: str
    shape: tuple[int, ...]
    why: str


@dataclass(frozen=True)
class LoadReport:
    """The account of a load.

    ``source`` says where the weights came from. ``identity`` is a SHA-256 (hex) of the arrays used, as
    float32 and before any resizing: the same for the same weights in another format, shard layout or
    precision of storage, on any machine. ``notes`` are lines worth printing.
    """

    source: str
    loaded: tuple[Loaded, ...] = ()
    initialised: tuple[Initialised, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    identity: str = ""
    notes: tuple[str, ...] = ()

    @property
    def loaded_paths(self) -> frozenset[str]:
        """Paths of the leaves that the checkpoint gave."""
        return frozenset(entry.path for entry in self.loaded)

    def table(self) -> str:
        """The account as text; leaves that differ in their block's number only share a line."""
        rows = [("leaf", "shape", "", "array, or why")]
        rows += _lines((e.path, e.shape, "loaded", ", ".join(e.names)) for e in self.loaded)
        rows += _lines((e.path, e.shape, "initialised", e.why) for e in self.initialised)
        rows += _lines(("–", e.shape, "ignored", f"{e.name}: {e.why}") for e in self.ignored)
        return "\n".join([self.summary(), f"identity: {self.identity or '–'}", *aligned(rows)])

    def summary(self) -> str:
        """Counts in a line, then the notes."""
        parameters = sum(int(np.prod(entry.shape)) for entry in self.loaded)
        counts = (
            f"weights: {self.source} ({len(self.loaded)} leaves, {parameters:,} numbers loaded; "
            f"{len(self.initialised)} initialised; {len(self.ignored)} arrays ignored)"
        )
        return "\n".join([counts, *self.notes])


def account(
    source: str,
    arrays: Mapping[str, np.ndarray],
    leaves: Mapping[str, Leaf],
    translation: Translation,
    notes: Sequence[str],
) -> LoadReport:
    """The report of a translation: ``arrays`` are the checkpoint's, ``leaves`` the model's."""

    def shape(path: str) -> tuple[int, ...]:
        return tuple(leaves[path].shape)

    return LoadReport(
        source=source,
        loaded=tuple(Loaded(path, shape(path), names) for path, names in translation.sources.items()),
        initialised=tuple(
            Initialised(path, shape(path), why) for path, why in translation.initialised.items()
        ),
        ignored=tuple(Ignored(name, arrays[name].shape, why) for name, why in translation.ignored.items()),
        identity=identity(arrays, translation.sources),
        notes=tuple(notes),
    )


def identity(arrays: Mapping[str, np.ndarray], sources: Mapping[str, Sequence[str]]) -> str:
    """SHA-256 (hex) over the arrays that were used: ``sources`` gives each of our paths its names."""
    digest = hashlib.sha256()
    for path in sorted(sources):
        for name in sources[path]:
            array = np.ascontiguousarray(arrays[name])
            digest.update(f"{path} {array.dtype} {array.shape}\n".encode())
            digest.update(array.data)
    return digest.hexdigest()


def _lines(entries: Any) -> list[tuple[str, str, str, str]]:
    """Entries as rows; those that agree in all but a block's number are one row, with the numbers' range."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for path, shape, what, text in entries:
        block = re.search(r"^blocks/(\d+)/", path)
        pattern = path if block is None else f"blocks/*/{path[block.end() :]}"
        text = text if block is None and path != "–" else re.sub(r"(?<=\.)\d+(?=\.)", "*", text)
        key = (pattern, "×".join(map(str, shape)) or "1", what, text)
        groups.setdefault(key, []).append(int(block[1]) if block else -1)
    return [
        (path.replace("*", _range(numbers)) if path.startswith("blocks/*") else path, shape, what, text)
        for (path, shape, what, text), numbers in groups.items()
    ]


def _range(numbers: list[int]) -> str:
    """``[0, 1, 2, 5]`` → ``"{0-2,5}"``; a single number stays bare."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    text = ",".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)
    return text if text.isdigit() else f"{{{text}}}"
