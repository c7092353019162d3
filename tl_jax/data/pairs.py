"""Pairs of texts turned into tokens: a source, a separator, and the target that is to be learned after it.

A row is source, separator and target, without the end; its labels are what comes next, at the places where
that is part of the target or its end, and -1 elsewhere. So the length of the labels' beginning says where the
target begins, and with nothing but -1 a row is a prompt. Source and target may each have half of the tokens
that the network reads: where a source is cut must not depend on how long its translation is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tl_jax.backbones.text import PADDING
from tl_jax.data.reading import Read, Say
from tl_jax.data.sources.errors import counted
from tl_jax.data.table import SPLITS, Table
from tl_jax.data.texts import TextReader, padded, widths_of
from tl_jax.pretrained.tokenizer import Tokenizer

SOURCE, REFERENCE = "source", "reference"
"""Columns of a split: the words of both sides."""


class PairReader(TextReader):
    """Reads tables of pairs, or of texts that are to be sources. ``longest``: tokens of a row with the end;
    ``separator``: tokens between source and target; ``end``: the token after it."""

    noun = "pair"

    def __init__(self, tokenizer: Tokenizer, longest: int, separator: Sequence[int], end: int) -> None:
        super().__init__(tokenizer, longest)
        self.separator, self.end = list(separator), end
        self.half = longest // 2
        self.room = self.half - len(self.separator), longest - self.half - 1

    def read(self, table: Table, config: Any, say: Say) -> Read:
        """All pairs of a table: tokens and labels (n, longest of them) int32. Of a target that is cut no end
        is learned. Pairs of which one side is empty are bad."""
        given = [table.read(i, None) for i in range(len(table))]
        sources = [(one if isinstance(one, str) else one[0]).strip() for one in given]
        targets = [None if isinstance(one, str) else one[1].strip() for one in given]
        bad = {}
        for i, (text, target) in enumerate(zip(sources, targets, strict=True)):
            empty = [name for name, side in ((SOURCE, text), ("target", target)) if side == ""]
            if empty:
                bad[i] = f"{table.ids[i]}: its {' and its '.join(empty)} {'are' if empty[1:] else 'is'} empty"
        read, cut_sources = _cut(self.tokenizer.pieces(sources), self.room[0])
        write, cut_targets = _cut(self.tokenizer.pieces([target or "" for target in targets]), self.room[1])
        rows, labels = [], []
        for i, (source, target) in enumerate(zip(read, write, strict=True)):
            prompt = source + self.separator
            after = [] if targets[i] is None else target if i in cut_targets else [*target, self.end]
            rows.append(prompt + after[:-1])
            labels.append([PADDING] * (len(prompt) - 1) + after)
        lengths = np.array([len(row) for row in rows], np.int32)
        kept = np.delete(lengths, list(bad)) if len(bad) < len(rows) else lengths
        widths = widths_of(kept, self.longest)
        tokens = padded(rows, widths[-1])
        columns = {SOURCE: np.array(sources, dtype=str)}
        if any(target is not None for target in targets):
            columns[REFERENCE] = np.array([target or "" for target in targets], dtype=str)
        return Read(
            dict.fromkeys(SPLITS, tokens),
            np.array([_digest(text) for text in sources]),
            bad,
            (
                self.longest,
                self.tokenizer.digest,
                tuple(self.separator),
                self.end,
                _digest(*map(str, targets)),
            ),
            lengths=lengths,
            widths=widths,
            notes=(*self._told(kept, widths, 0), *self._cut_told(len(rows), cut_sources, cut_targets)),
            labels=padded(labels, widths[-1]),
            columns=columns,
        )

    def _cut_told(self, n: int, sources: frozenset[int], targets: frozenset[int]) -> list[str]:
        parts = (SOURCE, sources, self.room[0]), ("target", targets, self.room[1])
        return [
            f"{counted(len(cut), name)} of more than {room} tokens cut at the end ({len(cut) / n:.1%})"
            for name, cut, room in parts
            if cut
        ]


def prompt_lengths(labels: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """How many tokens of each row (n, W) come before its target: (n,) int."""
    there = labels != PADDING
    return np.where(there.any(axis=1), there.argmax(axis=1) + 1, lengths)


def _cut(rows: Sequence[list[int]], room: int) -> tuple[list[list[int]], frozenset[int]]:
    """Rows of so many tokens at the most, and the numbers of those that had more."""
    return [row[:room] for row in rows], frozenset(i for i, row in enumerate(rows) if len(row) > room)


def _digest(*texts: str) -> str:
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=16).hexdigest()
