"""Models made from a description, and parts of them: shapes alone, or some of the initial values.

Making all of a model costs time and memory that most questions about it do not need.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
from flax import nnx

from tl_jax import backbones, compilation
from tl_jax.backbones.anatomy import Backbone, Leaves, Preprocess, merge, set_mode, split
from tl_jax.pretrained import facts
from tl_jax.pretrained import top as tops
from tl_jax.pretrained.errors import PretrainedError
from tl_jax.pretrained.initial import keys


@dataclass(frozen=True)
class Build:
    """Makes the model of a description; what is drawn is drawn by ``seed``."""

    config: Mapping[str, Any]
    preprocess: Preprocess
    channels: int | None
    image_size: int | None
    dropout: float
    seed: int

    def __call__(self) -> Backbone:
        model = backbones.build(
            self.config,
            preprocess=self.preprocess,
            channels=self.channels,
            image_size=self.image_size,
            dropout=self.dropout,
            rngs=keys(self.seed),
        )
        set_mode(model, dropout=False, batch_statistics=False)
        return model


def abstract_model(build: Build, where: str) -> Backbone:
    """The model with shapes in the place of arrays: nothing is computed."""
    key = (abstract_model, repr(replace(build, seed=0)))
    graph, leaves = compilation.once(key, lambda: apart(made(lambda: nnx.eval_shape(build), where)))
    return merge(graph, leaves)


def made(build: Callable[[], Backbone], where: str) -> Backbone:
    """What it builds; what cannot be built is a PretrainedError that begins with ``where``."""
    try:
        return build()
    except ValueError as error:
        raise PretrainedError(f"{where}: {error}") from error


def apart(model: Backbone) -> tuple[nnx.GraphDef, Leaves]:
    """The model's static part, and its leaves."""
    graph, params, stats = split(model)
    return graph, {**params, **stats}


def initial(build: Build, paths: Collection[str]) -> Leaves:
    """The initial values of these leaves. Where they are those of neck and head alone, nothing is computed of
    the others, which nobody asks for; a program of many more takes longer to trace than all take to make."""
    if not paths:
        return {}
    if any(not path.startswith(("neck/", "head/")) for path in paths):
        leaves = apart(build())[1]
        return {path: leaves[path] for path in paths}

    @jax.jit
    def drawn() -> Leaves:
        return {path: leaf for path, leaf in apart(build())[1].items() if path in paths}

    return drawn()


def outline(
    found: facts.Facts,
    *,
    num_classes: int = 2,
    classes: Sequence[str] | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    top: Mapping[str, Any] | None = None,
) -> Backbone:
    """The model of these facts, with shapes in the place of arrays. The rest is as in `load.load`. Raises
    PretrainedError where there can be no such model."""
    build = Build(
        tops.wanted(found, top or {}, num_classes, classes)[0],
        preprocess=found.preprocess,
        channels=channels,
        image_size=image_size,
        dropout=0.0,
        seed=0,
    )
    return abstract_model(build, found.source)
