"""Sources of random pictures and texts, for benchmarks that ask only how long something takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tl_jax.data.table import Table
from tl_jax.pretrained.tokenizer import TOKENIZER


def source(train: int, val: int, test: int, size: int) -> Callable[[Any], Table]:
    """A `data.source` of so many pictures (size, size, 3) a split, in two classes."""

    def picture(i: int, at_least: int | None) -> np.ndarray:
        return np.random.default_rng(i).integers(0, 256, (size, size, 3), np.uint8)

    return _source(train, val, test, picture, "picture")


def text_source(train: int, val: int, test: int) -> Callable[[Any], Table]:
    """The same of texts, each of one word."""
    return _source(train, val, test, lambda i, at_least: f"w{i}", "text")


def tokenizer(folder: str | Path) -> None:
    """Writes a tokenizer that knows no word into a folder."""
    import tokenizers

    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.save(str(Path(folder) / TOKENIZER))


def _source(train: int, val: int, test: int, read: Callable[..., Any], noun: str) -> Callable[[Any], Table]:
    names = np.array([f"{i:06d}" for i in range(train + val + test)])

    def table(config: Any) -> Table:
        del config
        return Table(
            ids=names,
            labels=np.where(np.arange(len(names)) % 2 == 0, "even", "odd"),
            groups=names,
            splits=np.repeat(np.array(["train", "val", "test"]), [train, val, test]),
            read=read,
            stamp=str,
            noun=noun,
        )

    return table
