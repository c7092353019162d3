"""Groups from names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_jax.data.sources.errors import SourceError
from tl_jax.data.sources.groups import by_pattern

words = st.text(alphabet="abcXYZ_- ", min_size=0, max_size=8)


@given(st.lists(st.tuples(words, st.integers(0, 9999), words), min_size=1, max_size=20))
def test_number_in_the_name_is_the_group_whatever_surrounds_it(parts):
    inner = [f"{before}{number}{after}.png" for before, number, after in parts]
    ids = [f"train/NORMAL2/{name}" for name in inner]
    groups, notes = by_pattern(ids, inner, r"\d+")
    assert groups == [str(number) for _, number, _ in parts]
    assert notes == []


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=30), st.sampled_from(["p(\\d+)", "p\\d+", "(p)(\\d+)"])
)
def test_two_names_share_a_group_only_if_the_match_is_the_same(numbers, pattern):
    ids = [f"c/p{number}_{i}.png" for i, number in enumerate(numbers)]
    groups, _ = by_pattern(ids, [text[2:] for text in ids], pattern)
    expected = {"p(\\d+)": "{}", "p\\d+": "p{}", "(p)(\\d+)": "p"}[pattern]
    assert groups == [expected.format(number) for number in numbers]


def test_first_group_that_took_part_wins():
    ids = ["n/NORMAL2-IM-0115-0001.jpeg", "p/person12_virus.jpeg"]
    assert by_pattern(ids, ids, r"person(\d+)|IM-(\d+)")[0] == ["0115", "12"]


def test_folders_below_the_class_serve_where_the_name_does_not():
    ids = ["train/a/patient7/scan.png", "train/b/patient8/x/scan.png"]
    inner = ["patient7/scan.png", "patient8/x/scan.png"]
    assert by_pattern(ids, inner, r"patient\d+")[0] == ["patient7", "patient8"]


def test_split_and_class_folders_never_match_without_a_slash():
    ids = ["train/class1/a.png", "train/class2/b.png"]
    with pytest.raises(SourceError, match=r"2 of 2 names: train/class1/a.png, train/class2/b.png"):
        by_pattern(ids, ["a.png", "b.png"], r"\d+")


def test_a_slash_means_the_whole_id():
    ids = ["train/site3/a.png", "train/site4/b.png"]
    assert by_pattern(ids, ["a.png", "b.png"], r"^train/(\w+)/")[0] == ["site3", "site4"]


def test_few_misses_are_their_own_group_and_are_told():
    ids = ["c/p1.png", "c/p2.png", "c/other.png", "c/another.png", "c/p1b.png"]
    groups, (note,) = by_pattern(ids, [text[2:] for text in ids], r"p\d")
    assert groups == ["p1", "p2", "c/other.png", "c/another.png", "p1"]
    assert "2 names" in note
    assert "c/other.png, c/another.png" in note


def test_many_misses_are_an_error_with_a_way_out():
    ids = [f"c/x{i}.png" for i in range(20)]
    with pytest.raises(SourceError) as caught:
        by_pattern(ids, ids, r"nothing")
    message = str(caught.value)
    assert (
        "no group in 20 of 20 names: c/x0.png, c/x1.png, c/x2.png, c/x3.png, c/x4.png and 15 more" in message
    )
    assert "data.group=''" in message


def test_an_empty_match_is_no_group():
    with pytest.raises(SourceError, match="no group in 1 of 1 name"):
        by_pattern(["c/a.png"], ["a.png"], r"\d*")


def test_invalid_expression():
    with pytest.raises(SourceError, match=r"data.group='\(\\\\d' is no regular expression.*character 1"):
        by_pattern(["a"], ["a"], r"(\d")
