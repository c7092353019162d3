"""How good the test scores are, in pictures: ranking, calibration, and how far apart the classes lie."""

from __future__ import annotations

from typing import Any

import numpy as np

from tl_jax.evaluation import curves, metrics, probabilities
from tl_jax.evaluation.curves import PLACES, Curve
from tl_jax.evaluation.decision import decide
from tl_jax.evaluation.ranking import auroc
from tl_jax.report.colours import DARK, INK, MARK, MUTED, colours
from tl_jax.report.evidence import Evidence
from tl_jax.report.picture import Picture, panel

MOST_CURVES = 6
"""Of more classes, those with the lowest AUROC are drawn."""

_SIZE = (3.5, 3.0)
_LONGEST = 24
"""Letters of a class that a legend has room for."""
_BAND = f"Shaded: pointwise 95 % band, {curves.REPLICATES} resamples of groups."
_BINS = 20


class Quality:
    """Of the test split: ``raw`` and ``calibrated`` probabilities (n, K), and what was ``decided`` (n,)."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence, self.scores, self.decision = evidence, evidence.test, evidence.decision
        self.raw = np.exp(metrics.log_softmax(self.scores.logits))
        self.calibrated = probabilities(self.scores.logits, self.decision)
        self.decided = decide(self.calibrated, self.decision)
        self.margins = metrics.margins(self.scores.logits)
        self.two = len(evidence.classes) == 2
        self.drawn = self._drawn()

    def _drawn(self) -> list[int]:
        """The classes that have curves."""
        labels, k = self.scores.labels, len(self.evidence.classes)
        wanted = [self.decision.positive] if self.two else range(k)
        there = [c for c in wanted if 0 < (labels == c).sum() < len(labels)]
        if len(there) <= MOST_CURVES:
            return there
        areas = {c: float(auroc(self.margins[:, c], labels == c)) for c in there}
        return sorted(sorted(there, key=lambda c: areas[c])[:MOST_CURVES])

    def ranking(self) -> list[Picture]:
        """ROC and precision-recall; none where no class has examples and a rest."""
        if not self.drawn:
            return []
        roc = Picture("roc", "ROC", self._alt("ROC curve", "auroc", "AUROC"), self._caption())
        precision = Picture(
            "precision",
            "Precision and recall",
            self._alt("Precision-recall curve", "average_precision", "average precision"),
            "Dotted: what chance would give. " + self._caption(),
        )
        labels = self.scores.labels
        # Bands of several curves would hide each other.
        groups = self.scores.groups if len(self.drawn) == 1 else None
        with panel(roc, size=_SIZE) as axes:
            axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
            for c, colour in zip(self.drawn, colours(len(self.drawn)), strict=True):
                _draw(axes, curves.roc(self.margins[:, c], labels == c, groups), colour, self._short(c))
            self._point(axes, lambda true, false: (false, true))
            _square(axes, "1 - specificity", "sensitivity", legend=not self.two)
        with panel(precision, size=_SIZE) as axes:
            for c, colour in zip(self.drawn, colours(len(self.drawn)), strict=True):
                curve = curves.precision_recall(self.margins[:, c], labels == c, groups)
                _draw(axes, curve, colour, self._short(c))
                axes.axhline((labels == c).mean(), color=colour, linewidth=0.8, linestyle=":")
            self._point(axes, lambda true, false: (true, self._ppv()))
            _square(axes, "recall (sensitivity)", "precision (PPV)", legend=not self.two)
        return [roc, precision]

    def _name(self, c: int) -> str:
        return self.evidence.classes[c]

    def _short(self, c: int) -> str:
        name = self._name(c)
        return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"

    def _alt(self, kind: str, measure: str, called: str) -> str:
        entry = self.evidence.result["test"].get(measure, {"value": None})
        value = "is undefined" if entry["value"] is None else f"{entry['value']:.3f}"
        of = f" of {self._name(self.decision.positive)}" if self.two else f" of {len(self.drawn)} classes"
        return f"{kind}{of} on the test split; {called} {value}."

    def _caption(self) -> str:
        if self.two:
            return f"Dot: the operating point. {_BAND}"
        k = len(self.evidence.classes)
        few = f" The {len(self.drawn)} of {k} with the lowest AUROC." if len(self.drawn) < k else ""
        return f"Each class against the rest.{few}"

    def _point(self, axes: Any, place: Any) -> None:
        """Where the decision lies on a curve of two classes."""
        if not self.two:
            return
        wanted = self.scores.labels == self.decision.positive
        called = self.decided == self.decision.positive
        x, y = place(float(called[wanted].mean()), float(called[~wanted].mean()))
        if np.isfinite([x, y]).all():
            axes.plot(x, y, "o", color=MARK, markersize=8, zorder=5)

    def _ppv(self) -> float:
        called = self.scores.labels[self.decided == self.decision.positive]
        return float((called == self.decision.positive).mean()) if len(called) else np.nan

    def reliability(self) -> Picture:
        """Before and after calibration; the size of a dot tells how many pictures it stands for."""
        measures = self.evidence.result["test"]
        told = [f"{measures[name]['value']:.3f}" for name in ("ece", "ece_calibrated")]
        what = f"probability of {self._short(self.decision.positive)}" if self.two else "highest probability"
        picture = Picture(
            "reliability",
            "Reliability",
            f"Reliability diagram of the test split: the {what} against how often it is right. ECE "
            f"{told[0]} before calibration and {told[1]} after.",
            f"On the diagonal, of pictures given 70 % about 70 % are so. ECE {told[0]} before, {told[1]} "
            "after. Bars: 95 % over groups; larger dots, more pictures.",
        )
        kinds = (("before", self.raw, MARK), ("after", self.calibrated, DARK))
        with panel(picture, size=_SIZE) as axes:
            axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
            for label, found, colour in kinds:
                confidence = metrics.confidence(found, self.scores.labels, self.decision.positive)
                one = curves.reliability(*confidence, self.scores.groups)
                axes.plot(one.probability, one.share, color=colour, linewidth=1, alpha=0.35)
                axes.vlines(one.probability, one.low, one.high, color=colour, linewidth=1, alpha=0.6)
                sizes = 10 + 150 * one.count / one.count.sum()
                axes.scatter(one.probability, one.share, s=sizes, color=colour, zorder=3, label=label)
            _square(axes, what, "share that is so", legend=True)
        return picture

    def histogram(self) -> Picture:
        """Two classes: calibrated probabilities by truth. More: the highest one, right and wrong."""
        if self.two:
            positive = self.decision.positive
            values, what = self.calibrated[:, positive], f"calibrated probability of {self._short(positive)}"
            parts = {self._short(c): self.scores.labels == c for c in (1 - positive, positive)}
        else:
            values, what = self.calibrated.max(axis=1), "highest calibrated probability"
            right = self.decided == self.scores.labels
            parts = {"right": right, "wrong": ~right}
        picture = Picture(
            "scores",
            "Scores",
            f"Histogram of the {what} of test pictures, "
            + ", ".join(f"{name} median {_median(values[rows])}" for name, rows in parts.items())
            + ".",
            "Share of each kind's test pictures." + (" Dashed: the threshold." if self.two else ""),
        )
        edges = np.linspace(0, 1, _BINS + 1)
        with panel(picture, size=_SIZE) as axes:
            for (name, rows), colour in zip(parts.items(), (DARK, MARK), strict=True):
                if rows.any():
                    shares = np.histogram(values[rows], edges)[0] / rows.sum()
                    axes.stairs(shares, edges, fill=True, color=colour, alpha=0.35)
                    axes.stairs(shares, edges, color=colour, linewidth=1.4, label=f"{name} ({rows.sum():,})")
            if self.decision.threshold is not None:
                axes.axvline(min(self.decision.threshold, 1.0), color=INK, linewidth=1, linestyle="--")
            axes.set_xlim(0, 1)
            axes.set_xlabel(what)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
            if axes.get_legend_handles_labels()[0]:
                axes.legend()
        return picture


def _median(values: np.ndarray) -> str:
    return f"{np.median(values):.2f}" if len(values) else "unknown"


def _draw(axes: Any, curve: Curve, colour: str, name: str) -> None:
    if curve.low is not None:
        axes.fill_between(PLACES, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(curve.x, curve.y, color=colour, label=name)


def _square(axes: Any, x: str, y: str, *, legend: bool) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if legend:
        axes.legend()
