"""What a task is: what the numbers of the head mean, how they learn, and how they are judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import numpy as np

from tl_jax.backbones.anatomy import Leaves
from tl_jax.data.labels import Labels
from tl_jax.evaluation.intervals import Statistics

Columns = Mapping[str, Sequence[Any]]
"""Columns of predictions.csv: name → a cell an example."""


class Task(ABC):
    """All that depends on what is learned. Instances are values: equal ones share compiled programs, so a
    subclass is a frozen dataclass of hashable fields.

    ``labels`` says what the labels of a data set are (`tl_jax.data.labels`); ``better`` what `quick`
    measures, which ``select.metric`` may name, and whether more of it is better; ``judged`` the measure by
    which experiments compare runs; ``kind`` which measures and which report it has; ``sequence`` that it
    needs a language model, whose outputs (B, n, V) are too many to keep: then `scored` takes the place of
    `logits`, and at the end the network writes a text for every example (`with_texts`). ``names`` are
    those of classes, findings or numbers, K of them; a ``decision`` is what `decide` fits to validation, with
    ``to_dict``.

    The first four functions go into compiled steps: only `jax.numpy`, no Python branches on values.
    """

    labels: ClassVar[Labels]
    better: ClassVar[Mapping[str, bool]]
    judged: ClassVar[str]
    kind: ClassVar[str]
    sequence: ClassVar[bool] = False

    @abstractmethod
    def outputs(self, names: int) -> int:
        """How many numbers the head gives."""

    @abstractmethod
    def targets(self, labels: jax.Array, names: int, smoothing: float) -> jax.Array:
        """Labels (B, …) of a batch → (B, …) float32, which mixup may mix."""

    @abstractmethod
    def loss(self, outputs: jax.Array, targets: jax.Array, weights: jax.Array) -> jax.Array:
        """A scalar, the **mean over the batch**, or micro-batches would not add up to it; ``weights`` are
        those of `weights`."""

    def width(self, names: int) -> int:
        """How many numbers an example is judged by while it trains: K."""
        return names

    def columns(self, names: int) -> int:
        """How many numbers of an example stand at the end of its row in predictions.csv."""
        return self.width(names)

    def logits(self, outputs: jax.Array) -> jax.Array:
        """Outputs (B, …) → (B, K), as they are judged and written down."""
        return outputs

    def scored(self, outputs: jax.Array, labels: jax.Array) -> jax.Array:
        """Outputs and labels of the same examples → (B, K), as they are judged and written down."""
        return self.logits(outputs)

    def fitted(self, labels: np.ndarray, settings: Any) -> Task:
        """The task for these training labels (n, …) and ``config.loss``."""
        return self

    def weights(self, settings: Any, labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """What ``config.loss.class_weights`` asks for: float32 (K,). Raises ValueError where it cannot."""
        return np.ones(len(names), np.float32)

    def problems(self, config: Any, names: Sequence[str]) -> list[str]:
        """What a config asks for that does not fit the task, once the data are known."""
        return []

    def inward(self, leaves: Leaves) -> Leaves:
        """The leaves of a head whose outputs are `logits` → those of one that gives what `loss` takes."""
        return leaves

    def outward(self, leaves: Leaves) -> Leaves:
        """The inverse of `inward`, for a file that others read."""
        return leaves

    @abstractmethod
    def quick(self, logits: np.ndarray, labels: np.ndarray, settings: Any, names: Sequence[str]) -> dict:
        """The few numbers that training looks at while it goes: name → float or None. ``settings`` is
        ``config.evaluation``."""

    def validation_loss(self, logits: np.ndarray, labels: np.ndarray) -> float | None:
        """The loss of logits (n, K) on labels (n, …), without weights and smoothing; None where a logit is
        not finite."""
        if not len(labels) or not np.isfinite(logits).all():
            return None
        names = logits.shape[1]
        outputs = self.standard(jax.numpy.asarray(logits))
        targets = self.targets(jax.numpy.asarray(labels), names, 0.0)
        return float(self.over(labels).loss(outputs, targets, jax.numpy.ones(names)))

    def over(self, labels: np.ndarray) -> Task:
        """The task whose loss is a mean over what is known of these labels."""
        return self

    def standard(self, logits: jax.Array) -> jax.Array:
        """The inverse of `logits`."""
        return logits

    @abstractmethod
    def decide(self, logits: np.ndarray, labels: np.ndarray, *, names: Sequence[str], settings: Any) -> Any:
        """Calibration, thresholds, margins: all that validation settles for later."""

    @abstractmethod
    def decision(self, values: Mapping[str, Any]) -> Any:
        """The inverse of a decision's ``to_dict``."""

    def with_texts(self, logits: np.ndarray, written: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """`scored` (n, K) → (n, L) for `measure`, once the network has written a text for every example."""
        return logits

    @abstractmethod
    def measure(
        self,
        logits: np.ndarray,
        labels: np.ndarray,
        groups: np.ndarray,
        *,
        names: Sequence[str],
        decision: Any,
        settings: Any,
    ) -> dict[str, Any]:
        """Every measure with its interval, as result.json has them."""

    @abstractmethod
    def joined(self, logits: Sequence[np.ndarray], decisions: Sequence[Any]) -> tuple[np.ndarray, Any]:
        """Logits (n, K) of several runs of different examples on one scale, and a decision for all of them,
        in which each example has the threshold or margin of its own run."""

    def together(self, logits: np.ndarray) -> np.ndarray | None:
        """Logits (R, n, K) of R runs on the same examples → (n, K), those of their average answer; None where
        answers have no average."""
        return None

    @abstractmethod
    def statistics(self, logits: np.ndarray, labels: np.ndarray, decision: Any) -> Statistics:
        """The measures as a function of the examples' weights, for comparisons of runs."""

    @abstractmethod
    def table(self, measures: Mapping[str, Any]) -> str:
        """What `measure` returned, as lines for people."""

    @abstractmethod
    def truth(self, labels: np.ndarray, names: Sequence[str]) -> Columns:
        """Columns of what is true."""

    @abstractmethod
    def answers(self, logits: np.ndarray, decision: Any, names: Sequence[str]) -> Columns:
        """Columns of what is predicted; the last K of them are the logits."""

    @abstractmethod
    def read(self, rows: Sequence[Sequence[str]], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Labels and logits of rows whose last cells are `truth` and `answers`."""

    @abstractmethod
    def caption(self, target: np.ndarray, names: Sequence[str]) -> str:
        """A target in words, for the picture that it belongs to."""

    @abstractmethod
    def summary(self, logits: np.ndarray, decision: Any, names: Sequence[str]) -> str:
        """What is predicted of many examples, in one line."""

    @abstractmethod
    def pointed(self, logits: np.ndarray, decision: Any) -> np.ndarray:
        """The output (n,) int of each example that a heat map explains."""


def cells(values: np.ndarray, names: Sequence[str], prefix: str) -> dict[str, list[str]]:
    """Columns of numbers (n, K), one a name; what is missing is empty."""
    return {
        f"{prefix}{name}": ["" if value != value else f"{value:.6g}" for value in column]
        for name, column in zip(names, np.asarray(values, np.float64).T, strict=True)
    }


def spread(values: Sequence[Any], counts: Sequence[int]) -> np.ndarray:
    """One value a run → one an example, of which the runs have ``counts``."""
    return np.repeat(np.array(values, np.float64), counts, axis=0)


def numbers(rows: Sequence[Sequence[str]], first: int, last: int) -> np.ndarray:
    """The cells of rows from ``first`` up to ``last``, counted from the end: (n, first - last) float64."""
    table = [
        [float(cell) if cell else np.nan for cell in row[len(row) - first : len(row) - last]] for row in rows
    ]
    return np.array(table, np.float64).reshape(-1, first - last)
