"""The confusion matrix of the test split, shaded by the share of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tl_jax.report.evidence import Evidence
from tl_jax.report.table import Column, Table

MOST = 20
"""Of more classes the commonest mistakes are listed in the place of a matrix."""


@dataclass(frozen=True)
class Confusion:
    """``rows``: a class, its count, and for each decision (count, share of the class, whether it is right).
    ``mistakes`` in the place of rows where there are very many classes."""

    classes: Sequence[str]
    rows: Sequence[tuple[str, int, Sequence[tuple[int, float, bool]]]]
    mistakes: Table | None = None


def confusion(evidence: Evidence) -> Confusion:
    """At the threshold; of more than two classes, for the most probable."""
    found = evidence.result["test"]["confusion"]
    matrix = found["at_threshold" if "at_threshold" in found else "argmax_calibrated"]
    classes = evidence.classes
    if len(classes) > MOST:
        wrong = [
            (count, count / sum(row), truth, decided)
            for truth, row in enumerate(matrix)
            for decided, count in enumerate(row)
            if count and truth != decided
        ]
        rows = [
            [classes[truth], classes[decided], count, share]
            for count, share, truth, decided in sorted(wrong, reverse=True)[:MOST]
        ]
        columns = [Column("truth"), Column("decision"), Column("pictures"), Column("share", form=".1%")]
        return Confusion(classes, (), Table(columns, rows, f"The {len(rows)} commonest mistakes"))
    made = []
    for truth, row in enumerate(matrix):
        n = sum(row)
        cells = [(count, count / n if n else 0.0, truth == decided) for decided, count in enumerate(row)]
        made.append((classes[truth], n, cells))
    return Confusion(classes, made)
