"""DistilBERT: what a ``config.json`` with ``model_type: "distilbert"`` can say.

Sanh et al. 2019, arXiv:1910.01108, in the layout of ``transformers.DistilBertForSequenceClassification``: a
BERT of half the layers, without segments. Its classifier has a layer with ReLU on the first token (the
checkpoint calls it ``pre_classifier``), which is the ``"pooler"`` here; ``pooling`` may also be ``"first"``
or ``"mean"``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
from flax import nnx

from tl_jax.backbones import hf_config, text
from tl_jax.backbones.anatomy import Head, Preprocess, Spec, TextInput
from tl_jax.backbones.text import Embeddings, Neck, TextBackbone
from tl_jax.backbones.transformer import NormsLast, quarters
from tl_jax.pretrained import lines
from tl_jax.pretrained.rules import Ignore, Rule
from tl_jax.pretrained.transforms import LINEAR

READS_TEXT = True

DEFAULTS: dict[str, Any] = {
    "vocab_size": 30522,
    "dim": 768,
    "n_layers": 6,
    "n_heads": 12,
    "hidden_dim": 3072,
    "activation": "gelu",
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "max_position_embeddings": 512,
    "initializer_range": 0.02,
    "pooling": "pooler",
}
"""What transformers takes where a config says nothing; and the pooling of its classifier."""

sizes: dict[str, dict[str, Any]] = {"distilbert-base-uncased": {"model_type": "distilbert"}}
"""Named configs, as `build` takes them."""

_POOLINGS = ("pooler", "first", "mean")
_LACKING = "the checkpoint has no pre_classifier"


class DistilBert(TextBackbone):
    """See the module docstring; made by `build`."""

    def __init__(
        self, config: Mapping[str, Any], spec: Spec, *, outputs: int, dropout: float, rngs: nnx.Rngs
    ):
        layer = _layer(config)
        self.spec = spec
        self.stem = Embeddings(layer, rngs=rngs)
        self.blocks = nnx.List([NormsLast(layer, rngs=rngs) for _ in range(config["n_layers"])])
        self.neck = Neck(layer, act=jax.nn.relu, rngs=rngs)
        self.head = Head(spec.features, outputs, dropout=dropout, rngs=rngs)


def build(
    config: Mapping[str, Any],
    *,
    preprocess: Preprocess | None = None,
    channels: int | None = None,
    image_size: int | None = None,
    outputs: int | None = None,
    dropout: float = 0.0,
    rngs: nnx.Rngs,
) -> DistilBert:
    """A DistilBERT with random weights, in training mode. Arguments and errors are those of `bert.build`."""
    config = _checked(config)
    levels = quarters(config["n_layers"])
    of = "ForSequenceClassification" if config["pooling"] == "pooler" else "Model"
    spec = Spec(
        family="distilbert",
        levels=levels,
        strides=(1,) * len(levels),
        widths=(config["dim"],) * len(levels),
        origins=(0.0,) * len(levels),
        features=config["dim"],
        text=TextInput(config["vocab_size"], config["max_position_embeddings"]),
        config={**config, "architectures": [f"DistilBert{of}"]},
    )
    outputs = hf_config.outputs(config) if outputs is None else outputs
    return DistilBert(config, spec, outputs=outputs, dropout=dropout, rngs=rngs)


def table(config: Mapping[str, Any]) -> tuple[Rule | Ignore, ...]:
    """How the arrays of ``DistilBertForSequenceClassification`` (or of its base model) become our leaves."""
    config = _checked(config)
    embeddings, layer = "[distilbert.]embeddings", "[distilbert.]transformer.layer.{i}"
    block = "blocks/{i}"
    rules: list[Rule | Ignore] = [
        Rule(f"{embeddings}.word_embeddings.weight", "stem/words"),
        Rule(f"{embeddings}.position_embeddings.weight", "stem/positions"),
        *lines.norm(f"{embeddings}.LayerNorm", "stem/norm"),
        *lines.linear(f"{layer}.attention.q_lin", f"{block}/attention/query"),
        *lines.linear(f"{layer}.attention.k_lin", f"{block}/attention/key"),
        *lines.linear(f"{layer}.attention.v_lin", f"{block}/attention/value"),
        *lines.linear(f"{layer}.attention.out_lin", f"{block}/attention/out"),
        *lines.norm(f"{layer}.sa_layer_norm", f"{block}/norm1"),
        *lines.linear(f"{layer}.ffn.lin1", f"{block}/mlp/fc1"),
        *lines.linear(f"{layer}.ffn.lin2", f"{block}/mlp/fc2"),
        *lines.norm(f"{layer}.output_layer_norm", f"{block}/norm2"),
        *lines.linear("classifier", "head/linear"),
        Ignore(f"{embeddings}.position_ids", "the numbers 0, 1, 2, …"),
        Ignore("vocab_*", "used in masked pretraining only"),
    ]
    if config["pooling"] != "pooler":
        return (*rules, Ignore("pre_classifier.*", f"pooling={config['pooling']!r} does not use it"))
    return (
        *rules,
        Rule("pre_classifier.weight", "neck/pooler/kernel", LINEAR, lacking=_LACKING),
        Rule("pre_classifier.bias", "neck/pooler/bias", lacking=_LACKING),
    )


def _layer(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config in the words of `tl_jax.backbones.transformer`."""
    return {
        **config,
        "hidden_size": config["dim"],
        "num_attention_heads": config["n_heads"],
        "intermediate_size": config["hidden_dim"],
        "hidden_act": config["activation"],
        "hidden_dropout_prob": config["dropout"],
        "attention_probs_dropout_prob": config["attention_dropout"],
        "layer_norm_eps": 1e-12,
        "qkv_bias": True,
    }


def _checked(config: Mapping[str, Any]) -> dict[str, Any]:
    config = hf_config.complete({"model_type": "distilbert", **config}, DEFAULTS)
    problems = hf_config.problems(config, DEFAULTS, act="activation")
    problems = problems or text.problems(_layer(config), _POOLINGS)
    if problems:
        raise hf_config.ConfigError("distilbert", problems)
    return config
