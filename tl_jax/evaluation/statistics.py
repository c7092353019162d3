"""All measures of one evaluation as one function of the examples' weights.

The sample is looked at once: sums over examples become one sparse matrix, orders are sorted. After that
the sample itself (weights of one) and every bootstrap replicate go through the same few products.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tl_jax.evaluation import metrics
from tl_jax.evaluation.decision import Decision, decide, probabilities
from tl_jax.evaluation.metrics import ECE_BINS, Counts, Floats, ratio
from tl_jax.evaluation.ranking import Ranking

Values = dict[str, Floats]

OF_DECISIONS: dict[str, Callable[[Counts], Floats]] = {
    "accuracy": metrics.accuracies,
    "sensitivity": metrics.sensitivity,
    "specificity": metrics.specificity,
    "ppv": metrics.ppv,
    "npv": metrics.npv,
    "f1": metrics.f1,
}
"""What is measured of the decision about each class against the rest."""


class Statistics:
    """Of logits (n, K) float64, labels (n,) and a decision.

    ``over``: for each measure, which classes (K,) it is defined for in the sample; overall values of more
    than two classes are means over these. ``ranked``: with AUROC and average precision, which take the time
    and the memory when there are very many classes.
    """

    def __init__(
        self, logits: Floats, labels: NDArray, decision: Decision, prevalence: float, *, ranked: bool = True
    ) -> None:
        self.n, self.k = logits.shape
        self.decision, self.prevalence = decision, prevalence
        raw, calibrated = np.exp(metrics.log_softmax(logits)), probabilities(logits, decision)
        self.at_half, self.decided = logits.argmax(axis=1), decide(calibrated, decision)
        self.labels = labels
        margins = metrics.margins(logits)
        each = np.arange(self.k)
        truth = labels[:, None] == each
        self.rankings = [Ranking(margins[:, c], truth[:, c]) for c in each] if ranked else []

        sums = self._sums = _Sums(self.n)
        sums.groups("actual", labels, self.k)
        for name, called in (("half", self.at_half), ("decided", self.decided)):
            sums.groups(f"{name}/called", called, self.k)
            right = np.flatnonzero(called == labels)
            sums.groups(f"{name}/hits", labels[right], self.k, at=right)
        rescaled = logits * decision.scale + np.asarray(decision.bias)
        for suffix, scores, p in (("", logits, raw), ("_calibrated", rescaled, calibrated)):
            sums.single(f"nll{suffix}", metrics.nll_each(scores, labels))
            sums.single(f"brier{suffix}", metrics.brier_each(p, labels))
            sums.gaps(f"ece{suffix}", *metrics.confidence(p, labels, decision.positive))
        for c in each if ranked else ():
            against = np.where(truth[:, c], -margins[:, c], margins[:, c])
            sums.single(f"{c}/nll", np.logaddexp(0, against))
            sums.single(f"{c}/brier", (raw[:, c] - truth[:, c]) ** 2)
            sums.gaps(f"{c}/ece", raw[:, c], truth[:, c])
        sums.close()

        point = self._per_class(self._sums(np.ones((self.n, 1))), np.ones((self.n, 1)))
        self.over = {name: ~np.isnan(values[:, 0]) for name, values in point.items()}

    def __call__(self, weights: Floats) -> tuple[Values, Values]:
        """(overall: name → (R,), per class: name → (K, R)) for weights (n, R)."""
        sums = self._sums(weights)
        per_class = self._per_class(sums, weights)
        half, decided = self._counts(sums, "half"), self._counts(sums, "decided")
        overall = {"accuracy": metrics.accuracy(half)}
        if self.k == 2:
            overall |= self._two_classes(per_class, half, decided, weights)
        else:
            overall |= self._more_classes(per_class, decided)
        for name in ("nll", "brier", "ece"):
            for suffix in ("", "_calibrated"):
                overall[name + suffix] = self._mean(sums, name + suffix, decided.total)
        return overall, per_class

    def _two_classes(self, per_class: Values, half: Counts, decided: Counts, weights: Floats) -> Values:
        positive, at_half = self.decision.positive, ("sensitivity", "specificity")
        found = {"accuracy_at_threshold": metrics.accuracy(decided)}
        found["balanced_accuracy"] = self._balanced(decided)
        found |= {name: per_class[name][positive] for name in ("auroc", "average_precision")}
        found["sensitivity_at_95_specificity"] = self.rankings[positive].sensitivity_at(0.95, weights)
        found |= {name: per_class[name][positive] for name in OF_DECISIONS if name != "accuracy"}
        found["f1_macro"] = metrics.macro(per_class["f1"], self.over["f1"])
        found["balanced_accuracy_at_0.5"] = self._balanced(half)
        found |= {f"{name}_at_0.5": OF_DECISIONS[name](half)[positive] for name in at_half}
        if self.prevalence >= 0:
            rates = found["sensitivity"], found["specificity"]
            found["ppv_at_prevalence"] = metrics.ppv_at(*rates, self.prevalence)
            found["npv_at_prevalence"] = metrics.npv_at(*rates, self.prevalence)
        return found

    def _more_classes(self, per_class: Values, decided: Counts) -> Values:
        found = {
            "accuracy_calibrated": metrics.accuracy(decided),
            "balanced_accuracy": self._balanced(decided),
        }
        names = ("auroc", "average_precision", *(name for name in OF_DECISIONS if name != "accuracy"))
        return found | {
            name: metrics.macro(per_class[name], self.over[name]) for name in names if name in per_class
        }

    def _balanced(self, counts: Counts) -> Floats:
        return metrics.balanced_accuracy(counts, self.over["sensitivity"])

    def _per_class(self, sums: Values, weights: Floats) -> Values:
        decided = self._counts(sums, "decided")
        found = {name: measured(decided) for name, measured in OF_DECISIONS.items()}
        if not self.rankings:
            return found
        areas = [ranking.areas(weights) for ranking in self.rankings]
        found["auroc"] = np.stack([area for area, _ in areas])
        found["average_precision"] = np.stack([precision for _, precision in areas])
        for name in ("ece", "brier", "nll"):
            each = [self._mean(sums, f"{c}/{name}", decided.total) for c in range(self.k)]
            found[name] = np.stack(each)
        return found

    def _counts(self, sums: Values, name: str) -> Counts:
        actual = sums["actual"]
        return Counts(sums[f"{name}/hits"], sums[f"{name}/called"], actual, actual.sum(axis=0))

    @staticmethod
    def _mean(sums: Values, name: str, total: Floats) -> Floats:
        """Of one row: its mean. Of ECE's bins: the mean of their absolute gaps."""
        found = sums[name]
        return ratio(found[0] if len(found) == 1 else np.abs(found).sum(axis=0), total)


class _Sums:
    """Named blocks of rows of one sparse matrix; applied to weights, it gives all sums at once."""

    def __init__(self, n: int) -> None:
        self.n, self.height = n, 0
        self.where: dict[str, slice] = {}
        self._parts: list[tuple[Any, Any, Any]] = []
        self._everywhere = np.arange(n)

    def groups(self, name: str, row: NDArray, rows: int, *, at: Any = None, values: Any = None) -> None:
        """Adds ``rows`` sums: example ``at[i]`` counts ``values[i]`` towards row ``row[i]``."""
        self.where[name] = slice(self.height, self.height + rows)
        at = self._everywhere if at is None else at
        values = np.ones(len(row)) if values is None else values
        self._parts.append((self.height + row, at, values))
        self.height += rows

    def single(self, name: str, values: Floats) -> None:
        """Adds the sum of ``values`` (n,)."""
        self.groups(name, np.zeros(self.n, np.int64), 1, values=values)

    def gaps(self, name: str, confidence: Floats, correct: NDArray) -> None:
        """Adds the sum of confidence - correctness in each of ECE's bins."""
        self.groups(name, metrics.ece_bin(confidence), ECE_BINS, values=confidence - correct)

    def close(self) -> None:
        rows, columns, values = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        self._matrix = metrics.summing(rows, self.height, columns, self.n, values)
        self._parts.clear()

    def __call__(self, weights: Floats) -> Values:
        found = self._matrix @ weights
        return {name: found[where] for name, where in self.where.items()}
