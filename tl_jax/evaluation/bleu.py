"""BLEU (Papineni et al. 2002) as sacrebleu has it (Post 2018, arXiv:1804.08771), by parts that can be summed.

Sacrebleu splits sentences into tokens ("13a") and counts their n-grams, sentence by sentence; the counts are
what is kept. The score of a corpus is a function of their sums, so that resampled corpora cost an addition.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tl_jax.evaluation.metrics import Floats

ORDERS = 4
COUNTS = (
    "hypothesis_length",
    "reference_length",
    *(f"matches_{n + 1}" for n in range(ORDERS)),
    *(f"ngrams_{n + 1}" for n in range(ORDERS)),
)
"""What is counted of a sentence: tokens of both sides, and n-grams of the hypothesis: found in the reference,
and all."""


def counts(hypotheses: Sequence[str], references: Sequence[str]) -> Floats:
    """`COUNTS` of each pair, (n, 10). Raises ImportError that says how to get sacrebleu."""
    metric = _metric(effective_order=True)  # of a sentence; it changes no count
    rows = []
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        found = metric.sentence_score(hypothesis, [reference])
        rows.append([found.sys_len, found.ref_len, *found.counts, *found.totals])
    return np.array(rows, np.float64).reshape(-1, len(COUNTS))


def score(sums: Floats) -> Floats:
    """BLEU, 0…100, of summed counts (10, R): (R,). An order without a match counts as half a match, the next
    one as a quarter, … ("exp" of sacrebleu); without any match the score is 0, and NaN without a
    reference."""
    ours, theirs, matches, ngrams = sums[0], sums[1], sums[2 : 2 + ORDERS], sums[2 + ORDERS :]
    empty = matches <= 0
    smoothed = 0.5 ** np.cumsum(empty, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.where(empty, smoothed, matches) / ngrams)
        short = np.where(ours < theirs, np.exp(1 - theirs / ours), 1.0)
        found = 100 * short * np.exp(logs.mean(axis=0))
    found = np.where((matches.sum(axis=0) > 0) & (ngrams > 0).all(axis=0), found, 0.0)
    return np.where(theirs > 0, found, np.nan)


def signature() -> str:
    """How sacrebleu counts, and its version: what must stand beside a score."""
    metric = _metric()
    metric.corpus_score(["a"], [["a"]])  # it knows the number of references only then
    return str(metric.get_signature())


def _metric(*, effective_order: bool = False) -> Any:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise ImportError(
            "translations are measured by sacrebleu, which is not there: pip install 'tl_jax[translation]'"
        ) from error
    return BLEU(effective_order=effective_order)
