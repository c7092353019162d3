"""What a report shows of texts that the network wrote: which lengths it does well on, and some of them."""

from __future__ import annotations

import numpy as np

from tl_jax.evaluation import bleu
from tl_jax.evaluation.translations import COLUMNS
from tl_jax.report.colours import DARK
from tl_jax.report.evidence import Evidence
from tl_jax.report.examples import EACH, Example, Kind
from tl_jax.report.picture import Picture, panel

_FIRST = COLUMNS.index("hypothesis_length")
_GROUPS = 5
_SIZE = (3.5, 3.0)


def pictures(evidence: Evidence) -> list[Picture]:
    """BLEU of the test split by the length of the reference."""
    logits = np.asarray(evidence.test.logits, np.float64)
    lengths = logits[:, COLUMNS.index("reference_length")]
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, _GROUPS + 1)).round())
    group = np.clip(np.searchsorted(edges, lengths, side="left"), 1, max(len(edges) - 1, 1))
    rows = [np.flatnonzero(group == number) for number in np.unique(group)]
    names = [_range(lengths[some]) for some in rows]
    scores = [float(bleu.score(logits[some, _FIRST:].sum(axis=0)[:, None])[0]) for some in rows]
    told = ", ".join(f"{name} {score:.1f}" for name, score in zip(names, scores, strict=True))
    counts = ", ".join(f"{len(some)}" for some in rows)
    picture = Picture(
        "lengths",
        "BLEU by length",
        f"Bars of BLEU on the test split by the length of the reference in tokens: {told}.",
        f"Of {counts} pairs, from the shortest references to the longest.",
    )
    with panel(picture, size=_SIZE) as axes:
        axes.bar(range(len(scores)), scores, color=DARK, width=0.7)
        axes.set_xticks(range(len(scores)), names)
        axes.set_ylim(0, 100)
        axes.set_xlabel("tokens of the reference")
        axes.set_ylabel("BLEU")
    return [picture]


def kinds(evidence: Evidence) -> list[Kind]:
    """Test pairs that the network foresaw worst, the nearest misses, and the longest that it wrote as the
    reference has them."""
    words = evidence.written
    if words is None:
        return []
    logits = np.asarray(evidence.test.logits, np.float64)
    each = logits[:, 0] / np.maximum(logits[:, 2], 1)
    exact = logits[:, COLUMNS.index("exact")] == 1
    wrong, right = np.flatnonzero(~exact), np.flatnonzero(exact)
    order = wrong[np.argsort(-each[wrong], kind="stable")]
    longest = right[np.argsort(-logits[right, 2], kind="stable")]
    chosen = {
        "wrong": (
            "Least foreseen",
            f"{len(wrong):,} of {len(exact):,} texts are not the reference.",
            order[:EACH],
        ),
        "near": (
            "Nearly right",
            "Foreseen well, and yet another text was written.",
            order[EACH:][::-1][:EACH],
        ),
        "right": ("As the reference", "The longest of them.", longest[:EACH]),
    }

    def example(row: int) -> Example:
        return Example(
            id=str(evidence.test.ids[row]),
            truth=words["reference"][row],
            decided=words["hypothesis"][row] or "(nothing)",
            right=bool(exact[row]),
            text=words["source"][row],
        )

    return [Kind(title, about, [example(int(row)) for row in rows]) for title, about, rows in chosen.values()]


def _range(lengths: np.ndarray) -> str:
    low, high = int(lengths.min()), int(lengths.max())
    return f"{low}" if low == high else f"{low}–{high}"
