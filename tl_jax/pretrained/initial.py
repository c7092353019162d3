"""Initial weights as a function of a seed: the random keys that a model is made with, and what another seed
would have drawn."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import jax
import numpy as np
from flax import nnx

from tl_jax import backbones
from tl_jax.backbones.anatomy import Backbone, Leaves, split


class _Counted(nnx.RngStream):
    """The keys of its base class, counted on the host. That one's counter becomes traced where a model is
    only outlined, and each key drawn then takes longer than all else that makes a model."""

    def __init__(self, seed: int | jax.Array) -> None:
        super().__init__(seed, tag="default")
        self.drawn = 0

    def __call__(self) -> jax.Array:
        self.drawn += 1
        return jax.random.fold_in(self.key[...], np.uint32(self.drawn - 1))


def keys(seed: int | jax.Array) -> nnx.Rngs:
    """``nnx.Rngs(seed)``, to the bit. ``seed``: a number, or the key that it makes."""
    rngs = nnx.Rngs(seed)
    rngs.default = _Counted(seed)  # pyright: ignore[reportAttributeAccessIssue]
    return rngs


def redrawn(model: Backbone, paths: Collection[str], seeds: Sequence[int]) -> list[Leaves]:
    """For each seed, the initial values of these leaves, of a model that `load` or `scratch` has made: what
    they would have drawn for them, to the bit."""
    spec = model.spec

    @jax.jit
    def initial(key: jax.Array) -> Leaves:
        made = backbones.build(
            spec.config,
            preprocess=spec.preprocess,
            channels=spec.channels,
            image_size=spec.preprocess.size[0],
            dropout=0.0,  # draws nothing
            rngs=keys(key),
        )
        _, params, stats = split(made)
        return {path: leaf for path, leaf in {**params, **stats}.items() if path in paths}

    return [initial(jax.random.key(seed)) for seed in seeds]
