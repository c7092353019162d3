"""Numbers: squared or Huber loss on standardised targets, and predictions in the data's own units.

The head learns (y - mean) / sd of the training labels, so that learning rates mean the same whether the
labels are ages or nanometres. What is judged, written and exported is in units: `Regression.outward` folds
mean and sd into the last layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.backbones.anatomy import Leaves
from tl_jax.data.labels import NUMBERS
from tl_jax.evaluation import numbers as judge
from tl_jax.evaluation import table
from tl_jax.evaluation.numbers import Margins, NumbersStatistics
from tl_jax.tasks.task import Columns, Task, cells, numbers, spread

KERNEL, BIAS = "head/linear/kernel", "head/linear/bias"


@dataclass(frozen=True)
class Regression(Task):
    """Labels (B, T) float, NaN where missing.

    ``mean`` and ``sd`` (T,) of the training labels, () where outputs are in units already; ``huber``: errors
    beyond so many sd count linearly (Huber 1964), 0 for squared ones; ``known``: the share of labels that
    are known, by which the loss is divided.
    """

    mean: tuple[float, ...] = ()
    sd: tuple[float, ...] = ()
    huber: float = 0.0
    known: float = 1.0

    labels = NUMBERS
    better = judge.HIGHER_IS_BETTER
    judged = "rmse"
    kind = "regression"

    def fitted(self, labels: np.ndarray, settings: Any) -> Regression:
        return replace(
            self,
            mean=tuple(np.atleast_1d(np.nanmean(labels, axis=0, dtype=np.float64)).tolist()),
            sd=tuple(np.atleast_1d(np.nanstd(labels, axis=0, dtype=np.float64)).tolist()),
            huber=float(settings.huber),
            known=float((~np.isnan(labels)).mean()),
        )

    def over(self, labels: np.ndarray) -> Regression:
        return replace(self, known=float((~np.isnan(labels)).mean()))

    def outputs(self, names: int) -> int:
        return names

    def targets(self, labels: jax.Array, names: int, smoothing: float = 0.0) -> jax.Array:
        """Standardised; what is missing stays NaN."""
        labels = labels.astype(jnp.float32)
        return (labels - jnp.array([self.mean])) / jnp.array([self.sd]) if self.sd else labels

    def loss(self, outputs: jax.Array, targets: jax.Array, weights: jax.Array) -> jax.Array:
        """Half the squared error, or Huber's: the mean over what is known."""
        there = ~jnp.isnan(targets)
        away = jnp.abs(outputs.astype(jnp.float32) - jnp.where(there, targets, 0.0))
        each = 0.5 * away**2
        if self.huber:
            each = jnp.where(away <= self.huber, each, self.huber * (away - 0.5 * self.huber))
        return jnp.mean(jnp.where(there, weights[None] * each, 0.0)) / self.known

    def logits(self, outputs: jax.Array) -> jax.Array:
        """Outputs in the labels' units."""
        return outputs * jnp.array([self.sd]) + jnp.array([self.mean]) if self.sd else outputs

    def standard(self, logits: jax.Array) -> jax.Array:
        return (logits - jnp.array([self.mean])) / jnp.array([self.sd]) if self.sd else logits

    def problems(self, config: Any, names: Sequence[str]) -> list[str]:
        found = []
        if config.model.head.output == "sigmoid":
            found.append('model.head.output="sigmoid" is for two classes: leave it at "softmax"')
        if len(config.loss.class_weights):
            found.append("loss.class_weights concerns classes and findings: leave it empty")
        if config.loss.label_smoothing:
            found.append("loss.label_smoothing concerns classes and findings: leave it at 0")
        if config.evaluation.positive or config.evaluation.prevalence >= 0:
            found.append("evaluation.positive and prevalence concern two classes: leave them as they are")
        return found

    def inward(self, leaves: Leaves) -> Leaves:
        if not self.sd:
            return leaves
        mean, sd = np.array(self.mean, np.float32), np.array(self.sd, np.float32)
        changed = {KERNEL: leaves[KERNEL] / sd[None], BIAS: (leaves[BIAS] - mean) / sd}
        return {**leaves, **changed}

    def outward(self, leaves: Leaves) -> Leaves:
        if not self.sd:
            return leaves
        mean, sd = np.array(self.mean, np.float32), np.array(self.sd, np.float32)
        changed = {KERNEL: leaves[KERNEL] * sd[None], BIAS: leaves[BIAS] * sd + mean}
        return {**leaves, **changed}

    def quick(self, logits: np.ndarray, labels: np.ndarray, settings: Any, names: Sequence[str]) -> dict:
        return judge.quick(logits, labels, self.sd or None)

    def decide(
        self, logits: np.ndarray, labels: np.ndarray, *, names: Sequence[str], settings: Any
    ) -> Margins:
        return judge.fit(logits, labels, names=names)

    def decision(self, values: Mapping[str, Any]) -> Margins:
        return Margins.from_dict(values)

    def measure(
        self,
        logits: np.ndarray,
        labels: np.ndarray,
        groups: np.ndarray,
        *,
        names: Sequence[str],
        decision: Margins,
        settings: Any,
    ) -> dict[str, Any]:
        return judge.measure(logits, labels, groups, names=names, decision=decision, settings=settings)

    def joined(
        self, logits: Sequence[np.ndarray], decisions: Sequence[Margins]
    ) -> tuple[np.ndarray, Margins]:
        counts = [len(one) for one in logits]
        half = [
            None if None in of_runs else spread(of_runs, counts)
            for of_runs in zip(*(one.half for one in decisions), strict=True)
        ]
        return np.concatenate(logits), Margins(cast(Any, tuple(half)))

    def together(self, logits: np.ndarray) -> np.ndarray:
        """The mean."""
        return logits.mean(axis=0)

    def statistics(self, logits: np.ndarray, labels: np.ndarray, decision: Margins) -> NumbersStatistics:
        return NumbersStatistics(np.asarray(logits, np.float64), np.asarray(labels, np.float64), decision)

    def table(self, measures: Mapping[str, Any]) -> str:
        return table.of_several(measures, "number")

    def truth(self, labels: np.ndarray, names: Sequence[str]) -> Columns:
        return cells(labels, names, "label_")

    def answers(self, logits: np.ndarray, decision: Margins, names: Sequence[str]) -> Columns:
        """The ends of the 95 % intervals, empty where there is none, and the predictions."""
        half = np.array([np.nan if one is None else one for one in decision.half])
        return {
            **cells(logits - half, names, "low_"),
            **cells(logits + half, names, "high_"),
            **cells(logits, names, "predicted_"),
        }

    def read(self, rows: Sequence[Sequence[str]], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        t = len(names)
        return numbers(rows, 4 * t, 3 * t), numbers(rows, t, 0)

    def caption(self, target: np.ndarray, names: Sequence[str]) -> str:
        values = self._in_units(target)
        told = ["unknown" if value != value else f"{value:.4g}" for value in values]
        if len(names) == 1:
            return told[0]
        return ", ".join(f"{name} {text}" for name, text in zip(names, told, strict=True))

    def _in_units(self, target: np.ndarray) -> np.ndarray:
        """Targets (T,) as the data have them; what is left of 0 by rounding is 0."""
        if not self.sd:
            return target
        values = target * np.array(self.sd) + np.array(self.mean)
        return np.where(np.abs(values) < 1e-6 * np.array(self.sd), 0.0, values)

    def summary(self, logits: np.ndarray, decision: Margins, names: Sequence[str]) -> str:
        told = [
            f"{name} {column.min():.4g} to {column.max():.4g}, median {np.median(column):.4g}"
            for name, column in zip(names, np.asarray(logits).T, strict=True)
        ]
        return "predicted " + "; ".join(told)

    def pointed(self, logits: np.ndarray, decision: Margins) -> np.ndarray:
        """The first number."""
        return np.zeros(len(logits), np.int64)
