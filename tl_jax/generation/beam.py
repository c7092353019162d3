"""Beam search: the best of several beginnings are carried on together.

A text's score is the sum of its tokens' log-probabilities over (its length with the end) ** penalty, as
`generate` of transformers has it with ``early_stopping=False``: a row is closed when no living beam, divided
by its own length, is above the worst of as many ended texts as there are beams. With a penalty a longer text
might still have become better; this is where a search that stops early may lose it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tl_jax.backbones.text import PADDING
from tl_jax.generation.begin import LanguageModel, begin, step

DEAD = -jnp.inf
"""The score of a beam that there is not."""


class _State(NamedTuple):
    """Of each row K living beams and the K best ended texts: their ``scores`` (B, K), falling, and ``tokens``
    (B, K, new), ``at`` of them written. ``open`` (B,) bool: rows that are searched on."""

    at: jax.Array
    scores: jax.Array
    tokens: jax.Array
    ended_scores: jax.Array
    ended_tokens: jax.Array
    logits: jax.Array
    cache: Any
    open: jax.Array


def beam(
    model: LanguageModel, prompts: jax.Array, *, end: int, new: int, beams: int, penalty: float = 1.0
) -> jax.Array:
    """See `tl_jax.generation.generate`."""
    begun = begin(model, prompts, new)
    rows, words = begun.logits.shape
    lengths = jnp.repeat(begun.lengths, beams)

    def goes_on(state: _State) -> jax.Array:
        return (state.at < new) & state.open.any()

    def search(state: _State) -> _State:
        at = state.at
        # Of each row the best 2K ways to go on: K of them at the least do not end.
        sums = jax.nn.log_softmax(state.logits).reshape(rows, beams, words) + state.scores[..., None]
        sums, index = jax.lax.top_k(sums.reshape(rows, -1), min(2 * beams, beams * words))
        source, token = index // words, (index % words).astype(jnp.int32)
        texts = _rows(state.tokens, source).at[:, :, at].set(token)
        ends = (token == end) | (at == new - 1)

        # An end beyond the first K is no find, as it would not have been carried on either.
        good = ends & (jnp.arange(sums.shape[1]) < beams)[None] & state.open[:, None]
        finds = jnp.where(good, sums / (at + 1.0) ** penalty, DEAD)
        ended_scores, chosen = jax.lax.top_k(jnp.concatenate([state.ended_scores, finds], 1), beams)
        ended_tokens = _rows(jnp.concatenate([state.ended_tokens, texts], 1), chosen)

        scores, chosen = jax.lax.top_k(jnp.where(ends, DEAD, sums), beams)
        source, token = _rows(source, chosen), _rows(token, chosen)
        where = (jnp.arange(rows)[:, None] * beams + source).reshape(-1)
        cache = jax.tree.map(lambda leaf: leaf[where], state.cache)
        logits, cache = step(model, token.reshape(-1), cache, lengths + at)
        return _State(
            at + 1,
            scores,
            _rows(texts, chosen),
            ended_scores,
            ended_tokens,
            logits,
            cache,
            state.open & (scores[:, 0] / (at + 1.0) ** penalty > ended_scores[:, -1]),
        )

    nothing = jnp.full((rows, beams), DEAD)
    blank = jnp.full((rows, beams, new), PADDING, jnp.int32)
    start = _State(
        jnp.int32(0),
        nothing.at[:, 0].set(0.0),
        blank,
        nothing,
        blank,
        jnp.repeat(begun.logits, beams, axis=0),
        jax.tree.map(lambda leaf: jnp.repeat(leaf, beams, axis=0), begun.cache),
        jnp.ones(rows, bool),
    )
    return jax.lax.while_loop(goes_on, search, start).ended_tokens[:, 0]


def _rows(values: jax.Array, index: jax.Array) -> jax.Array:
    """``values`` (B, n, …) at ``index`` (B, m): (B, m, …)."""
    index = index.reshape(*index.shape, *(1,) * (values.ndim - 2))
    return jnp.take_along_axis(values, index, axis=1)
