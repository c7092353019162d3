"""Greedy decoding: always the most likely next token."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tl_jax.backbones.text import PADDING
from tl_jax.generation.begin import LanguageModel, begin, step


class _State(NamedTuple):
    """``tokens`` (B, new): written so far, ``at`` of them; ``ended`` (B,) bool: rows that hold the end."""

    at: jax.Array
    tokens: jax.Array
    logits: jax.Array
    cache: Any
    ended: jax.Array


def greedy(model: LanguageModel, prompts: jax.Array, *, end: int, new: int) -> jax.Array:
    """See `tl_jax.generation.generate`."""
    begun = begin(model, prompts, new)
    rows = len(prompts)

    def goes_on(state: _State) -> jax.Array:
        return (state.at < new) & ~state.ended.all()

    def write(state: _State) -> _State:
        token = jnp.where(state.ended, PADDING, state.logits.argmax(-1).astype(jnp.int32))
        tokens = state.tokens.at[:, state.at].set(token)
        logits, cache = step(model, token, state.cache, begun.lengths + state.at)
        return _State(state.at + 1, tokens, logits, cache, state.ended | (token == end))

    start = _State(
        jnp.int32(0),
        jnp.full((rows, new), PADDING, jnp.int32),
        begun.logits,
        begun.cache,
        jnp.zeros(rows, bool),
    )
    return jax.lax.while_loop(goes_on, write, start).tokens
