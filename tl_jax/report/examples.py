"""Single test examples worth a look: where the network errs, doubts, and is sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tl_jax.report import images
from tl_jax.report.evidence import Evidence
from tl_jax.report.quality import Quality

EACH = 4
"""Pictures of a kind. All kinds together stay below the rows of one pass of the heat maps."""


@dataclass(frozen=True)
class Example:
    """``picture`` and ``heat`` are data addresses, "" of a ``text``; ``probability`` (calibrated) is that of
    ``decided``, None where that has none; ``right``: whether it is, None where that is a matter of degree."""

    id: str
    truth: str
    decided: str
    right: bool | None
    probability: float | None = None
    picture: str = ""
    heat: str = ""
    text: str = ""


@dataclass(frozen=True)
class Kind:
    title: str
    about: str
    examples: Sequence[Example]


def choose(quality: Quality, each: int = EACH) -> dict[str, np.ndarray]:
    """Rows of the test split, at most ``each`` under ``wrong``, ``unsure`` and ``sure``; no row twice.

    Wrong: the lowest probability of the truth among wrong decisions. Unsure: nearest to the decision going
    the other way, in log-odds. Sure: the farthest from that.
    """
    p = np.clip(quality.calibrated, 1e-15, None)
    rows, decision = np.arange(len(p)), quality.decision
    if decision.threshold is not None:
        odds = np.log(p[:, decision.positive]) - np.log(p[:, 1 - decision.positive])
        limit = np.clip(decision.threshold, 1e-15, 1 - 1e-15)
        doubt = np.abs(odds - np.log(limit) + np.log1p(-limit))
    else:
        first, second = np.sort(p, axis=1)[:, :-3:-1].T
        doubt = np.log(first) - np.log(second)
    wrong = rows[quality.decided != quality.scores.labels]
    order = np.argsort(p[wrong, quality.scores.labels[wrong]], kind="stable")
    found = {"wrong": wrong[order][:each]}
    rest = np.setdiff1d(rows, found["wrong"])
    found["unsure"] = rest[np.argsort(doubt[rest], kind="stable")][:each]
    rest = np.setdiff1d(rest, found["unsure"])
    found["sure"] = rest[np.argsort(-doubt[rest], kind="stable")][:each]
    return found


def kinds(evidence: Evidence, quality: Quality) -> list[Kind]:
    """With their pictures and heat maps of the class decided, or their texts; none where there is neither."""
    chosen = choose(quality)
    rows = np.concatenate(list(chosen.values()))
    if not len(rows):
        return []
    looks = shown(evidence, rows, quality.decided[rows])
    if not looks:
        return []
    made = {
        row: _example(evidence, quality, row, **how) for row, how in zip(rows.tolist(), looks, strict=True)
    }
    errors = int((quality.decided != quality.scores.labels).sum())
    about = {
        "wrong": (
            "Most wrong",
            f"{errors:,} of {len(quality.decided):,} decisions are wrong."
            if errors
            else "No decision on the test split is wrong.",
        ),
        "unsure": ("Least sure", "A little more or less, and the decision would be another."),
        "sure": ("Most sure", "Farthest from another decision."),
    }
    return [Kind(*about[name], [made[int(row)] for row in some]) for name, some in chosen.items()]


def shown(evidence: Evidence, rows: np.ndarray, pointed: np.ndarray) -> list[dict[str, Any]]:
    """Fields of an `Example` for test rows (m,): pictures with heat maps of the outputs ``pointed`` (m,), or
    texts; none where there is neither."""
    if evidence.pictures is not None:
        found = evidence.pictures.test(rows)
        maps = evidence.pictures.heat(found, pointed)
        return [
            {"picture": images.data(image), "heat": images.data(images.overlay(image, heat))}
            for image, heat in zip(found, maps, strict=True)
        ]
    return [] if evidence.words is None else [{"text": text} for text in evidence.words(rows)]


def _example(evidence: Evidence, quality: Quality, row: int, **looks: Any) -> Example:
    decided = int(quality.decided[row])
    truth = int(quality.scores.labels[row])
    return Example(
        id=str(evidence.test.ids[row]),
        truth=evidence.classes[truth],
        decided=evidence.classes[decided],
        right=decided == truth,
        probability=float(quality.calibrated[row, decided]),
        **looks,
    )
