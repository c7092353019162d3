"""What a network must offer to write, and the first step of all decoding: prompts, read at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from tl_jax.backbones.anatomy import Spec
from tl_jax.backbones.text import PADDING
from tl_jax.backbones.transformer import Cache


class LanguageModel(Protocol):
    """A causal language model with a cache, as `tl_jax.backbones.gpt2.GPT2` with ``pooling="each"``."""

    spec: Spec

    def cache(self, rows: int, length: int) -> tuple[Cache, ...]: ...

    def extend(
        self, tokens: jax.Array, cache: Sequence[Cache], at: jax.Array
    ) -> tuple[jax.Array, tuple[Cache, ...]]: ...

    def answer(self, features: jax.Array) -> jax.Array: ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Begun:
    """Prompts that are read: ``logits`` (B, V) float32 of the next token, the ``cache`` with room for what
    is to come, and the ``lengths`` (B,) int32 of the prompts."""

    logits: jax.Array
    cache: Any
    lengths: jax.Array


def begin(model: LanguageModel, prompts: jax.Array, new: int) -> Begun:
    """Reads prompts (B, n), as `generate` takes them, with room for ``new`` tokens more."""
    rows, width = prompts.shape
    text = model.spec.text
    if not model.spec.sequence or text is None:
        raise ValueError("this network does not say which token comes next: build it with pooling='each'")
    if new < 1 or width + new > text.longest:
        raise ValueError(
            f"{width} tokens of prompts and {new} new ones, and the network reads {text.longest}: ask for "
            f"1 to {text.longest - width} new ones, or cut the prompts"
        )
    there = prompts != PADDING
    lengths = there.sum(1, dtype=jnp.int32)
    # What stands in the place of padding is kept too; each such place is written again before it is seen.
    features, cache = model.extend(
        jnp.where(there, prompts, 0), model.cache(rows, width + new), jnp.zeros(rows, jnp.int32)
    )
    last = jnp.take_along_axis(features, jnp.maximum(lengths - 1, 0)[:, None, None], axis=1)[:, 0]
    return Begun(model.answer(last).astype(jnp.float32), cache, lengths)


def step(model: LanguageModel, tokens: jax.Array, cache: Any, at: jax.Array) -> tuple[jax.Array, Any]:
    """Logits (B, V) float32 after tokens (B,) int32 that stand ``at`` (B,), and the cache with them."""
    features, cache = model.extend(jnp.maximum(tokens, 0)[:, None], cache, at)
    return model.answer(features[:, 0]).astype(jnp.float32), cache
