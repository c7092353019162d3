"""Texts turned into tokens: by the tokenizer that the network's weights came with.

A text is cut at its end where it is longer than the network reads. Batches are padded to one of a few widths,
quantiles of the lengths that there are, so that few programs are compiled and short texts cost little.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tl_jax.backbones.text import PADDING
from tl_jax.data.reading import Read, Say
from tl_jax.data.sources.errors import SourceError, counted
from tl_jax.data.table import SPLITS, Table
from tl_jax.pretrained.tokenizer import Tokenizer

_QUANTILES = (0.5, 0.75, 0.9, 1.0)
_STEP = 8  # widths are multiples of it


class TextReader:
    """Reads tables of texts. ``longest``: tokens of a text, at the most, with those that the tokenizer
    adds."""

    noun = "text"

    def __init__(self, tokenizer: Tokenizer, longest: int) -> None:
        self.tokenizer, self.longest = tokenizer, longest

    def check(self, config: Any) -> list[str]:
        """What the config asks for that texts do not have."""
        if config.shift.corruption:
            raise SourceError(
                f"data.shift.corruption={config.shift.corruption!r} is for pictures; here are texts"
            )
        return []

    def read(self, table: Table, config: Any, say: Say) -> Read:
        """All texts of a table as tokens (n, longest of them) int32; empty ones are bad."""
        words = [str(table.read(i, None)).strip() for i in range(len(table))]
        bad = {i: f"{table.ids[i]}: it is empty" for i, text in enumerate(words) if not text}
        rows, cut = self.tokenizer.encode(words, self.longest)
        lengths = np.array([len(row) for row in rows], np.int32)
        kept = np.delete(lengths, list(bad)) if len(bad) < len(rows) else lengths
        widths = widths_of(kept, self.longest)
        tokens = padded(rows, widths[-1])
        digests = [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in words]
        return Read(
            dict.fromkeys(SPLITS, tokens),
            np.array(digests),
            bad,
            (self.longest, self.tokenizer.digest),
            lengths=lengths,
            widths=widths,
            notes=tuple(self._told(kept, widths, cut)),
        )

    def _told(self, lengths: np.ndarray, widths: Sequence[int], cut: int) -> list[str]:
        median, most = int(np.median(lengths)), int(lengths.max())
        told = [
            f"texts have {median} tokens in the median, {most} at the most; batches are padded to "
            f"{', '.join(map(str, widths))}"
        ]
        if cut:
            share = f"{cut / len(lengths):.1%}"
            told.append(f"{counted(cut, 'text')} of more than {self.longest} tokens cut at the end ({share})")
        return told


def widths_of(lengths: np.ndarray, longest: int) -> tuple[int, ...]:
    """Few lengths, rising; none is above ``longest``."""
    found = {-(-int(np.quantile(lengths, share, method="higher")) // _STEP) * _STEP for share in _QUANTILES}
    return tuple(sorted({min(width, longest) for width in found}))


def padded(rows: Sequence[Sequence[int]], width: int) -> np.ndarray:
    """Rows of tokens as one array (n, width) int32, padded at their ends."""
    tokens = np.full((len(rows), width), PADDING, np.int32)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = row[:width]
    return tokens
