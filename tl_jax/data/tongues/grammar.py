"""How a meaning is said in each of the invented tongues.

Lowland has auxiliaries, articles and prepositions: subject, verb, object, place. Valley begins with the verb,
and hangs articles and plurals on its nouns. Highland ends with the verb, has cases for objects and places,
and three genders: qualities, which follow their nouns, and verbs agree with them. So a translation into it
copies nothing, reorders all, and must look up what the source does not say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tl_jax.data.tongues.meaning import Meaning, Thing
from tl_jax.data.tongues.words import Stems

_AUXILIARIES = ("ged", "", "wol")  # lowland's past, present and future
_ENDINGS = ("es", "an", "ur")  # valley's
_GENDERS = ("a", "i", "u")
_PLURALS = ("zi", "ra", "lun")  # highland's, by gender
_CASES = ("mas", "vin", "kul", "sar")  # highland's, in the place of prepositions
_TENSES = ("akta", "i", "ovu")


def lowland(meaning: Meaning, stems: Stems) -> Iterator[str]:
    yield from _low(meaning.who, stems)
    if auxiliary := _AUXILIARIES[meaning.tense]:
        yield auxiliary
    yield stems.verbs[meaning.verb] + ("en" if auxiliary else "e")
    if meaning.denied:
        yield "nik"
    if meaning.other is not None:
        yield from _low(meaning.other, stems)
    if meaning.place is not None:
        yield stems.places[meaning.place[0]]
        yield from _low(meaning.place[1], stems)


def _low(thing: Thing, stems: Stems) -> Iterator[str]:
    if thing.known:
        yield "den" if thing.plural else "da"
    elif not thing.plural:
        yield "on"
    if thing.quality is not None:
        yield stems.qualities[thing.quality]
    yield stems.nouns[thing.noun] + ("er" if thing.plural else "")


def valley(meaning: Meaning, stems: Stems) -> Iterator[str]:
    if meaning.denied:
        yield "mi"
    yield stems.verbs[meaning.verb] + _ENDINGS[meaning.tense]
    yield from _down(meaning.who, stems)
    if meaning.place is not None:
        yield stems.places[meaning.place[0]]
        yield from _down(meaning.place[1], stems)
    if meaning.other is not None:
        yield "ha"
        yield from _down(meaning.other, stems)


def _down(thing: Thing, stems: Stems) -> Iterator[str]:
    yield stems.nouns[thing.noun] + ("ar" if thing.plural else "") + ("eth" if thing.known else "")
    if thing.quality is not None:
        yield stems.qualities[thing.quality]


def highland(meaning: Meaning, stems: Stems) -> Iterator[str]:
    if meaning.place is not None:
        yield from _up(meaning.place[1], stems, _CASES[meaning.place[0]])
    if meaning.other is not None:
        yield from _up(meaning.other, stems, "m")
    yield from _up(meaning.who, stems, "")
    gender = _GENDERS[meaning.who.noun % 3]
    number = "s" if meaning.who.plural else ""
    yield (
        ("ne" if meaning.denied else "")
        + stems.verbs[meaning.verb]
        + _TENSES[meaning.tense]
        + gender
        + number
    )


def _up(thing: Thing, stems: Stems, case: str) -> Iterator[str]:
    """The gender belongs to the noun, which does not show it but in the plural."""
    gender = thing.noun % 3
    yield stems.nouns[thing.noun] + (_PLURALS[gender] if thing.plural else "") + case
    if thing.quality is not None:
        yield stems.qualities[thing.quality] + _GENDERS[gender] + ("s" if thing.plural else "") + case[:1]


SPOKEN: dict[str, Callable[[Meaning, Stems], Iterator[str]]] = {
    "lowland": lowland,
    "valley": valley,
    "highland": highland,
}


def say(meaning: Meaning, tongue: str, stems: Stems) -> str:
    """The sentence, of small letters, spaces and a full stop."""
    return " ".join(SPOKEN[tongue](meaning, stems)) + " ."
