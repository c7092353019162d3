"""Leaves of several tasks: what is one for all, what is each one's own, and how batches are divided."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_jax.multitask.union import Union, plain, shares

PATHS = ("stem/k", "blocks/0/k", "blocks/1/k", "blocks/10/k", "neck/k", "head/k")


def leaves(name: str) -> dict[str, str]:
    return {path: f"{path} of {name}" for path in PATHS}


@pytest.mark.parametrize(
    ("blocks", "shared"), [(-1, PATHS[:5]), (0, PATHS[:1]), (1, PATHS[:2]), (2, PATHS[:3]), (11, PATHS[:4])]
)
def test_what_is_shared_is_there_once(blocks, shared):
    union = Union(("a", "b"), blocks)
    every = union.params({"a": leaves("a"), "b": leaves("b")})
    assert {path for path in every if not path.startswith("tasks/")} == set(shared)
    assert len(every) == len(shared) + 2 * (len(PATHS) - len(shared))
    for name in ("a", "b"):
        view = union.view(name, every)
        assert view.keys() == set(PATHS)
        assert all(view[path] == f"{path} of {'a' if path in shared else name}" for path in PATHS)


def test_statistics_are_each_tasks_own():
    union = Union(("a", "b"), -1)
    every = union.stats({"a": leaves("a"), "b": leaves("b")})
    assert union.view("b", every) == leaves("b")


def test_a_name_may_begin_as_another():
    union = Union(("skin", "skin-2"), 0)
    every = union.params({"skin": leaves("skin"), "skin-2": leaves("skin-2")})
    assert union.view("skin", every)["head/k"] == "head/k of skin"
    assert {plain(path) for path in every} == set(PATHS)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=6), st.integers(1, 40), st.integers(1, 4))
def test_shares_are_whole_and_near(proportions, units, unit):
    if units < len(proportions):
        with pytest.raises(ValueError, match="has no room"):
            shares(proportions, units * unit, unit)
        return
    found = shares(proportions, units * unit, unit)
    assert sum(found) == units * unit
    assert all(n >= unit and n % unit == 0 for n in found)
    for n, share in zip(found, proportions, strict=True):
        if n > unit:
            assert n <= unit * (units * share / sum(proportions) + 1)


def test_halves_are_halves():
    assert shares([1, 1], 32) == [16, 16]
    assert shares([3, 1], 32) == [24, 8]
    assert shares([1, 1, 1], 32, 2) == [10, 10, 12] or sum(shares([1, 1, 1], 32, 2)) == 32
