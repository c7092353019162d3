"""Translations against their references: BLEU of what the network writes, and how well it foresaw the
reference, token by token.

All measures are functions of sums over examples, so that one resampling serves them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tl_jax.evaluation import bleu
from tl_jax.evaluation.intervals import measured, nested
from tl_jax.evaluation.metrics import Floats, ratio
from tl_jax.evaluation.statistics import Values

FORESEEN = ("token_nll", "token_hits", "tokens")
"""What a forward pass over a reference gives: sums over its tokens, and their number."""

WRITTEN = ("exact", *bleu.COUNTS)
"""What a text that was written adds: whether it is the reference, and what BLEU counts."""

COLUMNS = (*FORESEEN, *WRITTEN)

HIGHER_IS_BETTER = {"nll": False, "token_accuracy": True}
"""What `quick` measures, and so what ``select.metric`` may name."""


def quick(sums: np.ndarray) -> dict[str, float | None]:
    """NLL and accuracy of a token, from `FORESEEN` (n, 3). None where there is none or one is not finite."""
    sums = np.asarray(sums, np.float64)[:, : len(FORESEEN)].sum(axis=0)
    if not np.isfinite(sums).all() or sums[2] <= 0:
        return dict.fromkeys(HIGHER_IS_BETTER)
    return {"nll": float(sums[0] / sums[2]), "token_accuracy": float(sums[1] / sums[2])}


def with_texts(foreseen: np.ndarray, hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """`FORESEEN` (n, 3) → `COLUMNS` (n, 14) float32, by what was written and what was to be."""
    exact = [[float(one == other)] for one, other in zip(hypotheses, references, strict=True)]
    return np.hstack([foreseen, np.array(exact), bleu.counts(hypotheses, references)]).astype(np.float32)


def measure(sums: np.ndarray, groups: np.ndarray, *, names: Sequence[str], settings: Any) -> dict[str, Any]:
    """Every measure of `COLUMNS` (n, 14) with its interval over groups (n,): ``bleu`` 0…100, ``exact_match``,
    ``length_ratio`` (tokens written over tokens of the references, as BLEU counts them), ``nll`` in nats a
    token and ``token_accuracy``. The rest is as `tl_jax.evaluation.measure` has it."""
    statistics = SentenceStatistics(sums)
    entries, resampling, how = measured(statistics, groups, settings)
    for entry in entries.values():
        if entry["value"] is None:
            entry["why"] = "there is no token in any reference"
    if not np.asarray(sums)[:, -1].any():
        entries[("bleu",)]["note"] = f"no text that was written has {bleu.ORDERS} tokens, and BLEU is 0 then"
    return {
        **nested(entries, tuple(names)),
        "n": len(sums),
        "n_groups": resampling.groups,
        "counts": dict.fromkeys(names, len(sums)),
        "bleu_signature": bleu.signature(),
        "positive": None,
        "threshold": None,
        "prevalence": None,
        "interval": how,
    }


class SentenceStatistics:
    """All measures as one function of the examples' weights (n, R): overall (R,), and none by name. ``sums``
    (n, 14): `COLUMNS`."""

    def __init__(self, sums: np.ndarray) -> None:
        self.sums = np.asarray(sums, np.float64)

    def __call__(self, weights: Floats) -> tuple[Values, Values]:
        nll, hits, tokens, exact, *counted = self.sums.T @ weights
        overall = {
            "bleu": bleu.score(np.stack(counted)),
            "exact_match": ratio(exact, weights.sum(axis=0)),
            "length_ratio": ratio(counted[0], counted[1]),
            "nll": ratio(nll, tokens),
            "token_accuracy": ratio(hits, tokens),
        }
        return overall, {}
