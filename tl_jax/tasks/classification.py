"""One label a picture: cross-entropy over classes, with label smoothing and class weights."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np


def targets(labels: jax.Array, classes: int, smoothing: float = 0.0) -> jax.Array:
    """Labels (B,) int → target distributions (B, classes): 1-ε on the label, ε spread evenly
    (Szegedy et al. 2016, section 7)."""
    return jax.nn.one_hot(labels, classes, dtype=jnp.float32) * (1 - smoothing) + smoothing / classes


def loss(logits: jax.Array, target: jax.Array, weights: jax.Array) -> jax.Array:
    """Mean weighted cross-entropy: logits and targets (B, K), class weights (K,) → scalar.

    An example's weight is its target's share of the class weights. The sum is divided by the number
    of examples, not by the sum of weights, so that accumulated micro-batches equal the whole batch.
    """
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -jnp.mean(jnp.sum(weights[None] * target * log_probs, axis=-1))


def class_weights(spec: str | Sequence[float], labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """A weight for each class, float32 (K,).

    ``"balanced"``: n / (K · n_class), so that each class has the same say and the mean over the
    training set is 1. Otherwise the given numbers, or all one. ``labels`` (n,) int are those of train.
    Raises ValueError where a class is absent, or the numbers are not as many as the classes.
    """
    k = len(classes)
    if isinstance(spec, str) and spec == "balanced":
        counts = np.bincount(labels, minlength=k)
        if not counts.all():
            absent = ", ".join(name for name, count in zip(classes, counts, strict=True) if not count)
            raise ValueError(f"loss.class_weights='balanced' needs every class in train; absent: {absent}")
        return (len(labels) / (k * counts)).astype(np.float32)
    if len(spec) == 0:
        return np.ones(k, np.float32)
    if len(spec) != k:
        raise ValueError(f"loss.class_weights has {len(spec)} numbers for {k} classes ({', '.join(classes)})")
    return np.asarray(spec, np.float32)
