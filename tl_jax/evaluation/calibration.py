"""Scale and bias that make probabilities honest, fitted on validation by likelihood.

p = softmax(scale · logits + bias). With two classes this is Platt scaling of the logit difference
(Platt 1999); with more it is temperature scaling with a bias per class (Guo et al. 2017, between their
temperature and vector scaling).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.evaluation.metrics import Floats, log_softmax

PRIOR = 3.0
"""Standard deviation, in units of calibrated logits, of the change that the prior expects. A validation
set that the model separates perfectly would else ask for an infinite scale."""

WIDEST = 10.0
"""Logits spread wider than this are treated as if they were this wide by the prior, so that it never
defends a gross overconfidence."""

NARROWEST = 1e-3
"""The calibrated logits' spread goes no lower: a scale of zero or below would undo the order."""


class Calibration(NamedTuple):
    """``scale``, ``bias`` (one a class, K), and what a reader should know about the fit."""

    scale: float
    bias: tuple[float, ...]
    notes: tuple[str, ...]


def apply(logits: ArrayLike, scale: float, bias: ArrayLike) -> Floats:
    """Calibrated logits (n, K) float64."""
    return np.asarray(logits, np.float64) * scale + np.asarray(bias, np.float64)


def fit(logits: ArrayLike, labels: ArrayLike) -> Calibration:
    """Fits scale and bias on logits (n, K) and labels (n,) int.

    Maximum a posteriori by Newton's method; the objective is convex and starts at the identity, where
    the prior costs nothing, so that the likelihood of these labels never falls. Classes without an
    example here keep a bias of zero; with fewer than two classes the identity is returned.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    n, k = logits.shape
    present = np.bincount(labels, minlength=k) > 0
    if present.sum() < 2:
        found = "one class only" if n else "no examples"
        return Calibration(1.0, (0.0,) * k, (f"not calibrated: validation holds {found}",))
    centred = logits - logits.mean(axis=1, keepdims=True)
    spread = float(np.sqrt(2 * np.mean(np.sum(centred**2, axis=1)) / (k - 1)))
    if spread == 0.0:
        spread = 1.0
    fitted = _Objective(centred / spread, labels, present, spread)
    x = fitted.minimum()
    scale, bias = float(x[0]) / spread, np.where(present, x[1:], 0.0)
    notes = []
    if x[0] <= fitted.lowest and fitted.lowest == NARROWEST:
        notes.append(
            "on validation the scores do not tell the classes apart in the right direction: calibrated "
            "probabilities are almost the same for every example"
        )
    if not present.all():
        notes.append(f"{int((~present).sum())} of {k} classes have no validation example: no bias for them")
    return Calibration(scale, tuple(float(b) for b in bias), tuple(notes))


class _Objective:
    """Penalised negative log-likelihood of x = (spread · scale, bias), its gradient and Hessian."""

    def __init__(self, units: Floats, labels: np.ndarray, present: np.ndarray, spread: float) -> None:
        n, k = units.shape
        self.units, self.labels, self.rows = units, labels, np.arange(n)
        self.free = np.concatenate([[True], present])
        self.start = np.concatenate([[spread], np.zeros(k)])
        self.lowest = min(NARROWEST, spread)
        stiff = (min(spread, WIDEST) / spread / PRIOR) ** 2
        self.precision = np.diag(np.concatenate([[stiff], np.full(k, PRIOR**-2)]))
        # Biases sum to zero: else those of the classes seen would rise together against an unseen class.
        biases = self.free[1:].astype(float)
        self.precision[1:, 1:] += n * np.outer(biases, biases)

    def value(self, x: Floats) -> float:
        away = x - self.start
        logs = log_softmax(x[0] * self.units + x[1:])
        return float(-logs[self.rows, self.labels].sum() + 0.5 * away @ self.precision @ away)

    def slopes(self, x: Floats) -> tuple[Floats, Floats]:
        p = np.exp(log_softmax(x[0] * self.units + x[1:]))
        error = p.copy()
        error[self.rows, self.labels] -= 1
        gradient = np.concatenate([[np.sum(error * self.units)], error.sum(axis=0)])
        gradient += self.precision @ (x - self.start)
        weighted = p * self.units
        mean = weighted.sum(axis=1, keepdims=True)
        hessian = np.empty((len(x), len(x)))
        hessian[0, 0] = np.sum(weighted * (self.units - mean))
        hessian[0, 1:] = hessian[1:, 0] = (weighted - p * mean).sum(axis=0)
        hessian[1:, 1:] = np.diag(p.sum(axis=0)) - p.T @ p
        return gradient, hessian + self.precision

    def minimum(self, iterations: int = 100) -> Floats:
        """Newton's method with backtracking; the first coordinate is kept at ``lowest`` or above."""
        x, now = self.start.copy(), self.value(self.start)
        for _ in range(iterations):
            gradient, hessian = self.slopes(x)
            free = self.free.copy()
            if x[0] <= self.lowest and gradient[0] > 0:
                free[0] = False
            if np.abs(gradient[free]).max(initial=0.0) <= 1e-9 * len(self.labels):
                break
            step = np.zeros_like(x)
            step[free] = np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
            for _ in range(50):
                trial = x - step
                trial[0] = max(trial[0], self.lowest)
                value = self.value(trial)
                if value < now:
                    break
                step /= 2
            else:
                break
            x, now = trial, value
        return x
