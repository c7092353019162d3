"""BERT and RoBERTa: what a ``config.json`` with ``model_type: "bert"``, ``"roberta"``, … can say.

Devlin et al. 2018, arXiv:1810.04805, and Liu et al. 2019, arXiv:1907.11692, in the layout of
``transformers``' ``BertForSequenceClassification`` and ``RobertaForSequenceClassification``; MiniLM (Wang et
al. 2020, arXiv:2002.10957) is a small BERT. The stem is the embeddings, blocks are encoder layers with their
norms last.

The neck is what the ``pooling`` of the config says: ``"pooler"``, a layer with tanh on the first token, as
both classifiers have it, or the ``"first"`` token itself, or the ``"mean"`` of all. RoBERTa calls its pooler
the classifier's dense layer, and has no segments; its positions begin after that of the padding token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flax import nnx

from tl_jax.backbones import hf_config, text
from tl_jax.backbones.anatomy import Head, Preprocess, Spec, TextInput
from tl_jax.backbones.text import POOLINGS, Embeddings, Neck, TextBackbone
from tl_jax.backbones.transformer import NormsLast, quarters
from tl_jax.pretrained import lines
from tl_jax.pretrained.rules import Ignore, Rule
from tl_jax.pretrained.transforms import LINEAR

READS_TEXT = True

DEFAULTS: dict[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "pooling": "pooler",
    "position_embedding_type": "absolute",
}
"""What transformers takes where a config says nothing: BERT-base; and the pooling of its classifier."""

_ROBERTA: dict[str, Any] = {
    "vocab_size": 50265,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
}
_BERT, _LIKE_ROBERTA = "bert", ("roberta", "xlm-roberta", "camembert")
_POOLINGS = tuple(name for name in POOLINGS if name not in ("last", "each"))


def _size(width: int, depth: int, heads: int, **more: Any) -> dict[str, Any]:
    sizes = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": heads}
    return {"model_type": "bert", **sizes, "intermediate_size": 4 * width, **more}


sizes: dict[str, dict[str, Any]] = {
    "bert-base-uncased": _size(768, 12, 12),
    "bert-large-uncased": _size(1024, 24, 16),
    "all-MiniLM-L6-v2": _size(384, 6, 12, pooling="mean"),
    "roberta-base": _size(768, 12, 12, model_type="roberta", **_ROBERTA),
    "roberta-large": _size(1024, 24, 16, model_type="roberta", **_ROBERTA),
}
"""Named configs, as `build` takes them."""


class Bert(TextBackbone):
    """See the module docstring; made by `build`."""

    def __init__(
        self, config: Mapping[str, Any], spec: Spec, *, outputs: int, dropout: float, rngs: nnx.Rngs
    ):
        layer, roberta = {**config, "qkv_bias": True}, config["model_type"] != _BERT
        self.spec = spec
        self.stem = Embeddings(layer, offset=_offset(config), segments=config["type_vocab_size"], rngs=rngs)
        self.blocks = nnx.List([NormsLast(layer, rngs=rngs) for _ in range(config["num_hidden_layers"])])
        self.neck = Neck(layer, before=config["hidden_dropout_prob"] if roberta else 0.0, rngs=rngs)
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
) -> Bert:
    """A BERT or RoBERTa with random weights, in training mode.

    Args:
      config: a Hugging Face configuration; what it lacks is that of BERT-base or RoBERTa-base.
      preprocess, channels, image_size: of pictures, which it does not read.
      outputs: of the head, if not as many as the config has labels.
      dropout: probability, before the head.
      rngs: for the initial weights.

    Raises:
      ConfigError: listing everything in the config that cannot be built.
    """
    config = _checked(config)
    levels, width = quarters(config["num_hidden_layers"]), config["hidden_size"]
    # transformers' classifiers of these families have a pooler: what has none is a base model for it.
    kind = {_BERT: "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert"}
    of = "ForSequenceClassification" if config["pooling"] == "pooler" else "Model"
    spec = Spec(
        family=config["model_type"],
        levels=levels,
        strides=(1,) * len(levels),
        widths=(width,) * len(levels),
        origins=(0.0,) * len(levels),
        features=width,
        text=TextInput(config["vocab_size"], config["max_position_embeddings"] - _offset(config)),
        config={**config, "architectures": [kind[config["model_type"]] + of]},
    )
    outputs = hf_config.outputs(config) if outputs is None else outputs
    return Bert(config, spec, outputs=outputs, dropout=dropout, rngs=rngs)


def table(config: Mapping[str, Any]) -> tuple[Rule | Ignore, ...]:
    """How the arrays of the text classifiers of transformers (or of their base models) become our leaves."""
    config = _checked(config)
    base = "[bert.]" if config["model_type"] == _BERT else "[roberta.]"
    embeddings, layer, block = f"{base}embeddings", f"{base}encoder.layer.{{i}}", "blocks/{i}"
    pooled = config["pooling"] == "pooler"
    rules: list[Rule | Ignore] = [
        Rule(f"{embeddings}.word_embeddings.weight", "stem/words"),
        Rule(f"{embeddings}.position_embeddings.weight", "stem/positions"),
        Rule(f"{embeddings}.token_type_embeddings.weight", "stem/segments"),
        *lines.norm(f"{embeddings}.LayerNorm", "stem/norm"),
        *lines.linear(f"{layer}.attention.self.query", f"{block}/attention/query"),
        *lines.linear(f"{layer}.attention.self.key", f"{block}/attention/key"),
        *lines.linear(f"{layer}.attention.self.value", f"{block}/attention/value"),
        *lines.linear(f"{layer}.attention.output.dense", f"{block}/attention/out"),
        *lines.norm(f"{layer}.attention.output.LayerNorm", f"{block}/norm1"),
        *lines.linear(f"{layer}.intermediate.dense", f"{block}/mlp/fc1"),
        *lines.linear(f"{layer}.output.dense", f"{block}/mlp/fc2"),
        *lines.norm(f"{layer}.output.LayerNorm", f"{block}/norm2"),
        Ignore(f"{embeddings}.position_ids", "the numbers 0, 1, 2, …"),
        Ignore("cls.*", "used in masked pretraining only"),
        Ignore("lm_head.*", "used in masked pretraining only"),
    ]
    if config["model_type"] == _BERT:
        rules += lines.linear("classifier", "head/linear")
        rules += _pooler(f"{base}pooler.dense") if pooled else [Ignore(f"{base}pooler.*", _unread(config))]
    else:
        rules += lines.linear("classifier.out_proj", "head/linear")
        rules.append(Ignore(f"{base}pooler.*", "RoBERTa's classifier has a layer of its own for it"))
        rules += _pooler("classifier.dense") if pooled else [Ignore("classifier.dense.*", _unread(config))]
    return tuple(rules)


def _pooler(theirs: str) -> list[Rule | Ignore]:
    return [
        Rule(f"{theirs}.weight", "neck/pooler/kernel", LINEAR, lacking="the checkpoint has no pooler"),
        Rule(f"{theirs}.bias", "neck/pooler/bias", lacking="the checkpoint has no pooler"),
    ]


def _unread(config: Mapping[str, Any]) -> str:
    return f"pooling={config['pooling']!r} does not use it"


def _offset(config: Mapping[str, Any]) -> int:
    """The row of the position table that is the first token's."""
    return 0 if config["model_type"] == _BERT else config["pad_token_id"] + 1


def _checked(config: Mapping[str, Any]) -> dict[str, Any]:
    kind = config.get("model_type", _BERT)
    defaults = {**DEFAULTS, **_ROBERTA} if kind in _LIKE_ROBERTA else DEFAULTS
    padding = 0 if kind == _BERT else 1
    given = {name: value for name, value in config.items() if (name, value) != ("pad_token_id", None)}
    config = hf_config.complete({"model_type": kind, "pad_token_id": padding, **given}, defaults)
    problems = hf_config.problems(config, defaults) or text.problems(config, _POOLINGS)
    if kind in _LIKE_ROBERTA and not problems:
        rows, padding = config["max_position_embeddings"], config["pad_token_id"]
        if not isinstance(padding, int) or not 0 <= padding < rows - 1:
            problems.append(
                f"pad_token_id={padding!r} must be an integer, 0 ≤ value < {rows - 1}: the first token's "
                f"position is the row after it, of max_position_embeddings={rows}"
            )
    if config["position_embedding_type"] != "absolute":
        problems.append(
            f"position_embedding_type={config['position_embedding_type']!r} is not built; only 'absolute' is"
        )
    if config.get("is_decoder"):
        problems.append("is_decoder=true is not built: these networks read in both directions")
    if problems:
        raise hf_config.ConfigError(config["model_type"], problems)
    return config
