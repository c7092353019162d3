"""One class an example: cross-entropy, with label smoothing and class weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_softmax, logsumexp

from tl_jax import evaluation
from tl_jax.data.labels import CLASSES
from tl_jax.evaluation import Decision
from tl_jax.evaluation.decision import positive_class
from tl_jax.evaluation.statistics import Statistics
from tl_jax.tasks.task import Columns, Task, cells, numbers, spread


@dataclass(frozen=True)
class Classification(Task):
    """Labels (B,) int, logits (B, K) whose softmax is the probability."""

    labels = CLASSES
    better = evaluation.HIGHER_IS_BETTER
    judged = "auroc"
    kind = "classification"

    def outputs(self, names: int) -> int:
        return names

    def targets(self, labels: jax.Array, names: int, smoothing: float = 0.0) -> jax.Array:
        """Labels (B,) int → target distributions (B, K): 1-ε on the label, ε spread evenly (Szegedy et al.
        2016, section 7)."""
        return jax.nn.one_hot(labels, names, dtype=jnp.float32) * (1 - smoothing) + smoothing / names

    def loss(self, outputs: jax.Array, targets: jax.Array, weights: jax.Array) -> jax.Array:
        """Mean weighted cross-entropy: logits and targets (B, K), class weights (K,) → scalar.

        An example's weight is its target's share of the class weights. The sum is divided by the number
        of examples, not by the sum of weights, so that accumulated micro-batches equal the whole batch.
        """
        log_probs = jax.nn.log_softmax(outputs.astype(jnp.float32))
        return -jnp.mean(jnp.sum(weights[None] * targets * log_probs, axis=-1))

    def weights(self, settings: Any, labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """A weight for each class, float32 (K,).

        ``"balanced"``: n / (K · n_class), so that each class has the same say and the mean over the
        training set is 1. Otherwise the given numbers, or all one. ``labels`` (n,) int are those of train.
        Raises ValueError where a class is absent, or the numbers are not as many as the classes.
        """
        spec, k = settings.class_weights, len(names)
        if isinstance(spec, str) and spec == "balanced":
            counts = np.bincount(labels, minlength=k)
            if not counts.all():
                absent = ", ".join(name for name, count in zip(names, counts, strict=True) if not count)
                raise ValueError(
                    f"loss.class_weights='balanced' needs every class in train; absent: {absent}"
                )
            return (len(labels) / (k * counts)).astype(np.float32)
        return given_weights(spec, names, "classes")

    def problems(self, config: Any, names: Sequence[str]) -> list[str]:
        try:
            positive_class(config.evaluation.positive, names)
        except ValueError as error:
            return [str(error)]
        return []

    def quick(self, logits: np.ndarray, labels: np.ndarray, settings: Any, names: Sequence[str]) -> dict:
        return evaluation.quick(logits, labels, positive=positive_class(settings.positive, names))

    def decide(
        self, logits: np.ndarray, labels: np.ndarray, *, names: Sequence[str], settings: Any
    ) -> Decision:
        return evaluation.fit_decision(logits, labels, classes=names, settings=settings)

    def decision(self, values: Mapping[str, Any]) -> Decision:
        return Decision.from_dict(values)

    def measure(
        self,
        logits: np.ndarray,
        labels: np.ndarray,
        groups: np.ndarray,
        *,
        names: Sequence[str],
        decision: Decision,
        settings: Any,
    ) -> dict[str, Any]:
        return evaluation.measure(logits, labels, groups, classes=names, decision=decision, settings=settings)

    def joined(
        self, logits: Sequence[np.ndarray], decisions: Sequence[Decision]
    ) -> tuple[np.ndarray, Decision]:
        """Calibrated, each by its own run."""
        counts = [len(one) for one in logits]
        scale = spread([[one.scale] for one in decisions], counts)
        bias = spread([one.bias for one in decisions], counts)
        thresholds = [one.threshold for one in decisions]
        decision = Decision(
            scale=1.0,
            bias=(0.0,) * len(decisions[0].bias),
            threshold=cast(Any, None if None in thresholds else spread(thresholds, counts)),
            criterion="each fold's own",
            positive=decisions[0].positive,
        )
        return np.concatenate(logits) * scale + bias, decision

    def together(self, logits: np.ndarray) -> np.ndarray:
        """Of the mean probability."""
        return logsumexp(log_softmax(logits, axis=-1), axis=0) - np.log(len(logits))

    def statistics(self, logits: np.ndarray, labels: np.ndarray, decision: Decision) -> Statistics:
        return Statistics(logits, labels, decision, -1.0)

    def table(self, measures: Mapping[str, Any]) -> str:
        return evaluation.format_table(measures)

    def truth(self, labels: np.ndarray, names: Sequence[str]) -> Columns:
        return {"label": [names[i] for i in labels]}

    def answers(self, logits: np.ndarray, decision: Decision, names: Sequence[str]) -> Columns:
        """The decision, calibrated probabilities, and the logits."""
        probabilities = evaluation.probabilities(logits, decision)
        chosen = evaluation.decide(probabilities, decision)
        return {
            "decision": [names[i] for i in chosen],
            **cells(probabilities, names, "probability_"),
            **cells(logits, names, "logit_"),
        }

    def read(self, rows: Sequence[Sequence[str]], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        k, number = len(names), {name: i for i, name in enumerate(names)}
        return np.array([number[row[-2 * k - 2]] for row in rows], np.int64), numbers(rows, k, 0)

    def caption(self, target: np.ndarray, names: Sequence[str]) -> str:
        """ "sick", or "sick 70 %, healthy 30 %" where pictures are mixed."""
        parts = [(share, names[c]) for c, share in enumerate(target) if share > 0.005]
        if len(parts) == 1:
            return parts[0][1]
        return ", ".join(f"{name} {share:.0%}" for share, name in sorted(parts, reverse=True))

    def summary(self, logits: np.ndarray, decision: Decision, names: Sequence[str]) -> str:
        chosen = self.pointed(logits, decision)
        return "decided " + ", ".join(f"{name} {(chosen == i).sum()}" for i, name in enumerate(names))

    def pointed(self, logits: np.ndarray, decision: Decision) -> np.ndarray:
        return evaluation.decide(evaluation.probabilities(logits, decision), decision)


def given_weights(spec: Any, names: Sequence[str], called: str) -> np.ndarray:
    """The weights (K,) that a config gives as numbers; all one where it gives none."""
    if len(spec) == 0:
        return np.ones(len(names), np.float32)
    if len(spec) != len(names):
        raise ValueError(
            f"loss.class_weights has {len(spec)} numbers for {len(names)} {called} ({', '.join(names)})"
        )
    return np.asarray(spec, np.float32)
