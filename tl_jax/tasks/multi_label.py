"""Several findings an example, each with a sigmoid of its own; what nobody looked at is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_expit

from tl_jax.data.labels import FINDINGS
from tl_jax.evaluation import findings, table
from tl_jax.evaluation.findings import Decisions, FindingsStatistics
from tl_jax.tasks.classification import Classification, given_weights
from tl_jax.tasks.task import Columns, Task, cells, numbers


@dataclass(frozen=True)
class MultiLabel(Task):
    """Labels (B, K) 1, 0 or NaN, logits (B, K) whose sigmoid is the probability.

    ``known``: the share of labels in train that are known. The loss is divided by it, so that it is the mean
    over what is known, in expectation, and micro-batches still add up.
    """

    known: float = 1.0

    labels = FINDINGS
    better = findings.HIGHER_IS_BETTER
    judged = "auroc"
    kind = "multi_label"

    def fitted(self, labels: np.ndarray, settings: Any) -> MultiLabel:
        return replace(self, known=float((~np.isnan(labels)).mean()))

    def over(self, labels: np.ndarray) -> MultiLabel:
        return replace(self, known=float((~np.isnan(labels)).mean()))

    def outputs(self, names: int) -> int:
        return names

    def targets(self, labels: jax.Array, names: int, smoothing: float = 0.0) -> jax.Array:
        """1 - ε/2 and ε/2; what is missing stays NaN."""
        return labels.astype(jnp.float32) * (1 - smoothing) + smoothing / 2

    def loss(self, outputs: jax.Array, targets: jax.Array, weights: jax.Array) -> jax.Array:
        """Binary cross-entropy over what is known; ``weights`` (K,) are those of presence."""
        outputs, there = outputs.astype(jnp.float32), ~jnp.isnan(targets)
        share = jnp.where(there, targets, 0.0)
        each = weights[None] * share * jax.nn.softplus(-outputs) + (1 - share) * jax.nn.softplus(outputs)
        return jnp.mean(jnp.where(there, each, 0.0)) / self.known

    def weights(self, settings: Any, labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """What the presence of each finding weighs; ``"balanced"``: as much in all as its absence."""
        if settings.class_weights == "balanced":
            return ((labels == 0).sum(axis=0) / (labels == 1).sum(axis=0)).astype(np.float32)
        return given_weights(settings.class_weights, names, "findings")

    def problems(self, config: Any, names: Sequence[str]) -> list[str]:
        found = []
        if config.model.head.output == "sigmoid":
            found.append(
                'model.head.output="sigmoid" is one unit for two classes; findings have a unit each, whose '
                'sigmoid is taken anyway: leave it at "softmax"'
            )
        if config.evaluation.positive or config.evaluation.prevalence >= 0:
            found.append("evaluation.positive and prevalence concern two classes: leave them as they are")
        return found

    def quick(self, logits: np.ndarray, labels: np.ndarray, settings: Any, names: Sequence[str]) -> dict:
        return findings.quick(logits, labels)

    def decide(
        self, logits: np.ndarray, labels: np.ndarray, *, names: Sequence[str], settings: Any
    ) -> Decisions:
        return findings.fit(logits, labels, names=names, settings=settings)

    def decision(self, values: Mapping[str, Any]) -> Decisions:
        return Decisions.from_dict(values)

    def measure(
        self,
        logits: np.ndarray,
        labels: np.ndarray,
        groups: np.ndarray,
        *,
        names: Sequence[str],
        decision: Decisions,
        settings: Any,
    ) -> dict[str, Any]:
        return findings.measure(logits, labels, groups, names=names, decision=decision, settings=settings)

    def joined(
        self, logits: Sequence[np.ndarray], decisions: Sequence[Decisions]
    ) -> tuple[np.ndarray, Decisions]:
        """Calibrated, each finding by its own run."""
        own, each = Classification(), []
        for k in range(logits[0].shape[1]):
            of_runs = [one.each[k] for one in decisions]
            each.append(own.joined([findings.two(one[:, k]) for one in logits], of_runs))
        scores = np.stack([pair[:, 1] - pair[:, 0] for pair, _ in each], axis=1)
        return scores, Decisions(tuple(decision for _, decision in each))

    def together(self, logits: np.ndarray) -> np.ndarray:
        """Of each finding's mean probability."""
        present, absent = (np.logaddexp.reduce(log_expit(sign * logits), axis=0) for sign in (1, -1))
        return present - absent

    def statistics(self, logits: np.ndarray, labels: np.ndarray, decision: Decisions) -> FindingsStatistics:
        return FindingsStatistics(np.asarray(logits, np.float64), labels, decision)

    def table(self, measures: Mapping[str, Any]) -> str:
        return table.of_several(measures, "finding")

    def truth(self, labels: np.ndarray, names: Sequence[str]) -> Columns:
        return cells(labels, names, "label_")

    def answers(self, logits: np.ndarray, decision: Decisions, names: Sequence[str]) -> Columns:
        """Decisions 0 or 1, calibrated probabilities, and the logits."""
        return {
            **cells(findings.decided(logits, decision), names, "decision_"),
            **cells(findings.chances(logits, decision), names, "probability_"),
            **cells(logits, names, "logit_"),
        }

    def read(self, rows: Sequence[Sequence[str]], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        k = len(names)
        return numbers(rows, 4 * k, 3 * k), numbers(rows, k, 0)

    def caption(self, target: np.ndarray, names: Sequence[str]) -> str:
        there = [
            name if share > 0.995 else f"{name} {share:.0%}"
            for name, share in zip(names, target, strict=True)
            if share > 0.005
        ]
        return ", ".join(there) or ("unknown" if np.isnan(target).all() else "none")

    def summary(self, logits: np.ndarray, decision: Decisions, names: Sequence[str]) -> str:
        counts = findings.decided(logits, decision).sum(axis=0)
        return "found " + ", ".join(f"{name} {n}" for name, n in zip(names, counts, strict=True))

    def pointed(self, logits: np.ndarray, decision: Decisions) -> np.ndarray:
        """The most probable finding."""
        return findings.chances(logits, decision).argmax(axis=1)
