"""What a report shows of findings and of numbers in the place of one class an example."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tl_jax.evaluation import curves, findings
from tl_jax.evaluation.ranking import auroc
from tl_jax.evaluation.table import each_of, several
from tl_jax.report.colours import DARK, MARK, MUTED, colours
from tl_jax.report.evidence import Evidence
from tl_jax.report.examples import EACH, Example, Kind, shown
from tl_jax.report.picture import Picture, panel
from tl_jax.report.table import Column, Estimate, Table

MOST_CURVES = 6
"""Of more findings, those with the lowest AUROC are drawn."""

_SIZE = (3.5, 3.0)


def pictures(evidence: Evidence) -> list[Picture]:
    """Of the test split: how findings are ranked, or how predicted numbers lie to true ones."""
    if evidence.task.kind == "multi_label":
        return list(_rankings(evidence))
    return [_scatter(evidence, t) for t in range(min(len(evidence.classes), MOST_CURVES))]


def by_name(evidence: Evidence) -> Table:
    """A row a finding or number."""
    test = evidence.result["test"]
    names = each_of(test)
    called = "finding" if evidence.task.kind == "multi_label" else "number"
    columns = [Column(called), Column("n"), *(Column(name, several(name)) for name in names)]
    rows = [
        [name, test["counts"][name], *(Estimate.of(test["per_class"][name][one]) for one in names)]
        for name in evidence.classes
    ]
    return Table(columns, rows, f"Each {called}, test")


def kinds(evidence: Evidence) -> list[Kind]:
    """The examples of the test split that the network gets most wrong, and most right."""
    error, truth, answers = _answers(evidence)
    known = np.flatnonzero(~np.isnan(error))
    order = known[np.argsort(-error[known], kind="stable")]
    chosen = {"wrong": order[:EACH], "right": order[EACH:][::-1][:EACH]}
    rows = np.concatenate(list(chosen.values()))
    looks = shown(evidence, rows, evidence.task.pointed(evidence.test.logits[rows], evidence.decision))
    if not looks:
        return []
    made = {
        int(row): Example(
            id=str(evidence.test.ids[row]), truth=truth[row], decided=answers[row], right=None, **how
        )
        for row, how in zip(rows, looks, strict=True)
    }
    about = {
        "wrong": ("Most wrong", "Farthest from the truth, over all that is known of them."),
        "right": ("Most right", "Nearest to the truth."),
    }
    return [Kind(*about[name], [made[int(row)] for row in some]) for name, some in chosen.items()]


def _answers(evidence: Evidence) -> tuple[np.ndarray, list[str], list[str]]:
    """An error (n,) for each example, NaN where nothing is known, and what is true and predicted in words."""
    labels, logits = evidence.test.labels, np.asarray(evidence.test.logits)
    names, known = evidence.classes, ~np.isnan(labels)
    if evidence.task.kind == "multi_label":
        each = np.logaddexp(0, np.where(labels == 1, -logits, logits))
        called = findings.decided(logits, evidence.decision)
        answers = [_present(row == 1, names) for row in called]
        truth = [_present(row == 1, names) for row in labels]
    else:
        each = np.abs(logits - labels) / np.nanstd(labels, axis=0)
        answers, truth = [_numbers(row, names) for row in logits], [_numbers(row, names) for row in labels]
    sums = np.where(known, each, 0).sum(axis=1)
    return np.where(known.any(axis=1), sums / np.maximum(known.sum(axis=1), 1), np.nan), truth, answers


def _present(row: np.ndarray, names: list[str]) -> str:
    return ", ".join(name for name, there in zip(names, row, strict=True) if there) or "none"


def _numbers(row: np.ndarray, names: list[str]) -> str:
    told = ["unknown" if value != value else f"{value:.4g}" for value in row]
    if len(names) == 1:
        return told[0]
    return ", ".join(f"{name} {text}" for name, text in zip(names, told, strict=True))


def _rankings(evidence: Evidence) -> Iterator[Picture]:
    labels, logits = evidence.test.labels, np.asarray(evidence.test.logits, np.float64)
    there = [k for k in range(labels.shape[1]) if {0.0, 1.0} <= set(labels[:, k].tolist())]
    if not there:
        return
    rows = {k: ~np.isnan(labels[:, k]) for k in there}
    areas = {k: float(auroc(logits[rows[k], k], labels[rows[k], k] == 1)) for k in there}
    drawn = sorted(sorted(there, key=lambda k: areas[k])[:MOST_CURVES])
    few = f" The {len(drawn)} of {len(there)} with the lowest AUROC." if len(drawn) < len(there) else ""
    told = ", ".join(f"{evidence.classes[k]} {areas[k]:.3f}" for k in drawn)
    for name, title, curve, axes_names in (
        ("roc", "ROC", curves.roc, ("1 - specificity", "sensitivity")),
        ("precision", "Precision and recall", curves.precision_recall, ("recall", "precision (PPV)")),
    ):
        alt = f"{title} of {len(drawn)} findings on the test split; AUROC: {told}."
        picture = Picture(name, title, alt, f"Each finding where it is known.{few}")
        with panel(picture, size=_SIZE) as axes:
            for k, colour in zip(drawn, colours(len(drawn)), strict=True):
                one = curve(logits[rows[k], k], labels[rows[k], k] == 1)
                axes.plot(one.x, one.y, color=colour, label=evidence.classes[k])
            _limits(axes, axes_names)
        yield picture


def _limits(axes: Any, names: tuple[str, str]) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.legend()


def _scatter(evidence: Evidence, t: int) -> Picture:
    """Predicted against true numbers, with the band that holds 95 % of truths."""
    name, half = evidence.classes[t], evidence.decision.half[t]
    truth, predicted = evidence.test.labels[:, t], np.asarray(evidence.test.logits)[:, t]
    known = ~np.isnan(truth)
    truth, predicted = truth[known], predicted[known]
    entry = evidence.result["test"]["per_class"][name]["rmse"]
    error = "undefined" if entry["value"] is None else f"{entry['value']:.4g}"
    band = "" if half is None else f" Band: ± {half:.4g}, which held 95 % on validation."
    picture = Picture(
        f"scatter-{t}",
        name,
        f"Scatter plot of predicted against true {name} of {len(truth)} test examples; RMSE {error}.",
        f"On the line, a prediction is right.{band}",
    )
    with panel(picture, size=_SIZE) as axes:
        if len(truth):
            ends = np.array([min(truth.min(), predicted.min()), max(truth.max(), predicted.max())])
            axes.plot(ends, ends, color=MUTED, linewidth=1, linestyle=":")
            if half is not None:
                axes.fill_between(ends, ends - half, ends + half, color=MARK, alpha=0.15, linewidth=0)
            axes.scatter(truth, predicted, s=14, color=DARK, alpha=0.6, linewidths=0)
        axes.set_xlabel(f"true {name}")
        axes.set_ylabel(f"predicted {name}")
    return picture
