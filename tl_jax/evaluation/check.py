"""What every evaluation asks of its inputs, said in one message."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tl_jax.evaluation.metrics import Floats


def checked(
    logits: ArrayLike, labels: ArrayLike, groups: ArrayLike | None, classes: Sequence[str]
) -> tuple[Floats, NDArray[np.int64], NDArray]:
    """(logits (n, K) float64, labels (n,) int64, groups (n,)), or a ValueError that lists all that is
    wrong. Without ``groups`` each example is its own."""
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    k, wrong = len(classes), []
    if k < 2:
        wrong.append(f"there must be at least two classes, not {list(classes)}")
    if logits.ndim != 2 or logits.shape[1] != k:
        wrong.append(f"logits must have the shape (n, {k}), not {logits.shape}")
    if labels.shape != logits.shape[:1]:
        wrong.append(f"labels must have the shape {logits.shape[:1]}, not {labels.shape}")
    if groups.shape != labels.shape:
        wrong.append(f"groups must have the shape {labels.shape}, not {groups.shape}")
    bad = ~np.isfinite(logits)
    if bad.any():
        wrong.append(f"{int(bad.sum())} of {bad.size} logits are not finite numbers")
    if labels.size and not np.issubdtype(labels.dtype, np.integer):
        wrong.append(f"labels must be integers, not {labels.dtype}")
    elif labels.size and not ((labels >= 0) & (labels < k)).all():
        wrong.append(f"labels must lie in 0…{k - 1}; found {int(labels.min())}…{int(labels.max())}")
    if wrong:
        raise ValueError("cannot evaluate: " + "; ".join(wrong))
    return logits, labels.astype(np.int64), groups
