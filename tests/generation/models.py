"""A small causal language model with random weights, and texts for it to go on with."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from tl_jax.backbones import gpt2
from tl_jax.backbones.anatomy import merge, set_mode, split
from tl_jax.backbones.text import PADDING
from tl_jax.pretrained.initial import keys

SIZES: dict[str, Any] = dict(
    model_type="gpt2",
    vocab_size=23,
    n_positions=40,
    n_embd=16,
    n_layer=2,
    n_head=2,
    pooling="each",
    tie_word_embeddings=False,  # random ones that are tied say the same word again and again
)


def model(seed: int = 0, *, scale: float = 0.5, **changes: Any) -> gpt2.GPT2:
    """With kernels large enough for its choices to differ."""
    outline = nnx.eval_shape(lambda: gpt2.build({**SIZES, **changes}, rngs=keys(0)))
    set_mode(outline, dropout=False, batch_statistics=False)
    graph, params, _ = split(outline)
    random = np.random.default_rng(seed)
    leaves = {}
    for path, leaf in sorted(params.items()):
        centre = 1.0 if path.endswith("scale") else 0.0
        spread = scale if len(leaf.shape) > 1 else 0.1
        leaves[path] = jnp.asarray(random.normal(centre, spread, leaf.shape), jnp.float32)
    return merge(graph, leaves)


def prompts(lengths: tuple[int, ...], *, words: int = 23, seed: int = 0) -> np.ndarray:
    """Texts (B, n) int32 of these lengths, padded."""
    found = np.random.default_rng(seed).integers(0, words, (len(lengths), max(lengths)))
    return np.where(np.arange(max(lengths))[None] < np.array(lengths)[:, None], found, PADDING).astype(
        np.int32
    )
