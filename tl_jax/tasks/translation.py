"""Translation: a causal language model reads a source and a separator, and learns to write the target.

The loss is on the target's tokens alone. At the end the network writes translations of its own
(`tl_jax.writing`), which BLEU compares with the references.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.backbones.text import PADDING
from tl_jax.data.sentences import SENTENCES
from tl_jax.evaluation import bleu, table, translations
from tl_jax.evaluation.translations import COLUMNS, FORESEEN, SentenceStatistics
from tl_jax.tasks.task import Columns, Task, cells, numbers


@dataclass(frozen=True)
class Nothing:
    """What validation settles for a translation."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"notes": []}


@dataclass(frozen=True)
class Translation(Task):
    """Labels (B, W) int: the next token where it is the target's, else -1; outputs (B, n, V), n ≤ W.

    ``tokens``: how many a training target has in the mean, by which the loss is divided: so every token of
    the training set has the same say, and micro-batches still add up. ``smoothing``: of the labels.
    """

    tokens: float = 1.0
    smoothing: float = 0.0

    labels = SENTENCES
    better = translations.HIGHER_IS_BETTER
    judged = "bleu"
    kind = "translation"
    sequence = True

    def fitted(self, labels: np.ndarray, settings: Any) -> Translation:
        mean = float((labels != PADDING).sum(axis=1).mean())
        return replace(self, tokens=mean, smoothing=float(settings.label_smoothing))

    def outputs(self, names: int) -> int:
        """A language model has as many as its vocabulary, whatever is asked for."""
        return names

    def width(self, names: int) -> int:
        return len(FORESEEN)

    def columns(self, names: int) -> int:
        return len(COLUMNS)

    def targets(self, labels: jax.Array, names: int, smoothing: float = 0.0) -> jax.Array:
        """Labels as they are: a distribution over the vocabulary would be large."""
        return labels

    def loss(self, outputs: jax.Array, targets: jax.Array, weights: jax.Array) -> jax.Array:
        """Cross-entropy of the targets' tokens: their sum over that of a batch of mean length."""
        chances, token, there = _next(outputs, targets)
        nll = -jnp.take_along_axis(chances, token[..., None], axis=-1)[..., 0]
        if self.smoothing:
            nll = (1 - self.smoothing) * nll - self.smoothing * chances.mean(axis=-1)
        return jnp.where(there, nll, 0.0).sum() / (len(outputs) * self.tokens)

    def scored(self, outputs: jax.Array, labels: jax.Array) -> jax.Array:
        """`FORESEEN` (B, 3)."""
        chances, token, there = _next(outputs, labels)
        nll = -jnp.take_along_axis(chances, token[..., None], axis=-1)[..., 0]
        hits = chances.argmax(axis=-1) == token
        return jnp.stack([jnp.where(there, column, 0.0).sum(axis=1) for column in (nll, hits, 1.0)], axis=1)

    def problems(self, config: Any, names: Sequence[str]) -> list[str]:
        found = []
        if config.model.pooling:
            found.append(
                f"model.pooling={config.model.pooling!r} makes one vector of a text, and every token is "
                "needed: leave it empty"
            )
        if len(config.loss.class_weights):
            found.append("loss.class_weights concerns classes and findings: leave it empty")
        if config.evaluation.positive or config.evaluation.prevalence >= 0:
            found.append("evaluation.positive and prevalence concern two classes: leave them as they are")
        try:
            bleu.signature()  # before anything is trained, not when it is measured
        except ImportError as error:
            found.append(str(error))
        return found

    def quick(self, logits: np.ndarray, labels: np.ndarray, settings: Any, names: Sequence[str]) -> dict:
        return translations.quick(logits)

    def validation_loss(self, logits: np.ndarray, labels: np.ndarray) -> float | None:
        """The mean over tokens."""
        return translations.quick(logits)["nll"]

    def decide(
        self, logits: np.ndarray, labels: np.ndarray, *, names: Sequence[str], settings: Any
    ) -> Nothing:
        return Nothing()

    def decision(self, values: Mapping[str, Any]) -> Nothing:
        return Nothing()

    def with_texts(self, logits: np.ndarray, written: Sequence[str], references: Sequence[str]) -> np.ndarray:
        return translations.with_texts(logits, written, references)

    def measure(
        self,
        logits: np.ndarray,
        labels: np.ndarray,
        groups: np.ndarray,
        *,
        names: Sequence[str],
        decision: Nothing,
        settings: Any,
    ) -> dict[str, Any]:
        return translations.measure(logits, groups, names=names, settings=settings)

    def joined(
        self, logits: Sequence[np.ndarray], decisions: Sequence[Nothing]
    ) -> tuple[np.ndarray, Nothing]:
        return np.concatenate(logits), Nothing()

    def statistics(self, logits: np.ndarray, labels: np.ndarray, decision: Nothing) -> SentenceStatistics:
        return SentenceStatistics(logits)

    def table(self, measures: Mapping[str, Any]) -> str:
        return table.of_translations(measures)

    def truth(self, labels: np.ndarray, names: Sequence[str]) -> Columns:
        """None: the reference is among the columns of the data."""
        return {}

    def answers(self, logits: np.ndarray, decision: Nothing, names: Sequence[str]) -> Columns:
        """`COLUMNS`; the text that was written is among the columns of the data."""
        return cells(logits, COLUMNS[: logits.shape[1]], "")

    def read(self, rows: Sequence[Sequence[str]], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(rows), 0), np.int32), numbers(rows, len(COLUMNS), 0)

    def caption(self, target: np.ndarray, names: Sequence[str]) -> str:
        return f"{int((np.asarray(target) != PADDING).sum())} tokens to write"

    def summary(self, logits: np.ndarray, decision: Nothing, names: Sequence[str]) -> str:
        return "translated"

    def pointed(self, logits: np.ndarray, decision: Nothing) -> np.ndarray:
        return np.zeros(len(logits), np.int64)


def _next(outputs: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Log-probabilities (B, n, V) float32, the tokens (B, n) that come next, and where there is one."""
    labels = labels[:, : outputs.shape[1]]
    there = labels != PADDING
    return jax.nn.log_softmax(outputs.astype(jnp.float32)), jnp.where(there, labels, 0), there
