"""BLEU by sums, against sacrebleu's own score of the same corpus."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU

from tl_jax.evaluation import bleu

WORDS = ("the", "cat", "sat", "on", "a", "mat", "dog", "ran", ",", "far", "today.", "it's")


def corpus(n: int, wrong: float, seed: int = 0) -> tuple[list[str], list[str]]:
    """Hypotheses and references: some words are others, some are left out."""
    random = np.random.default_rng(seed)
    hypotheses, references = [], []
    for _ in range(n):
        words = random.choice(WORDS, random.integers(1, 14)).tolist()
        references.append(" ".join(words))
        told = [str(random.choice(WORDS)) if random.random() < wrong else word for word in words]
        hypotheses.append(" ".join(word for word in told if random.random() > wrong / 3))
    return hypotheses, references


@pytest.mark.parametrize("wrong", [0.0, 0.2, 0.6, 0.95])
@pytest.mark.parametrize("n", [1, 3, 60])
def test_the_score_of_the_sums_is_that_of_the_corpus(n, wrong):
    hypotheses, references = corpus(n, wrong, seed=n)
    wanted = BLEU().corpus_score(hypotheses, [references])
    sums = bleu.counts(hypotheses, references).sum(axis=0)
    assert sums.tolist() == [wanted.sys_len, wanted.ref_len, *wanted.counts, *wanted.totals]
    np.testing.assert_allclose(bleu.score(sums[:, None]), [wanted.score], rtol=1e-9, atol=1e-9)


def test_weights_are_copies_of_sentences():
    hypotheses, references = corpus(40, 0.3)
    weights = np.random.default_rng(1).integers(0, 3, (40, 5))
    found = bleu.score(bleu.counts(hypotheses, references).T @ weights)
    for column, times in enumerate(weights.T):
        rows = np.repeat(np.arange(40), times)
        wanted = BLEU().corpus_score([hypotheses[i] for i in rows], [[references[i] for i in rows]])
        np.testing.assert_allclose(found[column], wanted.score, rtol=1e-9)


@pytest.mark.parametrize(
    ("hypothesis", "reference"),
    [("", "a cat sat"), ("dog", "a cat sat"), ("a cat", "a cat"), ("a cat sat on", "a cat sat on")],
)
def test_texts_that_are_short_or_empty(hypothesis, reference):
    wanted = BLEU().corpus_score([hypothesis], [[reference]]).score
    assert bleu.score(bleu.counts([hypothesis], [reference]).T)[0] == pytest.approx(wanted, abs=1e-9)


def test_nothing_to_compare_with_has_no_score():
    assert np.isnan(bleu.score(np.zeros((len(bleu.COUNTS), 1))))[0]


def test_how_it_is_counted_is_told():
    assert "tok:13a|smooth:exp|version:" in bleu.signature()


def test_without_sacrebleu_it_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **options):
        if name.startswith("sacrebleu"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"pip install 'tl_jax\[translation\]'"):
        bleu.counts(["a"], ["a"])
