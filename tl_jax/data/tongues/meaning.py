"""What a sentence of the invented tongues says, before it is said in any of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NOUNS, VERBS, QUALITIES, PLACES = 60, 40, 24, 4
"""How many words of each kind there are; places are relations such as "in" and "under"."""

TENSES = 3
"""Past, present, future."""


@dataclass(frozen=True)
class Thing:
    """A noun, how many, whether it is a known one, and what it is like."""

    noun: int
    plural: bool
    known: bool
    quality: int | None


@dataclass(frozen=True)
class Meaning:
    """Who does what to whom, where and when, or does not. Without ``other`` nothing is done to anybody."""

    who: Thing
    verb: int
    tense: int
    denied: bool
    other: Thing | None
    place: tuple[int, Thing] | None


def draw(random: np.random.Generator) -> Meaning:
    """A meaning by chance; all words are equally frequent."""
    return Meaning(
        who=_thing(random),
        verb=int(random.integers(VERBS)),
        tense=int(random.integers(TENSES)),
        denied=bool(random.random() < 0.25),
        other=_thing(random) if random.random() < 0.7 else None,
        place=(int(random.integers(PLACES)), _thing(random)) if random.random() < 0.4 else None,
    )


def _thing(random: np.random.Generator) -> Thing:
    return Thing(
        noun=int(random.integers(NOUNS)),
        plural=bool(random.random() < 0.4),
        known=bool(random.random() < 0.5),
        quality=int(random.integers(QUALITIES)) if random.random() < 0.4 else None,
    )
