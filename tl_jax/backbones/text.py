"""What networks that read text share: tokens in, a mask that travels with them, and one vector out.

A text is a row of token numbers (B, n) int32, padded at the end with -1, which no vocabulary has: so one
array holds both the tokens and which of them are there. No block lets a token look at padding, so how far
a batch is padded changes no logit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from tl_jax.backbones import product, transformer
from tl_jax.backbones.anatomy import Backbone, Carry
from tl_jax.backbones.drop import dropped
from tl_jax.backbones.hf_config import normal
from tl_jax.backbones.product import Linear
from tl_jax.backbones.transformer import layer_norm

PADDING = -1
"""In the place of a token where a text has ended."""

POOLINGS = ("pooler", "first", "mean", "last", "each")
"""How tokens become one vector; "pooler" is a layer of its own on the first token, with an activation. With
"each" they do not: every token keeps its own."""


def problems(config: Mapping[str, Any], poolings: Sequence[str]) -> list[str]:
    """What is wrong with the sizes that these families share, and with the pooling."""
    found = transformer.problems(config)
    if config["pooling"] not in poolings:
        found.append(f"pooling={config['pooling']!r} is none of {', '.join(map(repr, poolings))}")
    return found


def mean(carry: Carry) -> jax.Array:
    """The mean of x (B, n, width) over the tokens that are there, (B, width)."""
    there = carry["mask"][..., None].astype(carry["x"].dtype)
    return (carry["x"] * there).sum(1) / jnp.maximum(there.sum(1), 1)


class Embeddings(nnx.Module):
    """Tokens (B, n) int32 → x (B, n, width), the sum of what word, position and segment (the first) say, and
    mask (B, n) bool. ``offset``: rows of the position table before that of the first token; ``segments``:
    rows of the segment table, 0 for none; ``norm``: whether the sum is normalised."""

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        offset: int = 0,
        segments: int = 0,
        norm: bool = True,
        rngs: nnx.Rngs,
    ):
        width, init = config["hidden_size"], normal(config["initializer_range"])
        self.longest, self.offset = config["max_position_embeddings"] - offset, offset
        self.words = nnx.Param(init(rngs.params(), (config["vocab_size"], width)))
        self.positions = nnx.Param(init(rngs.params(), (config["max_position_embeddings"], width)))
        self.segments = nnx.Param(init(rngs.params(), (segments, width))) if segments else None
        self.norm = layer_norm(config, rngs) if norm else None
        self.dropout = nnx.Dropout(config["hidden_dropout_prob"])

    def __call__(
        self, inputs: jax.Array, *, at: jax.Array | None = None, key: jax.Array | None = None
    ) -> Carry:
        """``at`` (B,) int: the place of the first token of each row, None: the first."""
        if inputs.ndim != 2 or not jnp.issubdtype(inputs.dtype, jnp.integer):
            raise ValueError(
                f"this network reads tokens (B, n) of integers, not {inputs.dtype}{inputs.shape}"
            )
        n = inputs.shape[1]
        if n > self.longest:
            raise ValueError(f"this network reads {self.longest} tokens at the most, not {n}: cut the texts")
        mask = inputs != PADDING
        x = self.words[...][jnp.where(mask, inputs, 0)]
        if at is None:
            x = x + self.positions[...][None, self.offset : self.offset + n]
        else:
            x = x + self.positions[...][self.offset + at[:, None] + jnp.arange(n)[None]]
        if self.segments is not None:
            x = x + self.segments[...][None, :1]
        if self.norm is not None:
            x = self.norm(x)
        return {"x": dropped(self.dropout, x, key), "mask": mask}


class Neck(nnx.Module):
    """x (B, n, width) and mask (B, n) → (B, width), or (B, n, width), as ``pooling`` (one of `POOLINGS`)
    says.

    ``norm`` is a layer norm that comes first; ``act`` the pooler's activation. ``before`` is dropout of that
    rate ahead of the pooler.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        norm: bool = False,
        act: Any = jnp.tanh,
        before: float = 0.0,
        rngs: nnx.Rngs,
    ):
        width, init = config["hidden_size"], normal(config["initializer_range"])
        self.pooling, self.act = config["pooling"], act
        self.norm = layer_norm(config, rngs) if norm else None
        self.dropout = nnx.Dropout(before)
        pooler = self.pooling == "pooler"
        self.pooler = nnx.Linear(width, width, kernel_init=init, rngs=rngs) if pooler else None

    @property
    def tokens(self) -> int | None:
        """How many of the first tokens it reads; None for all of them."""
        return 1 if self.pooling in ("pooler", "first") else None

    def __call__(self, carry: Carry, *, key: jax.Array | None = None) -> jax.Array:
        x, mask = carry["x"], carry["mask"]
        if self.pooling == "last":
            last = jnp.maximum(mask.sum(1) - 1, 0)
            x = jnp.take_along_axis(x, last[:, None, None], axis=1)
        x = x[:, : self.tokens] if self.norm is None else self.norm(x[:, : self.tokens])
        if self.pooling == "each":
            return x
        if self.pooling == "mean":
            return mean({"x": x, "mask": mask})
        x = x[:, 0]
        return x if self.pooler is None else self.act(self.pooler(dropped(self.dropout, x, key)))


class NextToken(nnx.Module):
    """The head of a language model: features (…, width) → a logit for each token of the vocabulary (…, V) to
    be the next. By a kernel of its own or, where ``tied``, by the embeddings of the stem."""

    def __init__(
        self, config: Mapping[str, Any], *, tied: bool, dropout: float = 0.0, rngs: nnx.Rngs
    ) -> None:
        width, init = config["hidden_size"], normal(config["initializer_range"])
        self.dropout = nnx.Dropout(dropout)
        made = (
            None if tied else Linear(width, config["vocab_size"], use_bias=False, kernel_init=init, rngs=rngs)
        )
        self.linear = made

    def __call__(self, features: jax.Array, words: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """``words`` (V, width): the embeddings."""
        features = dropped(self.dropout, features, key)
        return product.times(features, words.T) if self.linear is None else self.linear(features)


class TextBackbone(Backbone):
    """A backbone whose carry has a mask beside x."""

    stem: Embeddings
    neck: Neck

    def last(self, carry: Carry, *, key: jax.Array | None = None) -> Carry:
        """The last block for the tokens that the neck reads: of the others, only keys and values."""
        tokens = self.neck.tokens
        found = self.blocks[-1](carry, key=key, tokens=tokens)
        return {**found, "mask": found["mask"][:, :tokens]}

    def feature_map(self, carry: Carry) -> jax.Array:
        """The tokens as a map of one row, (B, 1, n, width); what is padding is there too."""
        return carry["x"][:, None]

    def mean(self, carry: Carry) -> jax.Array:
        """The mean of the tokens that are there, (B, width)."""
        return mean(carry)

    def pack(self, carry: Carry) -> jax.Array:
        """x with the mask as a last channel, (B, n, width + 1)."""
        x = carry["x"]
        return jnp.concatenate([x, carry["mask"][..., None].astype(x.dtype)], axis=-1)

    def unpack(self, packed: jax.Array) -> Carry:
        return {"x": packed[..., :-1], "mask": packed[..., -1] > 0}
