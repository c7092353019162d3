"""Linear probes of features: logistic regression, its decay chosen by validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from tl_jax.evaluation import metrics
from tl_jax.evaluation.metrics import Floats

DECAYS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Times ‖w‖² / 2, beside the mean log-likelihood of standardised features."""


@dataclass(frozen=True)
class Probe:
    """logits = ((features - mean) / scale) @ kernel + bias."""

    mean: Floats
    scale: Floats
    kernel: Floats
    bias: Floats
    decay: float

    def logits(self, features: NDArray) -> Floats:
        """(n, d) → (n, K) float64."""
        return ((features - self.mean) / self.scale) @ self.kernel + self.bias


Examples = tuple[NDArray, NDArray]
"""Features (n, d), and labels (n,) int."""


def fit(train: Examples, val: Examples, classes: int, decays: Sequence[float] = DECAYS) -> Probe:
    """The probe with the lowest NLL on validation.

    Every decay begins where the one above has ended.
    """
    x, y = np.asarray(train[0], np.float64), np.asarray(train[1])
    mean, spread = x.mean(axis=0), x.std(axis=0)
    # What never varies says nothing, and would be divided by 0.
    scale = np.where(spread > 1e-12 * np.abs(x).max(initial=1e-300), spread, 1.0)
    standard = (x - mean) / scale
    weights = np.zeros((x.shape[1] + 1) * classes)
    best: tuple[float, Probe] | None = None
    for decay in sorted(decays, reverse=True):
        weights = _minimum(standard, y, classes, decay, weights)
        kernel, bias = _parts(weights, classes)
        probe = Probe(mean, scale, kernel, bias, decay)
        nll = float(metrics.nll(probe.logits(val[0]), np.asarray(val[1])))
        if best is None or nll < best[0]:
            best = nll, probe
    assert best is not None, "there is a decay"
    return best[1]


def _minimum(x: Floats, y: NDArray, classes: int, decay: float, start: Floats) -> Floats:
    truth = np.eye(classes)[y]

    def loss(weights: Floats) -> tuple[float, Floats]:
        kernel, bias = _parts(weights, classes)
        log = metrics.log_softmax(x @ kernel + bias)
        value = -(log * truth).sum(axis=1).mean() + decay / 2 * (kernel**2).sum()
        error = (np.exp(log) - truth) / len(x)
        slope = np.vstack([x.T @ error + decay * kernel, error.sum(axis=0)])
        return float(value), slope.ravel()

    found: Any = minimize(loss, start, jac=True, method="L-BFGS-B", options=dict(maxiter=500, ftol=1e-10))
    return found.x


def _parts(weights: Floats, classes: int) -> tuple[Floats, Floats]:
    table = weights.reshape(-1, classes)
    return table[:-1], table[-1]
