"""Durations: "3 epochs", "500 steps", "6400 examples", "20%" → steps.

Every length in a config is such a string and goes through `steps` or `stage_steps`, so that a unit
means the same everywhere. Numbers are exact fractions until the end and are then rounded up: a stage
of three epochs sees every example three times.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

ALLOWED = '"3 epochs", "500 steps", "6400 examples" or "20%"'
"""What a duration looks like, for messages."""

ABSOLUTE = '"3 epochs", "500 steps" or "6400 examples"'
"""… where there is nothing to take a percentage of."""

_UNITS = {
    "epoch": "epochs",
    "epochs": "epochs",
    "step": "steps",
    "steps": "steps",
    "example": "examples",
    "examples": "examples",
    "%": "percent",
    "percent": "percent",
}
_TEXT = re.compile(r"(\d[\d_]*(?:\.\d*)?|\.\d+)(e\d{1,2})?\s*([a-z%]*)")
_LARGEST = 10**12


class DurationError(ValueError):
    """A duration that cannot be read or cannot be meant; the message says what is allowed."""


@dataclass(frozen=True)
class Duration:
    """``amount`` of ``unit``: "epochs", "steps", "examples" or "percent"."""

    amount: Fraction
    unit: str


def parse(text: str) -> Duration:
    """Reads a duration such as ``"1.5 epochs"``. Raises `DurationError`."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        raise DurationError(f'{text!r} has no unit; write "{text} steps" or "{text} epochs"')
    if not isinstance(text, str):
        raise DurationError(f"{text!r} is no duration; allowed: {ALLOWED}")
    match = _TEXT.fullmatch(text.strip().lower())
    if match is None:
        raise DurationError(f"{text!r} is no duration; allowed: {ALLOWED}")
    number, exponent, word = match.groups()
    if not word:
        raise DurationError(f'{text!r} has no unit; write "{text} steps" or "{text} epochs"')
    if word not in _UNITS:
        near = difflib.get_close_matches(word, _UNITS, n=1)
        hint = f"; did you mean {number + (exponent or '')} {near[0]}?" if near else f"; allowed: {ALLOWED}"
        raise DurationError(f"{text!r} has the unknown unit {word!r}{hint}")
    amount = Fraction(number.replace("_", "") + (exponent or ""))
    unit = _UNITS[word]
    if unit in ("steps", "examples") and amount.denominator != 1:
        raise DurationError(f"{text!r}: {unit} are counted in whole numbers")
    if unit == "percent" and amount > 100:
        raise DurationError(f"{text!r} is more than the whole; at most 100%")
    if amount > _LARGEST:
        raise DurationError(f"{text!r} is longer than any run; at most {_LARGEST:,} {unit}")
    return Duration(amount, unit)


def check(text: str, *, zero: bool = False, percent: bool = True) -> str | None:
    """What is wrong with a duration, or None; ``zero`` says whether it may be nothing at all,
    ``percent`` whether it may be a percentage."""
    try:
        duration = parse(text)
    except DurationError as error:
        return str(error)
    if not duration.amount and not zero:
        return f"{text!r} is no time at all; it must be above zero"
    if duration.unit == "percent" and not percent:
        return f"{text!r} is a percentage of nothing; give it in epochs, steps or examples"
    return None


def check_stages(durations: Sequence[str]) -> str | None:
    """What is wrong with the stages' durations together, or None (single ones: `check`).

    A stage's percentage is a share of the whole run, whose length the other stages give.
    """
    shares = [item.amount for text in durations if (item := _readable(text)) and item.unit == "percent"]
    if not shares:
        return None
    if len(shares) == len(durations):
        return "all stages are percentages of the run, so nothing fixes its length; give one in epochs"
    if sum(shares) >= 100:
        return (
            f"the stages in percent take {_number(sum(shares))}% of the run and leave nothing for the others"
        )
    return None


def steps(text: str, *, n: int, batch_size: int, total: int | None = None) -> int:
    """A duration in optimiser steps, rounded up.

    ``n`` training examples, ``batch_size`` of them a step: "3 epochs" is ⌈3n / batch_size⌉ steps,
    "6400 examples" ⌈6400 / batch_size⌉. A percentage is a share of ``total`` steps. Raises
    `DurationError`; also for a percentage where there is no ``total``.
    """
    duration = parse(text)
    if n < 1 or batch_size < 1:
        raise DurationError(
            f"{text!r} cannot be counted with {n} training examples in batches of {batch_size}"
        )
    if duration.unit == "percent":
        if total is None:
            raise DurationError(f"{text!r}: a percentage of nothing; give it in epochs, steps or examples")
        return math.ceil(duration.amount * total / 100)
    return math.ceil(
        duration.amount * {"epochs": n, "steps": batch_size, "examples": 1}[duration.unit] / batch_size
    )


def stage_steps(durations: Sequence[str], *, n: int, batch_size: int) -> tuple[int, ...]:
    """The steps of each stage; see `steps`.

    Percentages are shares of the whole run: with "80 steps" and "20%" the run has 100 steps and the
    second stage 20. Raises `DurationError`.
    """
    for text in durations:
        if problem := check(text):
            raise DurationError(problem)
    if problem := check_stages(durations):
        raise DurationError(problem)
    parsed = [parse(text) for text in durations]
    fixed = [
        None if item.unit == "percent" else steps(text, n=n, batch_size=batch_size)
        for item, text in zip(parsed, durations, strict=True)
    ]
    left = 100 - sum(item.amount for item in parsed if item.unit == "percent")
    whole = Fraction(sum(count for count in fixed if count is not None)) * 100 / left
    return tuple(
        math.ceil(item.amount * whole / 100) if count is None else count
        for item, count in zip(parsed, fixed, strict=True)
    )


def exceeds(part: str, whole: str, *, batch_size: int) -> bool:
    """Whether ``part`` is longer than ``whole`` for certain, before the data is known. A percentage
    is one of ``whole`` and never is."""
    a, b = _readable(part), _readable(whole)
    if (
        a is None
        or b is None
        or "percent" in (a.unit, b.unit)
        or ("epochs" in (a.unit, b.unit) and a.unit != b.unit)
    ):
        return False
    size = {"epochs": 1, "steps": batch_size, "examples": 1}
    return a.amount * size[a.unit] > b.amount * size[b.unit]


def _readable(text: str) -> Duration | None:
    try:
        return parse(text)
    except DurationError:
        return None


def _number(value: Fraction | int) -> str:
    return f"{float(value):g}"
