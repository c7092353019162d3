"""Stems of the invented tongues: drawn for lowland and highland, and changed for valley."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tl_jax.data.tongues.meaning import NOUNS, PLACES, QUALITIES, VERBS

SHIFTS = str.maketrans({"p": "f", "t": "s", "k": "h", "b": "p", "d": "t", "g": "k", "o": "u", "e": "i"})
"""What has become of lowland's sounds in valley."""

REPLACED = 4
"""Every so-manieth stem of valley is another word."""


@dataclass(frozen=True)
class Stems:
    """By number: of nouns, verbs, qualities and places."""

    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    qualities: tuple[str, ...]
    places: tuple[str, ...]


@lru_cache(maxsize=8)
def stems(tongue: str, seed: int) -> Stems:
    """Of "lowland", "valley" or "highland"."""
    if tongue == "highland":
        return _drawn("v z l r m n s k", "a i u", seed, 1)
    own = _drawn("p t k b d g l m n r", "a e i o", seed, 0)
    if tongue == "lowland":
        return own
    others = _drawn("p t k b d g l m n r", "a e i o", seed, 2)
    return Stems(
        **{
            kind: tuple(
                (other if i % REPLACED == 0 else stem).translate(SHIFTS)
                for i, (stem, other) in enumerate(zip(vars(own)[kind], vars(others)[kind], strict=True))
            )
            for kind in vars(own)
        }
    )


def _drawn(consonants: str, vowels: str, seed: int, stream: int) -> Stems:
    """Different stems of two or three syllables, that end with a consonant; places have one."""
    random = np.random.default_rng([seed, stream])
    first, second = consonants.split(), vowels.split()
    taken: dict[str, None] = {}
    while len(taken) < NOUNS + VERBS + QUALITIES + PLACES:
        length = 1 if len(taken) < PLACES else int(random.integers(2, 4))
        syllables = [str(random.choice(first)) + str(random.choice(second)) for _ in range(length)]
        taken.setdefault("".join(syllables) + str(random.choice(first)))
    found = tuple(taken)
    ends = np.cumsum([PLACES, NOUNS, VERBS]).tolist()
    return Stems(
        places=found[: ends[0]],
        nouns=found[ends[0] : ends[1]],
        verbs=found[ends[1] : ends[2]],
        qualities=found[ends[2] :],
    )
