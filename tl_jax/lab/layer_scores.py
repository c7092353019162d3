"""How useful each layer of a network is for a target, as it is: probes and scores of one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from tl_jax import evaluation, pretrained
from tl_jax.evaluation import metrics
from tl_jax.job import prepare
from tl_jax.lab import layers, probe, transferability
from tl_jax.lab.grid import patched
from tl_jax.tasks import classes_only


@dataclass(frozen=True)
class Layer:
    """``val_nll`` of its probe, and the ``test`` measures (`tl_jax.evaluation.measure`); LogME and H-score of
    the training pictures."""

    name: str
    width: int
    decay: float
    val_nll: float
    test: dict[str, Any]
    logme: float
    h_score: float


@dataclass(frozen=True)
class Network:
    """``leep``: None where the weights came without a head of their own, or with one for another neck."""

    name: str
    layers: Sequence[Layer]
    leep: float | None

    @property
    def best(self) -> Layer:
        """The layer whose probe has the lowest NLL on validation."""
        return min(self.layers, key=lambda layer: layer.val_nll)


def of(config: ConfigDict, name: str) -> Network:
    """Scores of every layer of the config's network. Pictures are as at evaluation: nothing is augmented."""
    job = prepare(patched(config, {"augment": {}}), say=lambda line: None)
    classes_only(job.recipe.task, "a probe of layers")
    data = job.data
    train, val, test = layers.of_pictures(job, [data.train, data.val, data.test])
    found = []
    for layer in train:
        fitted = probe.fit(
            (train[layer], data.train.labels), (val[layer], data.val.labels), len(data.classes)
        )
        logits = {"val": fitted.logits(val[layer]), "test": fitted.logits(test[layer])}
        settings = job.config.evaluation
        decision = evaluation.fit_decision(
            logits["val"], data.val.labels, classes=data.classes, settings=settings
        )
        found.append(
            Layer(
                name=layer,
                width=train[layer].shape[1],
                decay=fitted.decay,
                val_nll=float(metrics.nll(logits["val"], data.val.labels)),
                test=evaluation.measure(
                    logits["test"],
                    data.test.labels,
                    data.test.groups,
                    classes=data.classes,
                    decision=decision,
                    settings=settings,
                ),
                logme=transferability.logme(train[layer], data.train.labels),
                h_score=transferability.h_score(train[layer], data.train.labels),
            )
        )
    return Network(name, found, _leep(config, train["neck"], data.train.labels))


def _leep(config: ConfigDict, features: np.ndarray, labels: np.ndarray) -> float | None:
    """LEEP of the head that the weights came with, on what the neck gives it."""
    model = config.model
    if not model.pretrained:
        return None
    try:
        own, _ = pretrained.load(model.pretrained, cache_dir=model.cache_dir or None, offline=model.offline)
    except pretrained.PretrainedError:  # there is none in the file; all else has been loaded before
        return None
    if own.spec.features != features.shape[1]:  # the config's neck is not the one that this head reads
        return None
    return transferability.leep(jax.nn.softmax(own.head(features), axis=-1), labels)
