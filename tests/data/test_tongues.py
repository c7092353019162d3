"""The invented tongues: the same for everybody, and not to be translated word by word."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from tokenizers import Tokenizer

from tl_jax.data.sources.errors import SourceError
from tl_jax.data.tongues import TOKENIZER_FOLDER, pairs, source
from tl_jax.data.tongues.tokens import END, TO, make
from tl_jax.data.tongues.words import REPLACED, SHIFTS, stems
from tl_jax.pretrained.tokenizer import TOKENIZER


def config(name: str, seed: int = 0):
    return SimpleNamespace(name=name, split_seed=seed)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(TOKENIZER_FOLDER / TOKENIZER))


def test_pairs_are_a_function_of_the_seed():
    table, again = source(config("valley/50")), source(config("valley/50"))
    assert [table.read(i, None) for i in range(9)] == [again.read(i, None) for i in range(9)]
    assert source(config("valley/50", 1)).read(0, None) != table.read(0, None)
    assert dict(zip(*np.unique(table.splits, return_counts=True), strict=True)) == {
        "train": 50,
        "val": 300,
        "test": 1000,
    }


def test_more_pairs_for_training_begin_with_the_fewer():
    assert pairs("valley", 200, "train", 0)[:50] == pairs("valley", 50, "train", 0)


def test_no_sentence_is_in_two_splits_nor_written_in_the_pairs_of_two_tongues():
    found = [
        {pair.target for pair in pairs(tongue, 300, split, 0)}
        for tongue in ("lowland", "valley")
        for split in ("train", "val", "test")
    ]
    assert len(set.union(*found)) == sum(map(len, found))


@pytest.mark.parametrize("tongue", ["lowland", "valley"])
def test_a_translation_copies_no_word_and_keeps_no_order(tongue):
    words, written = stems(tongue, 0), stems("highland", 0)
    kept = moved = 0
    for pair in pairs(tongue, 300, "train", 0):
        read, wrote = pair.text.split()[:-1], pair.target.split()[:-1]
        assert not set(read) & set(wrote)
        nouns = [i for word in read for i, stem in enumerate(words.nouns) if word.startswith(stem)]
        theirs = [i for word in wrote for i, stem in enumerate(written.nouns) if word.startswith(stem)]
        assert sorted(nouns) == sorted(theirs)
        kept, moved = kept + (nouns == theirs), moved + (len(nouns) > 1)
    assert moved > 150
    assert kept < 170


def test_a_verb_agrees_with_the_gender_of_its_subject():
    """Which lowland does not tell: its subject comes first, without an ending for it."""
    low = stems("lowland", 0).nouns
    endings = set()
    for pair in pairs("lowland", 300, "train", 0):
        subject = next(i for word in pair.text.split() for i, stem in enumerate(low) if word.startswith(stem))
        ending = pair.target.split()[-2].removesuffix("s")[-1]
        assert ending == "aiu"[subject % 3]
        endings.add(ending)
    assert endings == set("aiu")


def test_valley_is_related_to_lowland():
    low, down = stems("lowland", 0), stems("valley", 0)
    same = [a.translate(SHIFTS) == b for a, b in zip(low.nouns, down.nouns, strict=True)]
    assert sum(same) == len(same) - len(range(0, len(same), REPLACED))


def test_the_tokenizer_of_the_package_is_made_again_to_the_bit(tmp_path):
    made = make(tmp_path)
    assert made.read_bytes() == (TOKENIZER_FOLDER / TOKENIZER).read_bytes()


def test_the_tokenizer_loses_nothing(tokenizer):
    assert (tokenizer.token_to_id(END), tokenizer.token_to_id(TO)) == (0, 1)
    for tongue in ("lowland", "valley"):
        for pair in pairs(tongue, 100, "test", 0):
            for text in pair:
                assert tokenizer.decode(tokenizer.encode(text).ids) == text


@pytest.mark.parametrize("name", ["", "valley", "valley/0", "valley/x", "plain/5"])
def test_another_name_is_refused(name):
    with pytest.raises(SourceError, match="such as 'valley/600'"):
        source(config(name))
