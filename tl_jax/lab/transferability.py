"""How well features will transfer, from one forward pass and without training: LogME, H-score and LEEP.

Higher is better in all three. They order layers, or networks, on one target; their values mean little alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.evaluation.metrics import Floats

ROUNDS, NEAR = 100, 1e-5
_SMALLEST = 1e-10


def logme(features: ArrayLike, labels: ArrayLike) -> float:
    """Logarithm of the maximum evidence of a Bayesian linear model, per example, mean over the classes.

    Source: You et al., "LogME: Practical Assessment of Pre-trained Models for Transfer Learning" (ICML 2021),
    section 4. For each class the 0/1 labels y (n,) are taken for a Gaussian around features (n, d) times
    weights w with precision β, w for a Gaussian around 0 with precision α; both precisions are those of the
    highest evidence, by MacKay's fixed point.

    Raises ValueError where the labels are of one class only, or shapes do not fit.
    """
    x, classes = _checked(features, labels)
    n, d = x.shape
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    squares = s**2
    found = []
    for column in classes.T:
        z = (u.T @ column) ** 2
        outside = max(float(column @ column - z.sum()), 0.0)  # what no weights can explain
        ratio, length, error, alpha, beta = 1.0, 1.0, 1.0, 1.0, 1.0  # ratio: α / β
        for _ in range(ROUNDS):
            used = (squares / (ratio + squares)).sum()
            length = max(
                float((squares * z / (ratio + squares) ** 2).sum()), _SMALLEST
            )  # of the weights, squared
            error = max(float((z * (ratio / (ratio + squares)) ** 2).sum() + outside), _SMALLEST)
            alpha, beta = used / length, (n - used) / error
            before, ratio = ratio, alpha / beta
            if abs(ratio - before) <= NEAR * before:
                break
        evidence = (
            d * np.log(alpha) + n * np.log(beta) - n * np.log(2 * np.pi) - beta * error - alpha * length
        )
        evidence -= np.log(alpha + beta * squares).sum() + (d - len(squares)) * np.log(alpha)
        found.append(evidence / 2 / n)
    return float(np.mean(found))


def h_score(features: ArrayLike, labels: ArrayLike) -> float:
    """tr(cov(f)⁻¹ cov(E[f | y])) of features (n, d): how much of their spread is between classes.

    Source: Bao et al., "An Information-Theoretic Approach to Transferability in Task Transfer Learning" (ICIP
    2019), definition 2. The inverse is a pseudo-inverse, as features may be fewer than they are wide. Between
    0 and the number of classes less one. Raises ValueError as `logme`.
    """
    x, classes = _checked(features, labels)
    x = x - x.mean(axis=0)
    means = classes @ (classes.T @ x / classes.sum(axis=0)[:, None])
    n = len(x)
    return float(np.trace(np.linalg.pinv(x.T @ x / n, rcond=1e-10, hermitian=True) @ (means.T @ means / n)))


def leep(source: ArrayLike, labels: ArrayLike) -> float:
    """Mean log-likelihood of labels (n,) under the best table from source classes to target classes.

    ``source`` (n, z): probabilities that the pretrained network's own head gives to its own classes.
    Source: Nguyen et al., "LEEP: A New Measure to Evaluate Transferability of Learned Representations" (ICML
    2020), section 3: P(y | z) is the empirical conditional distribution, and LEEP the mean of
    log Σ_z P(y_i | z) θ(x_i)_z. At most 0. Raises ValueError as `logme`, and for rows that are no
    probabilities.
    """
    theta, classes = _checked(source, labels)
    if (theta < 0).any() or not np.allclose(theta.sum(axis=1), 1, atol=1e-3):
        raise ValueError("LEEP takes probabilities: rows that are not negative and add up to 1")
    joint = classes.T @ theta / len(theta)
    given = joint / np.maximum(joint.sum(axis=0), np.finfo(float).tiny)
    return float(np.log(np.maximum((classes @ given * theta).sum(axis=1), np.finfo(float).tiny)).mean())


def _checked(values: ArrayLike, labels: ArrayLike) -> tuple[Floats, Floats]:
    """Values (n, d) as float64, and labels as 0 and 1 (n, classes present)."""
    x, y = np.asarray(values, np.float64), np.asarray(labels)
    if x.ndim != 2 or y.shape != x.shape[:1] or not len(y):
        raise ValueError(f"values (n, d) and labels (n,) are asked for; here are {x.shape} and {y.shape}")
    if not np.isfinite(x).all():
        raise ValueError("values must be finite")
    present = np.unique(y)
    if len(present) < 2:
        raise ValueError("labels of one class only: nothing to tell apart")
    return x, (y[:, None] == present).astype(np.float64)
