"""A finished run's network, fitted to examples of another distribution of which nobody knows the labels.

``batch_norm``: AdaBN (Li et al., "Revisiting Batch Normalization For Practical Domain Adaptation", 2016,
arXiv:1603.04779): every BatchNorm layer normalises by the statistics of the new examples in the place of
those of training. ``coral``: what the head reads of the new examples is given the mean and covariance that it
has for the run's own training examples (Sun, Feng and Saenko, "Return of Frustratingly Easy Domain
Adaptation", AAAI 2016, equation 3, in the other direction: target to source, so that the head stays as it
was learned). That map is linear, and becomes part of the head's first layer. Neither takes a gradient step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import jax
import numpy as np
from flax import nnx

from tl_jax.backbones.anatomy import Head, Leaves, merge, set_mode, split, statistics
from tl_jax.data import Split
from tl_jax.features import layer_function, own_pictures
from tl_jax.finished import Finished
from tl_jax.predictor import each_shape, over

KERNEL, BIAS = "kernel", "bias"

_FEWEST = 2
"""Examples without which there are no variances."""


class Adapter:
    """A run to be fitted in one of `ADAPTATIONS` to one set of examples after the other, always from what
    it was. Raises ValueError where the network cannot be fitted so."""

    def __init__(self, run: Finished, how: str) -> None:
        problem = {"batch_norm": without_batch_norm, "coral": without_bias}[how](run)
        if problem:
            raise ValueError(f"{run.workdir.root}: {problem}")
        self.run, self.how = run, how

    def __call__(self, examples: Split) -> Finished:
        """The run with the fitted network; calibration and threshold are as they were."""
        if len(examples) < _FEWEST:
            raise ValueError(f"{len(examples)} {self.run.noun} has no variance; give a hundred or so")
        graph, params, stats = split(self.run.model)
        if self.how == "batch_norm":
            stats = {**stats, **self._statistics(examples)}
        else:
            params = {**params, **self._head(params, examples)}
        return replace(self.run, model=merge(graph, params, stats))

    def _statistics(self, examples: Split) -> Leaves:
        """Means and variances of all BatchNorm layers, (c,) each: those of batches, drawn at random, whose
        layers all normalise by the batch; pooled."""
        order = np.random.default_rng(0).permutation(len(examples))
        parts = np.array_split(order, math.ceil(len(order) / self.run.config.evaluation.batch_size))
        found = [jax.device_get(self._of_batch(examples.images[np.sort(rows)])) for rows in parts]
        shares = np.array([len(rows) for rows in parts]) / len(order)
        pooled: Leaves = {}
        for path in found[0]:
            if not path.endswith("/mean"):
                continue
            layer = path.removesuffix("/mean")
            means = np.stack([one[path] for one in found])
            squares = np.stack([one[f"{layer}/var"] for one in found]) + means**2
            mean = shares @ means
            pooled |= {path: mean, f"{layer}/var": np.maximum(shares @ squares - mean**2, 0)}
        return {path: leaf.astype(np.float32) for path, leaf in pooled.items()}

    @cached_property
    def _of_batch(self) -> Callable[[np.ndarray], Leaves]:
        model = nnx.clone(self.run.model)
        set_mode(model, dropout=False, batch_statistics=True)
        for _, layer in nnx.iter_modules(model):
            if isinstance(layer, nnx.BatchNorm):
                layer.momentum = 0.0  # nothing is left of what it was
        graph, params, stats = split(model)
        recipe = self.run.recipe

        def apply(params: Leaves, stats: Leaves, images: Any) -> Leaves:
            network = merge(graph, params, stats)
            network(recipe.input.network(images))
            return statistics(network)

        return each_shape(apply, params, stats, static=(apply.__qualname__, graph, recipe.inference))

    def _head(self, params: Leaves, examples: Split) -> Leaves:
        """Kernel and bias of the head with the map before it."""
        (source_mean, source), (mean, covariance) = self._source, _moments(self._read(examples))
        map_ = _power(covariance, -0.5) @ _power(source, 0.5)
        layer = "head/hidden/0" if f"head/hidden/0/{KERNEL}" in params else "head/linear"
        kernel, bias = (np.asarray(params[f"{layer}/{name}"], np.float64) for name in (KERNEL, BIAS))
        moved = {KERNEL: map_ @ kernel, BIAS: bias + (source_mean - mean @ map_) @ kernel}
        return {f"{layer}/{name}": leaf.astype(np.float32) for name, leaf in moved.items()}

    @cached_property
    def _source(self) -> tuple[np.ndarray, np.ndarray]:
        return _moments(self._read(own_pictures(self.run)["train"]))

    def _read(self, examples: Split) -> np.ndarray:
        """What the head reads of examples, (n, features)."""
        size = min(self.run.config.evaluation.batch_size, len(examples))
        return over(self._features, examples, size, self.run.mesh).astype(np.float64)

    @cached_property
    def _features(self) -> Callable[[Any], Any]:
        return layer_function(self.run.model, self.run.recipe, "neck", pool=False)


def without_batch_norm(run: Finished) -> str:
    """Why ``batch_norm`` can change nothing; "" where it can."""
    if any(isinstance(layer, nnx.BatchNorm) for _, layer in nnx.iter_modules(run.model)):
        return ""
    return f"a {run.model.spec.family} has no BatchNorm layer whose statistics could be adapted; try coral"


def without_bias(run: Finished) -> str:
    """Why ``coral`` cannot be done; "" where it can."""
    head = run.model.head
    if isinstance(head, Head) and head.linear.bias is not None:
        return ""
    return "coral becomes part of a head whose first layer has a bias, and this run has another one"


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and covariance (d, d) of features (n, d). The covariance is drawn halfway towards that
    multiple of the identity which has its trace: the paper adds the identity to that of normalised features.
    """
    covariance = np.cov(features, rowvar=False)
    level = np.trace(covariance) / len(covariance)
    return features.mean(axis=0), (covariance + level * np.eye(len(covariance))) / 2


def _power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """Of a symmetric positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, np.finfo(np.float64).tiny) ** exponent) @ vectors.T
