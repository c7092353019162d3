"""The layer of a transformer: norms first, as ViT and GPT-2 stack it, or norms last, as BERT does.

Vaswani et al. 2017, arXiv:1706.03762; with the norm before each part (Xiong et al. 2020, arXiv:2002.04745). A
carry with a ``mask`` (B, n) bool says which tokens may be looked at. Sizes, activation and probabilities come
from a Hugging Face config: ``hidden_size``, ``num_attention_heads``, ``intermediate_size``, ``hidden_act``,
``qkv_bias``, ``layer_norm_eps``, ``initializer_range``, ``hidden_dropout_prob`` and
``attention_probs_dropout_prob``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from tl_jax.backbones import hf_config, product
from tl_jax.backbones.anatomy import Carry
from tl_jax.backbones.drop import dropped
from tl_jax.backbones.hf_config import normal
from tl_jax.backbones.layer_norm import LayerNorm
from tl_jax.backbones.product import Linear

Cache = Mapping[str, jax.Array]
"""What a layer keeps of the tokens of a text for those that come later: ``keys`` and ``values``, (B, length,
heads, d)."""


class Attention(nnx.Module):
    """Multi-head self-attention: x (B, n, width) → (B, n, width), or only its first ``tokens``.

    ``mask`` (B, n) says which tokens are looked at, None: all. With ``causal`` none looks at later ones.
    ``qkv_fused`` of the config: one layer makes queries, keys and values, as GPT-2 keeps them.
    """

    def __init__(self, config: Mapping[str, Any], *, causal: bool = False, rngs: nnx.Rngs):
        width, init = config["hidden_size"], normal(config["initializer_range"])
        made = partial(Linear, width, use_bias=config["qkv_bias"], kernel_init=init, rngs=rngs)
        self.heads, self.causal = config["num_attention_heads"], causal
        self.qkv = made(3 * width) if config.get("qkv_fused") else None
        if self.qkv is None:
            self.query, self.key, self.value = made(width), made(width), made(width)
        self.out = Linear(width, width, kernel_init=init, rngs=rngs)
        self.dropout = nnx.Dropout(config["attention_probs_dropout_prob"])

    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array | None = None,
        *,
        key: jax.Array | None = None,
        tokens: int | None = None,
    ) -> jax.Array:
        query, keys, value = self._made(x, tokens)
        seen = self._seen(mask, query.shape[1], keys.shape[1])
        if key is None or self.dropout.rate == 0 or self.dropout.deterministic:
            mixed = product.attention(query, keys, value, seen)
        else:  # jax's own attention has no dropout
            scores = jnp.einsum("bqhd,bkhd->bhqk", query, keys) * query.shape[-1] ** -0.5
            scores = product.masked(scores, seen)
            weights = jax.nn.softmax(scores.astype(jnp.float32)).astype(x.dtype)
            mixed = jnp.einsum("bhqk,bkhd->bqhd", dropped(self.dropout, weights, key), value)
        return self.out(mixed.reshape(*mixed.shape[:2], -1))

    def extend(self, x: jax.Array, cache: Cache, at: jax.Array) -> tuple[jax.Array, Cache]:
        """As a call in inference mode on x (B, m, width), for tokens ``at`` (B,) int and the m - 1 next to
        it: they look at themselves and at all that ``cache`` keeps of earlier ones. With the cache in which
        they are kept, too; a place that it lacks is lost."""
        query, keys, values = self._made(x)
        rows, places = jnp.arange(x.shape[0])[:, None], at[:, None] + jnp.arange(x.shape[1])[None]
        made = {"keys": keys, "values": values}
        kept = {name: cache[name].at[rows, places].set(part) for name, part in made.items()}
        seen = jnp.arange(kept["keys"].shape[1])[None, None] <= places[..., None]
        mixed = product.attention(query, kept["keys"], kept["values"], seen[:, None])
        return self.out(mixed.reshape(*mixed.shape[:2], -1)), kept

    def _made(self, x: jax.Array, tokens: int | None = None) -> list[jax.Array]:
        """Queries, of the first ``tokens`` only, keys and values, (B, n, heads, d) each."""
        if self.qkv is not None:
            made = jnp.split(self.qkv(x), 3, axis=-1)
            made[0] = made[0][:, :tokens]
        elif tokens is None:
            made = product.together((self.query, self.key, self.value), x)
        else:
            made = [self.query(x[:, :tokens]), *product.together((self.key, self.value), x)]
        return [part.reshape(*part.shape[:2], self.heads, -1) for part in made]

    def _seen(self, mask: jax.Array | None, queries: int, keys: int) -> jax.Array | None:
        """Which token looks at which, (B or 1, 1, queries, keys) or what broadcasts to it; None: all at
        all."""
        seen = None if mask is None else mask[:, None, None, :]
        if self.causal:
            earlier = jnp.tril(jnp.ones((queries, keys), bool))[None, None]
            seen = earlier if seen is None else seen & earlier
        return seen


class MLP(nnx.Module):
    """Two linear layers with an activation between: x (B, n, width) → (B, n, width)."""

    def __init__(self, config: Mapping[str, Any], *, rngs: nnx.Rngs):
        width, inner = config["hidden_size"], config["intermediate_size"]
        init = normal(config["initializer_range"])
        self.fc1 = Linear(width, inner, kernel_init=init, rngs=rngs)
        self.fc2 = Linear(inner, width, kernel_init=init, rngs=rngs)
        self.act = hf_config.ACTIVATIONS[config["hidden_act"]]

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.fc2(product.activated(self.fc1, self.act, x))


class Block(nnx.Module):
    """An encoder layer, norms first: x + attention(norm(x)), then x + mlp(norm(x)). With ``tokens``, only as
    many of the first ones are carried on; they have looked at all."""

    def __init__(self, config: Mapping[str, Any], *, causal: bool = False, rngs: nnx.Rngs):
        self.norm1 = layer_norm(config, rngs)
        self.attention = Attention(config, causal=causal, rngs=rngs)
        self.norm2 = layer_norm(config, rngs)
        self.mlp = MLP(config, rngs=rngs)
        self.dropout = nnx.Dropout(config["hidden_dropout_prob"])

    def __call__(self, carry: Carry, *, key: jax.Array | None = None, tokens: int | None = None) -> Carry:
        inside, first, second = (None,) * 3 if key is None else jax.random.split(key, 3)
        x = carry["x"]
        attended = self.attention(self.norm1(x), carry.get("mask"), key=inside, tokens=tokens)
        x = x[:, :tokens] + dropped(self.dropout, attended, first)
        x = x + dropped(self.dropout, self.mlp(self.norm2(x)), second)
        return {**carry, "x": x}

    def extend(self, x: jax.Array, cache: Cache, at: jax.Array) -> tuple[jax.Array, Cache]:
        """The layer as in `Attention.extend`."""
        attended, cache = self.attention.extend(self.norm1(x), cache, at)
        x = x + attended
        return x + self.mlp(self.norm2(x)), cache


class NormsLast(Block):
    """An encoder layer, norms last: norm(x + attention(x)), then norm(x + mlp(x)); the rest as in `Block`."""

    def __call__(self, carry: Carry, *, key: jax.Array | None = None, tokens: int | None = None) -> Carry:
        inside, first, second = (None,) * 3 if key is None else jax.random.split(key, 3)
        x = carry["x"]
        attended = self.attention(x, carry.get("mask"), key=inside, tokens=tokens)
        x = self.norm1(x[:, :tokens] + dropped(self.dropout, attended, first))
        x = self.norm2(x + dropped(self.dropout, self.mlp(x), second))
        return {**carry, "x": x}


def layer_norm(config: Mapping[str, Any], rngs: nnx.Rngs) -> LayerNorm:
    """Over the last axis, of ``hidden_size``."""
    return LayerNorm(config["hidden_size"], epsilon=config["layer_norm_eps"], rngs=rngs)


def quarters(depth: int) -> tuple[int, ...]:
    """The levels of a network whose blocks all work at one resolution: quarters of its depth."""
    return tuple(sorted({-(-depth * quarter // 4) for quarter in (1, 2, 3, 4)}))


def problems(config: Mapping[str, Any]) -> list[str]:
    """What is wrong with the attention that a completed config asks for."""
    width, heads = config["hidden_size"], config["num_attention_heads"]
    return [f"hidden_size={width} is no multiple of num_attention_heads={heads}"] if width % heads else []
