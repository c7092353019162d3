"""Texts: from a CSV file to tokens, and what is said of those that do not fit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests import tiny_texts
from tl_jax.backbones.text import PADDING
from tl_jax.config import complete
from tl_jax.data import SourceError, load_by
from tl_jax.data.sources import texts
from tl_jax.data.texts import TextReader
from tl_jax.pretrained.errors import PretrainedError
from tl_jax.pretrained.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return Tokenizer(tiny_texts.make_tokenizer(tmp_path_factory.mktemp("tokenizer")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_texts.make_texts(tmp_path_factory.mktemp("texts"))


def settings(folder, **changes):
    found = tiny_texts.config(folder, folder)
    found["data"] |= changes
    return complete(found).data


def read(folder, tokenizer, longest=32, **changes):
    return load_by(TextReader(tokenizer, longest), settings(folder, **changes))


def test_splits_are_the_files_and_tokens_are_the_words(folder, tokenizer):
    data = read(folder, tokenizer)
    assert (len(data.train), len(data.val), len(data.test)) == (96, 24, 24)
    assert data.classes == ("bad", "good")
    assert data.train.ids[0] == "train/2"
    words = [["[CLS]", *text.split(), "[SEP]"] for text in data.train.columns["text"].tolist()]
    assert data.train.lengths.tolist() == [len(one) for one in words]
    for row, one in zip(data.train.images, words, strict=True):
        assert [tiny_texts.WORDS[token] for token in row[: len(one)]] == one
        assert (row[len(one) :] == PADDING).all()
    assert data.train.widths[-1] == data.train.images.shape[1] == 24
    assert data.train.images.dtype == np.int32
    assert set(data.train.columns) == {"text", "source"}
    assert any(note.startswith("texts have") for note in data.notes)


def test_long_texts_are_cut_before_the_mark_of_their_end_and_counted(folder, tokenizer):
    data = read(folder, tokenizer, longest=10)
    assert data.train.images.shape[1] == 10
    long = data.train.lengths == 10
    assert long.any()
    assert (data.train.images[long][:, -1] == tiny_texts.WORDS.index("[SEP]")).all()
    whole = read(folder, tokenizer)
    cut = sum(int((part.lengths > 10).sum()) for part in (whole.train, whole.val, whole.test))
    assert any(note.startswith(f"{cut} texts of more than 10 tokens cut at the end") for note in data.notes)
    assert data.fingerprint != whole.fingerprint


def test_empty_texts_stop_the_run_or_are_passed_over(tmp_path, tokenizer):
    folder = tiny_texts.make_texts(tmp_path / "texts")
    with open(folder / "train.csv", "a") as file:
        file.write('"  ",good,a\n')
    with pytest.raises(SourceError, match=r"1 text cannot be used:\n  - train/98: it is empty"):
        read(folder, tokenizer)
    data = read(folder, tokenizer, on_bad_image="skip")
    assert len(data.train) == 96
    assert "skipped 1 text that cannot be used:" in data.notes


def test_the_same_text_in_two_splits_is_a_leak(tmp_path, tokenizer):
    folder = tiny_texts.make_texts(tmp_path / "texts")
    line = (folder / "train.csv").read_text().splitlines()[1]
    with open(folder / "test.csv", "a") as file:
        file.write(line + "\n")
    with pytest.raises(SourceError, match="1 text in more than one of the given splits"):
        read(folder, tokenizer)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            dict(columns=dict(text="review", label="label", group="", split="", path="path")),
            "'review' is no col",
        ),
        (
            dict(columns=dict(text="text", label="lable", group="", split="", path="path")),
            "did you mean 'label'",
        ),
        (dict(columns=dict(text="text", label="label", group="", split="source", path="path")), "keep one"),
        (dict(manifest="nowhere"), "'nowhere' is not there"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(folder, tokenizer, changes, words):
    with pytest.raises(SourceError) as error:
        read(folder, tokenizer, **changes)
    assert words in str(error.value)


def test_one_file_with_a_column_for_the_split(tmp_path, tokenizer):
    lines = ["words;verdict;part"]
    for i in range(60):
        good = i % 2
        lines.append(f"film {i} {'fine' if good else 'dull'};{good};{('training', 'dev', 'test')[i % 3]}")
    (tmp_path / "all.csv").write_text("\n".join(lines))
    columns = dict(text="words", label="verdict", split="part", group="", path="path")
    data = read(tmp_path, tokenizer, manifest=str(tmp_path / "all.csv"), columns=columns)
    assert (len(data.train), len(data.val), len(data.test)) == (20, 20, 20)
    assert data.train.ids[0] == "2"


def test_splits_are_given_to_all_or_to_none(tmp_path, tokenizer):
    lines = ["words,verdict,part", *(f"film {i},{i % 2},{'' if i == 3 else 'train'}" for i in range(9))]
    (tmp_path / "all.csv").write_text("\n".join(lines))
    columns = dict(text="words", label="verdict", split="part", group="", path="path")
    with pytest.raises(SourceError, match="empty 'part' while other rows have a split: line 5"):
        read(tmp_path, tokenizer, manifest=str(tmp_path / "all.csv"), columns=columns)


def test_no_text_to_be_predicted_is_lost(tmp_path):
    file = tmp_path / "new.csv"
    file.write_text("id,text\n1,a fine film\n2,dull, and long\n")
    with pytest.raises(SourceError, match=r"line 3: 3 cells, not 2; put quotes"):
        texts.unlabelled(file, "text")
    file.write_text('id,text\n1,a fine film\n2,"dull, and long"\n')
    assert [texts.unlabelled(file, "text").read(i, None) for i in (0, 1)] == ["a fine film", "dull, and long"]
    (tmp_path / "new.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(SourceError, match="line 1: byte 0xe9 is not UTF-8"):
        texts.unlabelled(tmp_path / "new.txt", "text")


def test_a_tokenizer_of_another_network(tokenizer):
    tokenizer.check(len(tiny_texts.WORDS), "here")
    with pytest.raises(PretrainedError, match=r"knows 25 tokens.*vocabulary of 24.*do not belong together"):
        tokenizer.check(24, "here")


def test_a_broken_tokenizer(tmp_path):
    with pytest.raises(PretrainedError, match=r"no tokenizer.json in .*data.tokenizer"):
        Tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": 3}))
    with pytest.raises(PretrainedError, match="is no tokenizer, or cut short"):
        Tokenizer(tmp_path / "tokenizer.json")
