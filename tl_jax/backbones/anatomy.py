"""The anatomy every backbone shares, and the few functions that rest on it.

A backbone is ``stem → block 0 → … → block n-1 → neck → head``. Freezing by depth, layer-wise
learning rates, gradual unfreezing, taps and the frozen prefix are all statements about that chain,
so they are written once, here and in ``freeze.py``, and never again for a family.

Parameters travel through the program as plain dictionaries from path to array, such as
``{"blocks/7/conv/0/kernel": …}``: easy to filter, to print, to compare and to store.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
from flax import nnx

Carry = Mapping[str, jax.Array]
"""What one block hands to the next: ``{"x": …, "mask": …}``; the leading axis is the batch."""

Leaves = dict[str, Any]
"""Arrays by path, such as ``{"stem/conv/kernel": …}``: of JAX, of NumPy, or only their shapes."""


@dataclass(frozen=True)
class Preprocess:
    """How pictures were prepared when the weights were made.

    ``size`` is (height, width) in pixels. ``mean`` and ``std`` apply to values in 0…1, one number a
    channel. ``resample`` is ``"nearest" | "bilinear" | "bicubic" | "lanczos"``. ``crop`` is the share
    of the resized picture that a centre crop kept (1.0: no crop). ``fit`` says how a picture that is
    not square met the square: ``"squash" | "crop" | "pad"`` (see docs/data.md).
    """

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    resample: str = "bilinear"
    crop: float = 1.0
    fit: str = "squash"


@dataclass(frozen=True)
class TextInput:
    """What a network that reads text takes: numbers of tokens below ``vocabulary``, ``longest`` of them at
    the most. ``end``: the token that ends a text, None where its config names none that there is."""

    vocabulary: int
    longest: int
    end: int | None = None


@dataclass(frozen=True)
class Spec:
    """Static facts of a backbone, read from its ``config.json``.

    ``levels[j]`` is the number of blocks up to and including level j; ``strides[j]`` and
    ``widths[j]`` are the input pixels per feature-map cell and the channels at its end, ``origins[j]`` the
    pixel on which its first cell is centred, counted from 0: (p - 1) / 2 for patches of p pixels, 0 for what
    convolutions of odd size make in steps, padded alike on both sides.
    ``features`` is the length of the vector that the neck hands to the head, ``channels`` the number
    of input channels, ``config`` the Hugging Face configuration the backbone was built from. ``text`` is None
    where it reads pictures; else strides, origins, channels and preprocessing say nothing.
    ``sequence``: neck and head keep tokens apart, (B, n, features) and (B, n, vocabulary), and the head says
    which token comes next.
    ``pooled_last``: the last block of a level takes the step to its stride, as where pooling ends it, and not
    the first one, as in a ResNet.
    """

    family: str
    levels: tuple[int, ...]
    strides: tuple[int, ...]
    widths: tuple[int, ...]
    origins: tuple[float, ...]
    features: int
    channels: int = 3
    preprocess: Preprocess = Preprocess()
    text: TextInput | None = None
    config: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False)
    pooled_last: bool = False
    sequence: bool = False

    def grid(self, blocks: int) -> tuple[int, float]:
        """Stride and origin of the map after the first ``blocks`` blocks, 1 block at least."""
        level = bisect_left(self.levels, blocks)
        if self.pooled_last and blocks < self.levels[level]:
            level -= 1
        return (self.strides[level], self.origins[level]) if level >= 0 else (1, 0.0)

    def cells(self, side: int, blocks: int) -> int:
        """Cells of that map along a side of a picture of ``side`` pixels: as many as are centred no nearer to
        the one edge than the first is to the other."""
        stride, origin = self.grid(blocks)
        return max(0, int((side - 1 - 2 * origin) // stride) + 1)


class Backbone(nnx.Module):
    """The contract: what a family must define, and the call that follows from it.

    ``stem(inputs, *, key) → Carry``; ``block(carry, *, key) → Carry``;
    ``neck(carry, *, key) → (B, features)``; ``head(features) → the task's output``.
    ``key`` is a PRNG key, or None in inference mode.
    """

    spec: Spec
    stem: nnx.Module
    blocks: nnx.List
    neck: nnx.Module
    head: nnx.Module

    def feature_map(self, carry: Carry) -> jax.Array:
        """The carry as a map (B, h, w, c), prefix tokens dropped."""
        raise NotImplementedError(f"{type(self).__name__} must define feature_map")

    def mean(self, carry: Carry) -> jax.Array:
        """The mean of a carry over its places, (B, c)."""
        return self.feature_map(carry).mean(axis=(1, 2))

    def pack(self, carry: Carry) -> jax.Array:
        """A carry as one array (B, …), to be kept."""
        return carry["x"]

    def unpack(self, packed: jax.Array) -> Carry:
        """The carry of what `pack` gave, in its precision."""
        return {"x": packed}

    def last(self, carry: Carry, *, key: jax.Array | None = None) -> Carry:
        """The last block, for the neck alone: a family may leave out what its neck does not read. `run`
        computes it whole, as taps and feature maps need it."""
        return self.blocks[-1](carry, key=key)

    def answer(self, features: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """What the head makes of the neck's features; a family whose head shares weights with its stem says
        how."""
        return self.head(features, key=key)

    def depth(self, path: str) -> int:
        """Depth of a parameter path: 0 for the stem, i+1 for block i, n+1 for neck and head."""
        part, _, rest = path.partition("/")
        if part == "stem":
            return 0
        if part == "blocks":
            return int(rest.partition("/")[0]) + 1
        if part in ("neck", "head"):
            return len(self.blocks) + 1
        raise ValueError(f"no depth for {path!r}: paths start with stem/, blocks/<i>/, neck/ or head/")

    def __call__(self, inputs: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """Logits (B, …) of normalised inputs; images are float32 (B, height, width, channels), texts tokens
        (B, n) int32 (see `tl_jax.backbones.text`)."""
        stem_key = _keys(key, len(self.blocks))[0]
        return onward(self, self.stem(inputs, key=stem_key), 0, key=key)


def _keys(key: jax.Array | None, n: int) -> tuple[jax.Array | None, ...]:
    """Keys of stem, neck and head, and the one that `run` folds each block's number into."""
    if key is None:
        return (None,) * 4
    return (*(jax.random.fold_in(key, n + i) for i in range(3)), key)


def run(
    model: Backbone,
    carry: Carry,
    start: int = 0,
    stop: int | None = None,
    *,
    taps: Iterable[int] = (),
    key: jax.Array | None = None,
) -> tuple[Carry, dict[int, Carry]]:
    """Runs blocks ``start`` to ``stop`` (exclusive): the only loop over blocks there is.

    Returns the last carry, and ``{i: carry after block i}`` for every i in ``taps``. Each block's key
    is folded from its number, so cutting the chain anywhere changes nothing.
    """
    wanted, kept = frozenset(taps), {}
    for i in range(start, len(model.blocks) if stop is None else stop):
        carry = model.blocks[i](carry, key=None if key is None else jax.random.fold_in(key, i))
        if i in wanted:
            kept[i] = carry
    return carry, kept


def onward(
    model: Backbone, carry: Carry | jax.Array, start: int, *, key: jax.Array | None = None
) -> jax.Array:
    """Logits from the carry after ``start`` blocks; or from the neck's features (B, features), for which
    ``start`` is one more than there are blocks. With the key of the whole call, the same as that gives."""
    _, neck_key, head_key, key = _keys(key, len(model.blocks))
    if not isinstance(carry, Mapping):
        return model.answer(carry, key=head_key)
    carry = _toward_neck(model, carry, start, key=key)
    return model.answer(model.neck(carry, key=neck_key), key=head_key)


def upto(model: Backbone, inputs: jax.Array, stop: int) -> Carry | jax.Array:
    """What `onward` takes up with ``start=stop``: the model, in inference mode, on normalised inputs."""
    carry = model.stem(inputs)
    if stop < len(model.blocks):
        return run(model, carry, stop=stop)[0]
    carry = _toward_neck(model, carry, 0)
    return model.neck(carry) if stop > len(model.blocks) else carry


def _toward_neck(model: Backbone, carry: Carry, start: int, *, key: jax.Array | None = None) -> Carry:
    """What the neck reads of all blocks, from block ``start`` on."""
    end = len(model.blocks) - 1
    if start > end:
        return carry
    carry, _ = run(model, carry, start, end, key=key)
    return model.last(carry, key=None if key is None else jax.random.fold_in(key, end))


class Head(nnx.Module):
    """Dropout and one linear layer: (B, features) → (B, outputs) logits."""

    def __init__(
        self, features: int, outputs: int, *, dropout: float = 0.0, bias: bool = True, rngs: nnx.Rngs
    ):
        init = nnx.initializers.normal(0.01)
        self.dropout = nnx.Dropout(dropout)
        self.linear = nnx.Linear(features, outputs, use_bias=bias, kernel_init=init, rngs=rngs)

    def __call__(self, features: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        if key is not None:
            features = self.dropout(features, rngs=key)
        return self.linear(features)


def part_of(path: str) -> str:
    """The part a parameter's path lies in: "stem", "blocks/7", "neck" or "head"."""
    return "/".join(path.split("/")[: 2 if path.startswith("blocks/") else 1])


def split(model: nnx.Module) -> tuple[nnx.GraphDef, Leaves, Leaves]:
    """Takes a model apart: its static graph, its parameters and its statistics, both by path."""
    graph, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    return graph, _flatten(params), _flatten(stats)


def merge(graph: nnx.GraphDef, *leaves: Mapping[str, jax.Array]) -> Any:
    """Puts a model together again; the leaves may come in any number of disjoint dictionaries."""
    flat = {path: leaf for part in leaves for path, leaf in part.items()}
    state = nnx.from_flat_state((_keys_of(path), leaf) for path, leaf in flat.items())
    return nnx.merge(graph, state, copy=True)


def statistics(model: nnx.Module) -> Leaves:
    """The model's running statistics by path, as its last call left them."""
    return _flatten(nnx.state(model, nnx.BatchStat))


def set_mode(module: nnx.Module, *, dropout: bool, batch_statistics: bool) -> None:
    """Sets what is structure, not data: whether dropout acts and whose statistics BatchNorm uses."""
    module.set_attributes(deterministic=not dropout, raise_if_not_found=False)
    module.set_attributes(use_running_average=not batch_statistics, raise_if_not_found=False)


def inference_graph(model: nnx.Module) -> nnx.GraphDef:
    """Puts the model into inference mode; its static graph."""
    set_mode(model, dropout=False, batch_statistics=False)
    return split(model)[0]


def _flatten(state: nnx.State) -> Leaves:
    return {"/".join(map(str, path)): leaf for path, leaf in nnx.to_flat_state(nnx.as_pure(state))}


def _keys_of(path: str) -> tuple[str | int, ...]:
    return tuple(int(part) if part.isdigit() else part for part in path.split("/"))
