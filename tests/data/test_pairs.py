"""Pairs become rows that say what comes next, and no side of one is lost in silence."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tests import tiny_pairs
from tl_jax.config import complete
from tl_jax.data import load_by
from tl_jax.data.pairs import PairReader, prompt_lengths
from tl_jax.data.sentences import SENTENCES
from tl_jax.data.sources.errors import SourceError
from tl_jax.data.texts import TextReader
from tl_jax.pretrained.tokenizer import Tokenizer
from tl_jax.writing import prompts


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Tokenizer:
    return Tokenizer(tiny_pairs.make_tokenizer(tmp_path_factory.mktemp("tokenizer")))


def write(path: Path, *rows: tuple[str, ...], header=("low", "high", "split")) -> Path:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


ROWS = (
    ("sun moon", "MOON SUN", "train"),
    ("rain", "RAIN", "train"),
    ("wind", "WIND", "val"),
    ("snow fog sun", "SUN FOG SNOW", "test"),
)


def loaded(path: Path, tokenizer: Tokenizer, longest: int = 16, **changes):
    columns = dict(text="low", target="high", split="split")
    settings = dict(source="csv", manifest=str(path), columns=columns, min_val=1, **changes)
    config = complete({**tiny_pairs.config(path, path), "data": settings})
    return load_by(PairReader(tokenizer, longest, [1], 0), config.data, labels=SENTENCES)


def words(row: np.ndarray) -> str:
    return " ".join("." if number < 0 else tiny_pairs.WORDS[number] for number in row)


def test_a_row_and_what_comes_next(tmp_path, tokenizer):
    train = loaded(write(tmp_path / "p.csv", *ROWS), tokenizer).train
    assert words(train.images[0][:6]) == "sun moon <to> MOON SUN ."
    assert words(train.labels[0][:6]) == ". . MOON SUN <end> ."
    assert words(train.images[1][:4]) == "rain <to> RAIN ."
    assert words(train.labels[1][:4]) == ". RAIN <end> ."
    assert train.lengths.tolist() == [5, 3]
    assert prompt_lengths(train.labels, train.lengths).tolist() == [3, 2]


def test_the_words_of_both_sides_go_along(tmp_path, tokenizer):
    data = loaded(write(tmp_path / "p.csv", *ROWS), tokenizer)
    assert data.test.columns.keys() == {"source", "reference"}
    assert data.test.columns["source"].tolist() == ["snow fog sun"]
    assert data.test.columns["reference"].tolist() == ["SUN FOG SNOW"]
    assert "train 2 pairs, val 1 pair, test 1 pair" in data.notes
    assert data.counts()["train"]["tokens"] == 5


def test_a_prompt_has_nothing_of_the_target(tmp_path, tokenizer):
    train = loaded(write(tmp_path / "p.csv", *ROWS), tokenizer).train
    found = prompts(train, 8)
    assert [words(row[:4]) for row in found.images] == ["sun moon <to> .", "rain <to> . ."]
    assert found.lengths.tolist() == [3, 2]


def test_each_side_is_cut_to_its_half_and_that_is_told(tmp_path, tokenizer):
    """Of a target that is cut, no end is learned; where a source is cut, its target does not matter."""
    rows = (("sun " * 7, "SUN", "train"), ("rain", "RAIN " * 6, "train"), *ROWS[2:])
    data = loaded(write(tmp_path / "p.csv", *rows), tokenizer, longest=8)
    assert words(data.train.images[0]) == "sun sun sun <to> SUN . . ."
    assert words(data.train.labels[0]) == ". . . SUN <end> . . ."
    assert words(data.train.images[1]) == "rain <to> RAIN RAIN . . . ."
    assert words(data.train.labels[1]) == ". RAIN RAIN RAIN . . . ."
    assert "1 source of more than 3 tokens cut at the end (25.0%)" in data.notes
    assert "1 target of more than 3 tokens cut at the end (25.0%)" in data.notes
    assert data.train.columns["reference"][1] == " ".join(["RAIN"] * 6)


def test_empty_sides_are_listed(tmp_path, tokenizer):
    rows = (("", "RAIN", "train"), ("sun", " ", "train"), ("", "", "train"), *ROWS)
    path = write(tmp_path / "p.csv", *rows)
    with pytest.raises(SourceError) as error:
        loaded(path, tokenizer)
    message = str(error.value)
    assert "3 pairs cannot be used:" in message
    for line in (
        "2: its source is empty",
        "3: its target is empty",
        "4: its source and its target are empty",
    ):
        assert line in message
    data = loaded(path, tokenizer, on_bad_image="skip")
    assert len(data.train) == 2


def test_a_source_that_comes_twice_is_in_one_split(tmp_path, tokenizer):
    path = write(tmp_path / "p.csv", *ROWS, ("sun moon", "SUN", "test"))
    with pytest.raises(SourceError, match="1 pair in more than one of the given splits"):
        loaded(path, tokenizer)


def test_another_target_is_another_data_set(tmp_path, tokenizer):
    first = loaded(write(tmp_path / "p.csv", *ROWS), tokenizer)
    again = loaded(write(tmp_path / "q.csv", *ROWS), tokenizer)
    other = loaded(write(tmp_path / "r.csv", ("sun moon", "MOON", "train"), *ROWS[1:]), tokenizer)
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_columns_of_the_data_that_are_called_as_ours(tmp_path, tokenizer):
    rows = [(*row, f"book {i}") for i, row in enumerate(ROWS)]
    path = write(tmp_path / "p.csv", *rows, header=("low", "high", "split", "source"))
    columns = loaded(path, tokenizer).test.columns
    assert columns["data_source"].tolist() == ["book 3"]
    assert columns["source"].tolist() == ["snow fog sun"]


def test_a_missing_column_is_named(tmp_path, tokenizer):
    path = write(tmp_path / "p.csv", *ROWS, header=("low", "hihg", "split"))
    with pytest.raises(SourceError, match=r"data.columns.target='high' is no column.*did you mean 'hihg'"):
        loaded(path, tokenizer)


def test_a_reader_of_texts_refuses_pairs(tmp_path, tokenizer):
    path = write(tmp_path / "p.csv", *ROWS)
    settings = complete(tiny_pairs.config(path, path)).data
    with pytest.raises(SourceError, match=r"gives pairs: choose another.*without data.columns.target"):
        load_by(TextReader(tokenizer, 16), settings)
