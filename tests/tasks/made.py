"""Labels and logits of each task, from a random generator, with some of the labels missing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from tl_jax.tasks import TASKS, Task

NAMES = ("one", "two", "three")
SETTINGS = SimpleNamespace(bootstrap=20, seed=0, prevalence=-1.0, threshold="youden", positive="")
LOSS = SimpleNamespace(class_weights=(), label_smoothing=0.0, huber=0.0)


def labels(name: str, n: int = 60, seed: int = 0) -> np.ndarray:
    """(n,) int32 of classes, else (n, 3) float32 with NaN."""
    random = np.random.default_rng(seed)
    if name == "classification":
        return random.integers(0, 3, n).astype(np.int32)
    if name == "multi_label":
        found = (random.random((n, 3)) < 0.4).astype(np.float32)
    else:
        found = random.normal((100.0, -3.0, 0.5), (20.0, 1.0, 0.1), (n, 3)).astype(np.float32)
    found[random.random((n, 3)) < 0.2] = np.nan
    return found


def logits(name: str, truth: np.ndarray, seed: int = 1) -> np.ndarray:
    """(n, 3) float32 that know something of the truth."""
    random = np.random.default_rng(seed)
    if name == "classification":
        return (random.normal(size=(len(truth), 3)) + 2 * np.eye(3)[truth]).astype(np.float32)
    noise = random.normal(size=truth.shape)
    if name == "multi_label":
        return (2 * np.nan_to_num(truth, nan=0.5) - 1 + noise).astype(np.float32)
    mean, sd = np.nanmean(truth, axis=0), np.nanstd(truth, axis=0)
    return (np.where(np.isnan(truth), mean, truth) + 0.5 * sd * noise).astype(np.float32)


def fitted(name: str) -> Task:
    """The task as a job has it."""
    return TASKS[name].fitted(labels(name), LOSS)
