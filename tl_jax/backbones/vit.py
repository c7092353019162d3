"""Vision Transformer (Dosovitskiy et al. 2021) and DeiT (Touvron et al. 2021), as Hugging Face's
`ViTForImageClassification`, `DeiTForImageClassification` and `…WithTeacher` lay them out.

The stem cuts the picture into patches, projects them and adds tokens and positions; the neck is the
last LayerNorm and the choice of tokens. DeiT with a teacher averages two heads, one on the class token
and one on the distillation token: that is one linear head on both tokens, and so it is held here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tl_jax.backbones.anatomy import Backbone, Carry, Head, Preprocess, Spec
from tl_jax.backbones.layers import activation, label_count, split_key
from tl_jax.pretrained.rules import Ignore, Rule
from tl_jax.pretrained.transforms import FIRST_CONV, LINEAR, MEAN, MEAN_OF_HEADS, Shape, Transform, positions

DEFAULTS: dict[str, Any] = dict(
    hidden_size=768,
    num_hidden_layers=12,
    num_attention_heads=12,
    intermediate_size=3072,
    hidden_act="gelu",
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    layer_norm_eps=1e-12,
    image_size=224,
    patch_size=16,
    num_channels=3,
    qkv_bias=True,
)
"""What a ``config.json`` leaves out."""

_VIT = dict(model_type="vit", architectures=["ViTForImageClassification"])
_DEIT = dict(model_type="deit", architectures=["DeiTForImageClassificationWithTeacher"])
_TINY = dict(hidden_size=192, num_attention_heads=3, intermediate_size=768)
_SMALL = dict(hidden_size=384, num_attention_heads=6, intermediate_size=1536)
sizes: dict[str, dict[str, Any]] = {
    "vit-tiny-patch16-224": {**_VIT, **_TINY},
    "vit-small-patch16-224": {**_VIT, **_SMALL},
    "vit-base-patch16-224": dict(_VIT),
    "vit-base-patch32-224": {**_VIT, "patch_size": 32},
    "vit-large-patch16-224": {
        **_VIT,
        **dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096),
    },
    "deit-tiny-distilled-patch16-224": {**_DEIT, **_TINY},
    "deit-small-distilled-patch16-224": {**_DEIT, **_SMALL},
    "deit-base-distilled-patch16-224": dict(_DEIT),
}
"""Named sizes: Hugging Face configs."""


class Stem(nnx.Module):
    """Images (B, H, W, C) → tokens (B, prefix + H/p · W/p, d)."""

    def __init__(self, config: Mapping[str, Any], channels: int, grid: int, *, rngs: nnx.Rngs):
        width, self.patch = config["hidden_size"], config["patch_size"]
        init = nnx.initializers.truncated_normal(0.02)
        self.project = nnx.Linear(self.patch**2 * channels, width, kernel_init=init, rngs=rngs)
        self.class_token = nnx.Param(jnp.zeros((1, 1, width)))
        if _is_distilled(config):
            self.distillation_token = nnx.Param(jnp.zeros((1, 1, width)))
        tokens = grid**2 + prefix_tokens(config)
        self.position = nnx.Param(init(rngs.params(), (1, tokens, width)))
        self.dropout = nnx.Dropout(config["hidden_dropout_prob"])
        self.distilled = _is_distilled(config)

    def __call__(self, inputs: jax.Array, *, key: jax.Array | None = None) -> Carry:
        b, h, w, c = inputs.shape
        p = self.patch
        patches = inputs.reshape(b, h // p, p, w // p, p, c).transpose(0, 1, 3, 2, 4, 5)
        x = self.project(patches.reshape(b, (h // p) * (w // p), p * p * c))
        tokens = [self.class_token[...]] + ([self.distillation_token[...]] if self.distilled else [])
        prefix = [jnp.broadcast_to(token, (b, *token.shape[1:])).astype(x.dtype) for token in tokens]
        return {"x": self.dropout(jnp.concatenate([*prefix, x], axis=1) + self.position[...], rngs=key)}


class Attention(nnx.Module):
    """Multi-head self-attention on (B, T, d)."""

    def __init__(self, config: Mapping[str, Any], *, rngs: nnx.Rngs):
        width, bias = config["hidden_size"], config["qkv_bias"]
        init = nnx.initializers.truncated_normal(0.02)
        self.heads = config["num_attention_heads"]
        self.query = nnx.Linear(width, width, use_bias=bias, kernel_init=init, rngs=rngs)
        self.key = nnx.Linear(width, width, use_bias=bias, kernel_init=init, rngs=rngs)
        self.value = nnx.Linear(width, width, use_bias=bias, kernel_init=init, rngs=rngs)
        self.output = nnx.Linear(width, width, kernel_init=init, rngs=rngs)
        self.dropout = nnx.Dropout(config["attention_probs_dropout_prob"])

    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        b, t, d = x.shape
        q, k, v = (f(x).reshape(b, t, self.heads, -1) for f in (self.query, self.key, self.value))
        if self.dropout.rate and not self.dropout.deterministic:
            scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(d // self.heads)
            shares = jax.nn.softmax(scores.astype(jnp.float32)).astype(x.dtype)
            mixed = jnp.einsum("bhqk,bkhd->bqhd", self.dropout(shares, rngs=key), v)
        else:
            mixed = jax.nn.dot_product_attention(q, k, v)
        return self.output(mixed.reshape(b, t, d))


class Block(nnx.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: Mapping[str, Any], *, rngs: nnx.Rngs):
        width, inner, eps = config["hidden_size"], config["intermediate_size"], config["layer_norm_eps"]
        init = nnx.initializers.truncated_normal(0.02)
        self.norm1 = nnx.LayerNorm(width, epsilon=eps, use_fast_variance=False, rngs=rngs)
        self.attention = Attention(config, rngs=rngs)
        self.norm2 = nnx.LayerNorm(width, epsilon=eps, use_fast_variance=False, rngs=rngs)
        self.up = nnx.Linear(width, inner, kernel_init=init, rngs=rngs)
        self.down = nnx.Linear(inner, width, kernel_init=init, rngs=rngs)
        self.act = activation(config["hidden_act"])
        self.dropout = nnx.Dropout(config["hidden_dropout_prob"])

    def __call__(self, carry: Carry, *, key: jax.Array | None = None) -> Carry:
        inner, first, second = split_key(key, 3)
        x = carry["x"]
        x = x + self.dropout(self.attention(self.norm1(x), key=inner), rngs=first)
        return {"x": x + self.dropout(self.down(self.act(self.up(self.norm2(x)))), rngs=second)}


class Neck(nnx.Module):
    """Last LayerNorm, then the class token, or class and distillation token side by side."""

    def __init__(self, config: Mapping[str, Any], tokens: int, *, rngs: nnx.Rngs):
        eps = config["layer_norm_eps"]
        self.norm = nnx.LayerNorm(config["hidden_size"], epsilon=eps, use_fast_variance=False, rngs=rngs)
        self.tokens = tokens

    def __call__(self, carry: Carry, *, key: jax.Array | None = None) -> jax.Array:
        x = self.norm(carry["x"][:, : self.tokens])
        return x.reshape(x.shape[0], -1)


class ViT(Backbone):
    """See the module docstring."""

    def __init__(
        self, spec: Spec, config: Mapping[str, Any], grid: int, outputs: int, dropout: float, rngs: nnx.Rngs
    ):
        self.spec = spec
        self.prefix = prefix_tokens(config)
        self.stem = Stem(config, spec.channels, grid, rngs=rngs)
        self.blocks = nnx.List([Block(config, rngs=rngs) for _ in range(config["num_hidden_layers"])])
        self.neck = Neck(config, _head_tokens(config), rngs=rngs)
        self.head = Head(spec.features, outputs, dropout=dropout, rngs=rngs)

    def feature_map(self, carry: Carry) -> jax.Array:
        x = carry["x"][:, self.prefix :]
        side = int(x.shape[1] ** 0.5)
        return x.reshape(x.shape[0], side, side, -1)


def build(
    config: Mapping[str, Any],
    *,
    preprocess: Preprocess | None = None,
    channels: int | None = None,
    image_size: int | None = None,
    outputs: int | None = None,
    dropout: float = 0.0,
    rngs: nnx.Rngs,
) -> ViT:
    """A ViT or DeiT of a Hugging Face config, for square pictures of ``image_size``.

    A transformer has no resolutions; its levels are quarters of its blocks. Raises ValueError where
    patches do not tile the picture.
    """
    config = {**DEFAULTS, **config}
    size, patch, width = image_size or config["image_size"], config["patch_size"], config["hidden_size"]
    if size % patch:
        raise ValueError(f"image_size={size} is not a multiple of this network's patch size {patch}")
    n = config["num_hidden_layers"]
    levels = tuple(sorted({-(-n * quarter // 4) for quarter in (1, 2, 3, 4)}))
    spec = Spec(
        family=config.get("model_type", "vit"),
        levels=levels,
        strides=(patch,) * len(levels),
        widths=(width,) * len(levels),
        features=width * _head_tokens(config),
        channels=channels or config["num_channels"],
        preprocess=preprocess or Preprocess(),
        config={**config, "image_size": size},
    )
    outputs = label_count(config) if outputs is None else outputs
    return ViT(spec, config, size // patch, outputs, dropout, rngs)


def prefix_tokens(config: Mapping[str, Any]) -> int:
    """Tokens before the patches: class, and for DeiT distillation."""
    return 2 if _is_distilled(config) else 1


def _is_distilled(config: Mapping[str, Any]) -> bool:
    return config.get("model_type") == "deit"


def _head_tokens(config: Mapping[str, Any]) -> int:
    """Tokens that the head reads."""
    teacher = any("WithTeacher" in name for name in config.get("architectures") or ())
    return 2 if _is_distilled(config) and teacher else 1


def table(config: Mapping[str, Any]) -> tuple[Rule | Ignore, ...]:
    """Checkpoint names ↔ our paths."""
    config = {**DEFAULTS, **config}
    name = "deit" if _is_distilled(config) else "vit"
    embeddings = f"[{name}.]embeddings"
    projection = f"{embeddings}.patch_embeddings.projection"
    rules = [
        Rule(f"{projection}.weight", "stem/project/kernel", _patch_kernel(config["patch_size"])),
        Rule(f"{projection}.bias", "stem/project/bias"),
        Rule(f"{embeddings}.cls_token", "stem/class_token"),
        Rule(f"{embeddings}.position_embeddings", "stem/position", positions(prefix_tokens(config))),
    ]
    if _is_distilled(config):
        rules.append(Rule(f"{embeddings}.distillation_token", "stem/distillation_token"))
    for i in range(config["num_hidden_layers"]):
        theirs, ours = f"[{name}.]encoder.layer.{i}", f"blocks/{i}"
        for part in ("query", "key", "value"):
            rules += _linear(
                f"{theirs}.attention.attention.{part}", f"{ours}/attention/{part}", config["qkv_bias"]
            )
        rules += _linear(f"{theirs}.attention.output.dense", f"{ours}/attention/output")
        rules += _linear(f"{theirs}.intermediate.dense", f"{ours}/up")
        rules += _linear(f"{theirs}.output.dense", f"{ours}/down")
        rules += _norm(f"{theirs}.layernorm_before", f"{ours}/norm1")
        rules += _norm(f"{theirs}.layernorm_after", f"{ours}/norm2")
    rules += _norm(f"[{name}.]layernorm", "neck/norm")
    if _head_tokens(config) == 2:
        heads = ("cls_classifier", "distillation_classifier")
        rules.append(Rule(tuple(f"{h}.weight" for h in heads), "head/linear/kernel", MEAN_OF_HEADS))
        rules.append(Rule(tuple(f"{h}.bias" for h in heads), "head/linear/bias", MEAN))
    else:
        rules += _linear("classifier", "head/linear")
    return (
        *rules,
        Ignore(f"[{name}.]pooler.*", "the classifier reads the class token, not the pooler"),
        Ignore(f"[{name}.]embeddings.mask_token", "no forward pass uses it"),
    )


def _linear(theirs: str, ours: str, bias: bool = True) -> list[Rule]:
    kernel = Rule(f"{theirs}.weight", f"{ours}/kernel", LINEAR)
    return [kernel, Rule(f"{theirs}.bias", f"{ours}/bias")] if bias else [kernel]


def _norm(theirs: str, ours: str) -> list[Rule]:
    return [Rule(f"{theirs}.weight", f"{ours}/scale"), Rule(f"{theirs}.bias", f"{ours}/bias")]


def _patch_kernel(patch: int) -> Transform:
    """A convolution of stride p (d, c, p, p) ↔ a matrix (p·p·c, d)."""

    def to_ours(arrays: Sequence[np.ndarray], shape: Shape) -> np.ndarray:
        channels = shape[0] // patch**2
        return FIRST_CONV.to_ours(arrays, (patch, patch, channels, shape[1])).reshape(-1, shape[1])

    def to_theirs(leaf: np.ndarray) -> tuple[np.ndarray, ...]:
        return FIRST_CONV.to_theirs(leaf.reshape(patch, patch, -1, leaf.shape[1]))

    return Transform("a patch projection", to_ours, to_theirs)
