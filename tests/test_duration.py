"""Durations: every unit, exact rounding up, and messages that say what is allowed."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_jax import duration
from tl_jax.duration import DurationError, check, check_stages, exceeds, stage_steps, steps

COUNTS = st.integers(1, 10_000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 epochs", 10),  # 3 · 105 / 32 = 9.84…
        ("1 epoch", 4),
        ("1.5 epochs", 5),
        (".1 Epochs", 1),
        ("500 steps", 500),
        ("1 step", 1),
        ("0 steps", 0),
        ("1_000steps", 1000),
        ("1e3 steps", 1000),
        ("6400 examples", 200),
        ("6401 examples", 201),
        ("20%", 2),
        ("20 percent", 2),
        ("100 %", 10),
    ],
)
def test_units(text: str, expected: int) -> None:
    assert steps(text, n=105, batch_size=32, total=10) == expected


@settings(deadline=None)
@given(st.integers(1, 10**6), COUNTS, COUNTS)
def test_tenths_of_epochs_are_counted_exactly(tenths: int, n: int, batch_size: int) -> None:
    text = f"{tenths // 10}.{tenths % 10} epochs"
    count = steps(text, n=n, batch_size=batch_size)
    assert count == math.ceil(Fraction(tenths * n, 10 * batch_size))
    assert count * batch_size * 10 >= tenths * n > (count - 1) * batch_size * 10


@settings(deadline=None)
@given(st.lists(st.integers(1, 10**4), min_size=1, max_size=4), st.lists(st.integers(1, 20), max_size=4))
def test_percentages_of_stages_are_shares_of_the_run(fixed: list[int], shares: list[int]) -> None:
    texts = [f"{count} steps" for count in fixed] + [f"{share}%" for share in shares]
    result = stage_steps(texts, n=10, batch_size=3)
    assert list(result[: len(fixed)]) == fixed
    whole = Fraction(100 * sum(fixed), 100 - sum(shares))
    for share, count in zip(shares, result[len(fixed) :], strict=True):
        assert whole * share <= 100 * count < whole * share + 100


def test_a_fifth_of_the_run_beside_eighty_steps() -> None:
    assert stage_steps(["80 steps", "20%"], n=7, batch_size=3) == (80, 20)
    assert stage_steps(["20%", "2 epochs", "30%"], n=10, batch_size=4) == (2, 5, 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3 epocs", "did you mean 3 epochs?"),
        ("3", '"3 steps" or "3 epochs"'),
        ("-3 epochs", "allowed"),
        ("", "allowed"),
        ("three epochs", "allowed"),
        ("1e999 steps", "allowed"),
        ("9e12 epochs", "longer than any run"),
        ("0.5 steps", "whole numbers"),
        ("101%", "at most 100%"),
        ("0 epochs", "above zero"),
    ],
)
def test_impossible_durations(text: str, words: str) -> None:
    problem = check(text)
    assert problem is not None
    assert words in problem


@pytest.mark.parametrize("value", [3, 3.5])
def test_a_bare_number_is_refused_with_its_unit_suggested(value: float) -> None:
    with pytest.raises(DurationError, match=rf'"{value} steps" or "{value} epochs"'):
        steps(value, n=10, batch_size=2)  # type: ignore[arg-type]


def test_a_percentage_needs_a_whole() -> None:
    with pytest.raises(DurationError, match="percentage of nothing"):
        steps("10%", n=10, batch_size=2)
    assert check("10%", percent=False)
    assert check("10%") is None


def test_a_duration_may_be_nothing_only_where_that_makes_sense() -> None:
    assert check("0 steps", zero=True) is None
    with pytest.raises(DurationError, match="above zero"):
        stage_steps(["0 steps"], n=10, batch_size=2)


@pytest.mark.parametrize(
    ("texts", "words"), [(["50%", "20%"], "all stages"), (["60%", "40%", "1 epoch"], "100%")]
)
def test_stages_whose_percentages_leave_no_length(texts: list[str], words: str) -> None:
    assert words in (check_stages(texts) or "")
    with pytest.raises(DurationError, match=words):
        stage_steps(texts, n=10, batch_size=2)


def test_no_examples_no_steps() -> None:
    with pytest.raises(DurationError, match="0 training examples"):
        steps("1 epochs", n=0, batch_size=2)


def test_what_is_longer_for_certain() -> None:
    assert exceeds("11 steps", "100 examples", batch_size=10)
    assert not exceeds("10 steps", "100 examples", batch_size=10)
    assert exceeds("2 epochs", "1.5 epochs", batch_size=10)
    assert not exceeds("2 epochs", "1 steps", batch_size=10)  # may be one batch
    assert not exceeds("100%", "1 steps", batch_size=10)


@settings(deadline=None)
@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    if check(text, zero=True) is None:
        assert duration.parse(text).amount >= 0
        assert steps(text, n=3, batch_size=2, total=7) >= 0
