"""Pairs of sentences of the invented tongues, as a data source: ``data.source=tongues.source``."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tl_jax.data.sources.errors import SourceError
from tl_jax.data.sources.texts import PAIR, Words
from tl_jax.data.table import Table
from tl_jax.data.tongues import meaning as meanings
from tl_jax.data.tongues.grammar import say
from tl_jax.data.tongues.words import stems

TOKENIZER_FOLDER = Path(__file__).parent
"""Holds the tokenizer.json that `tl_jax.data.tongues.tokens` makes."""

READ = ("lowland", "valley")
WRITTEN = "highland"
MEASURED = {"val": 300, "test": 1000}
"""Pairs for validation and for the test, however many there are for training."""


class Pair(NamedTuple):
    """A sentence and its translation."""

    text: str
    target: str


def source(config: Any) -> Table:
    """A table of ``config.name`` = "lowland/N" or "valley/N": N pairs for training, and always the same for
    validation and test; a function of ``config.split_seed``, too. Raises SourceError for another name."""
    tongue, _, number = str(config.name).partition("/")
    if tongue not in READ or not number.isdigit() or int(number) < 1:
        raise SourceError(
            f"data.name={config.name!r} is no set of pairs: give a tongue, {' or '.join(READ)}, and how many "
            "pairs are for training, such as 'valley/600'"
        )
    sizes = {**MEASURED, "train": int(number)}
    found = {split: pairs(tongue, n, split, config.split_seed) for split, n in sizes.items()}
    every = [pair for some in found.values() for pair in some]
    ids = np.array([f"{tongue}-{split}-{i:06d}" for split, some in found.items() for i in range(len(some))])
    words = Words(every)
    return Table(
        ids=ids,
        labels=np.full(len(ids), PAIR),
        groups=ids,
        splits=np.repeat(list(found), [len(some) for some in found.values()]),
        read=words.read,
        stamp=words.stamp,
        noun=PAIR,
        caveat="nobody speaks these languages: a program has made them",
    )


@lru_cache(maxsize=16)
def pairs(tongue: str, n: int, split: str, seed: int) -> tuple[Pair, ...]:
    """The first ``n`` pairs of a tongue and a split, all different. No two splits share a sentence, and what
    is written in the pairs of one tongue is in none of the other's: each has sentences of its own by the
    digest of what is written."""
    random = np.random.default_rng([seed, READ.index(tongue), *split.encode()])
    read, written = stems(tongue, seed), stems(WRITTEN, seed)
    found: dict[Pair, None] = {}
    while len(found) < n:
        meaning = meanings.draw(random)
        target = say(meaning, WRITTEN, written)
        if _home(target) == (tongue, split):
            found.setdefault(Pair(say(meaning, tongue, read), target))
    return tuple(found)


def _home(target: str) -> tuple[str, str]:
    """Whose pair a highland sentence is part of."""
    number = hashlib.blake2b(target.encode(), digest_size=4).digest()
    return READ[number[0] % 2], ("val", "test", *("train",) * 8)[number[1] % 10]
