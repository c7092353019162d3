"""Texts written by a causal language model: the most likely next token, or the best of several beams."""

from __future__ import annotations

import jax

from tl_jax.generation.beam import beam
from tl_jax.generation.begin import LanguageModel
from tl_jax.generation.greedy import greedy

__all__ = ["LanguageModel", "beam", "generate", "greedy"]


def generate(
    model: LanguageModel, prompts: jax.Array, *, end: int, new: int, beams: int = 1, penalty: float = 1.0
) -> jax.Array:
    """What follows each prompt, by `greedy` for one beam, else by `beam`: (B, new) int32.

    ``prompts`` (B, n) int32 are padded at their ends with -1, and none is empty; rows end with the token
    ``end`` and then hold -1, or end after ``new`` tokens. Rows do not know of each other. A pure function for
    `jax.jit`, where all but the prompts is static. Raises ValueError where ``n + new`` is more than the
    network reads.
    """
    if beams == 1:
        return greedy(model, prompts, end=end, new=new)
    return beam(model, prompts, end=end, new=new, beams=beams, penalty=penalty)
