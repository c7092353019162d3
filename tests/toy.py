"""A small backbone with everything a plan must handle: BatchNorm, dropout, two levels."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from tl_jax.backbones.anatomy import Backbone, Carry, Head, Spec, merge, split
from tl_jax.pretrained.initial import keys


class Stem(nnx.Module):
    def __init__(self, width: int, rngs: nnx.Rngs):
        self.conv = nnx.Conv(3, width, (3, 3), strides=2, rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)

    def __call__(self, inputs: jax.Array, *, key: jax.Array | None = None) -> Carry:
        return {"x": nnx.relu(self.norm(self.conv(inputs)))}


class Block(nnx.Module):
    def __init__(self, width: int, rngs: nnx.Rngs):
        self.conv = nnx.Conv(width, width, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.dropout = nnx.Dropout(0.1)

    def __call__(self, carry: Carry, *, key: jax.Array | None = None) -> Carry:
        x = carry["x"]
        return {"x": x + self.dropout(nnx.relu(self.norm(self.conv(x))), rngs=key)}


class Neck(nnx.Module):
    def __init__(self, width: int, rngs: nnx.Rngs):
        self.norm = nnx.LayerNorm(width, rngs=rngs)

    def __call__(self, carry: Carry, *, key: jax.Array | None = None) -> jax.Array:
        return self.norm(jnp.mean(carry["x"], axis=(1, 2)))


class Toy(Backbone):
    def __init__(self, rngs: nnx.Rngs, *, blocks: int = 4, width: int = 8, classes: int = 2):
        self.spec = Spec("toy", (blocks // 2, blocks), (2, 2), (width, width), (0.0, 0.0), width)
        self.stem = Stem(width, rngs)
        self.blocks = nnx.List([Block(width, rngs) for _ in range(blocks)])
        self.neck = Neck(width, rngs)
        self.head = Head(width, classes, dropout=0.2, rngs=rngs)

    def feature_map(self, carry: Carry) -> jax.Array:
        return carry["x"]


def outline(**sizes: int) -> Toy:
    """The toy without weights: all that a plan needs."""
    return nnx.eval_shape(lambda: Toy(keys(0), **sizes))


def toy(seed: int = 0, **sizes: int) -> Toy:
    """A toy of its own for everybody, with weights made once a seed."""
    return merge(*_parts(seed, tuple(sizes.items())))


@cache
def _parts(seed: int, sizes: tuple[tuple[str, int], ...]) -> tuple[Any, ...]:
    return split(nnx.jit(lambda: Toy(keys(seed), **dict(sizes)))())
