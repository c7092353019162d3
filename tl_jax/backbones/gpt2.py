"""GPT-2: what a ``config.json`` with ``model_type: "gpt2"`` can say.

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", in the layout of
``transformers.GPT2ForSequenceClassification``: layers with their norms first, in which no token looks at
later ones, and a last norm. So the ``"last"`` token has seen all of the text, and is what the classifier
reads; ``pooling`` may also be ``"mean"``. With ``"each"`` it is the language model itself, in the layout of
``GPT2LMHeadModel``: a logit for each word of the vocabulary, after every token, by the words' own embeddings
unless ``tie_word_embeddings`` is false. The checkpoint keeps query, key and value as one kernel, and kernels
as (in, out).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from tl_jax.backbones import hf_config, text
from tl_jax.backbones.anatomy import Head, Preprocess, Spec, TextInput
from tl_jax.backbones.text import Embeddings, Neck, NextToken, TextBackbone
from tl_jax.backbones.transformer import Block, Cache, quarters
from tl_jax.pretrained import lines
from tl_jax.pretrained.rules import Ignore, Rule
from tl_jax.pretrained.transforms import LINEAR

READS_TEXT = True
WRITES = True

DEFAULTS: dict[str, Any] = {
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "activation_function": "gelu_new",
    "resid_pdrop": 0.1,
    "embd_pdrop": 0.1,
    "attn_pdrop": 0.1,
    "layer_norm_epsilon": 1e-5,
    "initializer_range": 0.02,
    "pooling": "last",
}
"""What transformers takes where a config says nothing: the smallest GPT-2."""


END = 50256
"""The token that ends a text where a config says nothing (``eos_token_id``)."""

ARCHITECTURES = {"last": "GPT2ForSequenceClassification", "each": "GPT2LMHeadModel"}
"""What transformers calls them, by pooling."""


def _size(width: int, depth: int, heads: int) -> dict[str, Any]:
    return {"model_type": "gpt2", "n_embd": width, "n_layer": depth, "n_head": heads}


sizes: dict[str, dict[str, Any]] = {
    "gpt2": _size(768, 12, 12),
    "gpt2-medium": _size(1024, 24, 16),
    "gpt2-large": _size(1280, 36, 20),
    "gpt2-xl": _size(1600, 48, 25),
}
"""Named configs, as `build` takes them."""


class GPT2(TextBackbone):
    """See the module docstring; made by `build`."""

    def __init__(
        self, config: Mapping[str, Any], spec: Spec, *, outputs: int, dropout: float, rngs: nnx.Rngs
    ):
        layer = _layer(config)
        self.spec = spec
        self.stem = Embeddings({**layer, "hidden_dropout_prob": config["embd_pdrop"]}, norm=False, rngs=rngs)
        self.blocks = nnx.List([Block(layer, causal=True, rngs=rngs) for _ in range(config["n_layer"])])
        self.neck = Neck(layer, norm=True, rngs=rngs)
        self.head = (
            NextToken(layer, tied=_tied(config), dropout=dropout, rngs=rngs)
            if spec.sequence
            else Head(spec.features, outputs, dropout=dropout, bias=False, rngs=rngs)
        )

    def answer(self, features: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        if isinstance(self.head, NextToken):
            return self.head(features, self.stem.words[...], key=key)
        return super().answer(features, key=key)

    def cache(self, rows: int, length: int) -> tuple[Cache, ...]:
        """Room in which `extend` keeps, of ``rows`` texts, what ``length`` tokens leave behind in each
        block."""
        attention = self.blocks[0].attention
        shape = (rows, length, attention.heads, self.spec.features // attention.heads)
        empty = jnp.zeros(shape, self.stem.words[...].dtype)
        return tuple({"keys": empty, "values": empty} for _ in self.blocks)

    def extend(
        self, tokens: jax.Array, cache: Sequence[Cache], at: jax.Array
    ) -> tuple[jax.Array, tuple[Cache, ...]]:
        """The neck's features (B, m, width) of tokens (B, m) int32, none of them padding, that stand ``at``
        (B,) int and after it in texts whose beginnings are in the cache; and the cache with them. In
        inference mode."""
        x = self.stem(tokens, at=at)["x"]
        kept = []
        for block, own in zip(self.blocks, cache, strict=True):
            x, own = block.extend(x, own, at)
            kept.append(own)
        return self.neck({"x": x, "mask": jnp.ones(tokens.shape, bool)}), tuple(kept)


def build(
    config: Mapping[str, Any],
    *,
    preprocess: Preprocess | None = None,
    channels: int | None = None,
    image_size: int | None = None,
    outputs: int | None = None,
    dropout: float = 0.0,
    rngs: nnx.Rngs,
) -> GPT2:
    """A GPT-2 with random weights, in training mode. Arguments and errors are those of `bert.build`. A
    language model has as many ``outputs`` as words."""
    config = _checked(config)
    levels = quarters(config["n_layer"])
    end = config.get("eos_token_id", END)
    ends = isinstance(end, int) and 0 <= end < config["vocab_size"]  # a file may hold null, or several
    architecture = ARCHITECTURES.get(config["pooling"], "GPT2Model")
    spec = Spec(
        family="gpt2",
        levels=levels,
        strides=(1,) * len(levels),
        widths=(config["n_embd"],) * len(levels),
        origins=(0.0,) * len(levels),
        features=config["n_embd"],
        text=TextInput(config["vocab_size"], config["n_positions"], end if ends else None),
        config={**config, "architectures": [architecture]},
        sequence=config["pooling"] == "each",
    )
    outputs = hf_config.outputs(config) if outputs is None else outputs
    return GPT2(config, spec, outputs=outputs, dropout=dropout, rngs=rngs)


def table(config: Mapping[str, Any]) -> tuple[Rule | Ignore, ...]:
    """How the arrays of ``GPT2ForSequenceClassification``, of ``GPT2LMHeadModel`` or of the base model become
    our leaves."""
    config = _checked(config)
    layer, block = "[transformer.]h.{i}", "blocks/{i}"
    buffer = "a constant of the attention"
    return (
        Rule("[transformer.]wte.weight", "stem/words"),
        Rule("[transformer.]wpe.weight", "stem/positions"),
        *lines.norm(f"{layer}.ln_1", f"{block}/norm1"),
        *_whole(f"{layer}.attn.c_attn", f"{block}/attention/qkv"),
        *_whole(f"{layer}.attn.c_proj", f"{block}/attention/out"),
        *lines.norm(f"{layer}.ln_2", f"{block}/norm2"),
        *_whole(f"{layer}.mlp.c_fc", f"{block}/mlp/fc1"),
        *_whole(f"{layer}.mlp.c_proj", f"{block}/mlp/fc2"),
        *lines.norm("[transformer.]ln_f", "neck/norm"),
        *_head(config),
        Ignore(f"{layer}.attn.bias", buffer),
        Ignore(f"{layer}.attn.masked_bias", buffer),
    )


def _head(config: Mapping[str, Any]) -> list[Rule | Ignore]:
    if config["pooling"] != "each":
        words = Ignore("lm_head.weight", "predicts the next word; the classifier does not")
        return [Rule("score.weight", "head/linear/kernel", LINEAR), words]
    classifier = Ignore("score.weight", "tells classes apart; the language model does not")
    if not _tied(config):
        return [Rule("lm_head.weight", "head/linear/kernel", LINEAR), classifier]
    why = "the words' embeddings, to which it is tied"
    return [Ignore("lm_head.weight", why, same="[transformer.]wte.weight"), classifier]


def _tied(config: Mapping[str, Any]) -> bool:
    """Whether the words' embeddings are the head of the language model, too."""
    return bool(config.get("tie_word_embeddings", True))


def _whole(theirs: str, ours: str) -> list[Rule | Ignore]:
    """A linear layer whose kernel lies as ours do."""
    return [Rule(f"{theirs}.weight", f"{ours}/kernel"), Rule(f"{theirs}.bias", f"{ours}/bias")]


def _layer(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config in the words of `tl_jax.backbones.transformer`."""
    return {
        **config,
        "hidden_size": config["n_embd"],
        "num_attention_heads": config["n_head"],
        "intermediate_size": config.get("n_inner") or 4 * config["n_embd"],
        "hidden_act": config["activation_function"],
        "hidden_dropout_prob": config["resid_pdrop"],
        "attention_probs_dropout_prob": config["attn_pdrop"],
        "layer_norm_eps": config["layer_norm_epsilon"],
        "max_position_embeddings": config["n_positions"],
        "qkv_bias": True,
        "qkv_fused": True,
    }


def _checked(config: Mapping[str, Any]) -> dict[str, Any]:
    config = hf_config.complete({"model_type": "gpt2", **config}, DEFAULTS)
    problems = hf_config.problems(config, DEFAULTS, act="activation_function")
    problems = problems or text.problems(_layer(config), ("last", "mean", "each"))
    if not config.get("scale_attn_weights", True) or config.get("scale_attn_by_inverse_layer_idx"):
        problems.append(
            "attention is scaled by the width of a head alone: set scale_attn_weights=true and "
            "scale_attn_by_inverse_layer_idx=false"
        )
    if config.get("add_cross_attention"):
        problems.append("add_cross_attention=true is not built: there is no encoder to look at")
    if problems:
        raise hf_config.ConfigError("gpt2", problems)
    return config
