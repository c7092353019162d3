"""Does a network notice that pictures are not what it knows? The energy of its logits as a score."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.special import logsumexp

from tl_jax.evaluation.metrics import Floats
from tl_jax.evaluation.ranking import Ranking

MEASURE = "ood_auroc"


class Answered(Protocol):
    """Logits (n, K), such as those of a `tl_jax.pooled.Fold`."""

    @property
    def logits(self) -> np.ndarray: ...


class Novelty:
    """The AUROC with which energy tells what is unknown from what is known, both of the same n examples.

    The energy of logits f is -log Σ exp f (Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS
    2020, equation 4, at temperature 1); it should be higher for what is unknown. 0.5 is chance.
    """

    def __init__(self, known: Answered, unknown: Answered) -> None:
        scores = [-np.asarray(logsumexp(one.logits, axis=-1)) for one in (known, unknown)]
        self._ranking = Ranking(
            np.concatenate(scores), np.repeat([False, True], [len(one) for one in scores])
        )

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """For weights (n, R) of the examples, each as known and as unknown: ``ood_auroc`` (R,)."""
        return {MEASURE: self._ranking.areas(np.concatenate([weights, weights]))[0]}
