"""ViT and DeiT: everything that a ``config.json`` with ``model_type: "vit"`` or ``"deit"`` can say.

Dosovitskiy et al. 2020, arXiv:2010.11929, and Touvron et al. 2020, arXiv:2012.12877, in the layout of
``transformers``' ``ViTForImageClassification``, ``DeiTForImageClassification`` and
``DeiTForImageClassificationWithTeacher``. The stem cuts patches and adds tokens and positions; blocks are
encoder layers; the neck is the final norm and the choice of the class token.

A DeiT with teacher averages two linear heads, on the class and on the distillation token. That is one
linear head on both tokens end to end: ``features`` is then twice the width.

All blocks work at one resolution. Levels are quarters of the depth, so that "level 3 and above" is the
upper half here as it is the two coarsest resolutions of a ResNet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from tl_jax.backbones import hf_config, patches, transformer
from tl_jax.backbones.anatomy import Backbone, Carry, Head, Preprocess, Spec
from tl_jax.backbones.drop import dropped
from tl_jax.backbones.hf_config import normal
from tl_jax.backbones.patches import Patches
from tl_jax.backbones.transformer import Block, layer_norm, quarters
from tl_jax.pretrained import lines
from tl_jax.pretrained.rules import Ignore, Rule
from tl_jax.pretrained.transforms import FIRST_CONV, MEAN, MEAN_OF_HEADS, positions

DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "image_size": 224,
    "patch_size": 16,
    "num_channels": 3,
    "qkv_bias": True,
}
"""What transformers takes where a config says nothing: ViT-B/16."""

FIXED_SIZE = True
"""In transformers, pictures of another size than the config's ``image_size`` are refused unless asked for."""

_TEACHER = "DeiTForImageClassificationWithTeacher"


def _size(width: int, depth: int, heads: int, patch: int, **more: Any) -> dict[str, Any]:
    return {
        "model_type": "vit",
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "patch_size": patch,
        **more,
    }


_DISTILLED = {"model_type": "deit", "architectures": [_TEACHER]}

sizes: dict[str, dict[str, Any]] = {
    "vit-tiny-patch16-224": _size(192, 12, 3, 16),
    "vit-small-patch16-224": _size(384, 12, 6, 16),
    "vit-base-patch16-224": _size(768, 12, 12, 16),
    "vit-base-patch32-224": _size(768, 12, 12, 32),
    "vit-large-patch16-224": _size(1024, 24, 16, 16),
    "vit-huge-patch14-224": _size(1280, 32, 16, 14),
    "deit-tiny-distilled-patch16-224": _size(192, 12, 3, 16, **_DISTILLED),
    "deit-small-distilled-patch16-224": _size(384, 12, 6, 16, **_DISTILLED),
    "deit-base-distilled-patch16-224": _size(768, 12, 12, 16, **_DISTILLED),
}
"""Named configs, as `build` takes them."""


class Stem(nnx.Module):
    """Patches behind their tokens, with positions: (B, H, W, channels) → x (B, tokens + h·w, width)."""

    def __init__(self, config: Mapping[str, Any], *, rngs: nnx.Rngs):
        width, scale = config["hidden_size"], config["initializer_range"]
        patch, channels = hf_config.pair(config["patch_size"]), config["num_channels"]
        h, w = patches.grid(config)
        self.image_size = hf_config.pair(config["image_size"])
        self.channels = channels
        self.patch = Patches(patch, channels, width, scale=scale, rngs=rngs)
        self.class_token = nnx.Param(normal(scale)(rngs.params(), (1, 1, width)))
        if _tokens(config) == 2:
            self.distillation_token = nnx.Param(normal(scale)(rngs.params(), (1, 1, width)))
        else:
            self.distillation_token = None
        self.positions = nnx.Param(normal(scale)(rngs.params(), (1, _tokens(config) + h * w, width)))
        self.dropout = nnx.Dropout(config["hidden_dropout_prob"])

    def __call__(self, inputs: jax.Array, *, key: jax.Array | None = None) -> Carry:
        patches.refuse_others(inputs, self.image_size, self.channels)
        cells = self.patch(inputs)
        batch, h, w, width = cells.shape
        tokens = [self.class_token, self.distillation_token]
        prefix = [jnp.broadcast_to(token[...], (batch, 1, width)) for token in tokens if token is not None]
        x = jnp.concatenate([*prefix, cells.reshape(batch, h * w, width)], axis=1) + self.positions[...]
        return {"x": dropped(self.dropout, x, key)}


class Neck(nnx.Module):
    """Final norm, then the class token, or both tokens end to end: x (B, n, width) → (B, features)."""

    def __init__(self, config: Mapping[str, Any], *, rngs: nnx.Rngs):
        self.norm = layer_norm(config, rngs)
        self.tokens = 2 if _has_teacher(config) else 1

    def __call__(self, carry: Carry, *, key: jax.Array | None = None) -> jax.Array:
        x = carry["x"][:, : self.tokens]  # the norm works on each token alone
        return self.norm(x).reshape(x.shape[0], -1)


class ViT(Backbone):
    """See the module docstring; made by `build`."""

    neck: Neck

    def __init__(
        self, config: Mapping[str, Any], spec: Spec, *, outputs: int, dropout: float, rngs: nnx.Rngs
    ):
        self.spec = spec
        self.grid = patches.grid(config)
        self.stem = Stem(config, rngs=rngs)
        self.blocks = nnx.List([Block(config, rngs=rngs) for _ in range(config["num_hidden_layers"])])
        self.neck = Neck(config, rngs=rngs)
        self.head = Head(spec.features, outputs, dropout=dropout, rngs=rngs)

    def last(self, carry: Carry, *, key: jax.Array | None = None) -> Carry:
        """The last block for the tokens that the neck reads: of patches, only keys and values."""
        return self.blocks[-1](carry, key=key, tokens=self.neck.tokens)

    def feature_map(self, carry: Carry) -> jax.Array:
        """The carry's patches as a map (B, h, w, width), class and distillation tokens dropped."""
        h, w = self.grid
        x = carry["x"]
        return x[:, x.shape[1] - h * w :].reshape(x.shape[0], h, w, x.shape[2])


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
    """A ViT or DeiT with random weights, in training mode.

    Args:
      config: a Hugging Face configuration; what it lacks is that of ViT-B/16. A DeiT has two tokens; that
        both are read is said by ``architectures``.
      preprocess: how the pictures were prepared; None is that of ImageNet.
      channels: input channels, if not the config's.
      image_size: pixels, the side of the pictures it will see, if not the config's.
      outputs: of the head, if not as many as the config has labels.
      dropout: probability, before the head.
      rngs: for the initial weights.

    Raises:
      ConfigError: listing everything in the config that cannot be built.
    """
    config = _checked(config, channels, image_size)
    patch, width, depth = (
        hf_config.pair(config["patch_size"]),
        config["hidden_size"],
        config["num_hidden_layers"],
    )
    levels = quarters(depth)
    architecture = "ViTForImageClassification"
    if config["model_type"] == "deit":
        architecture = _TEACHER if _has_teacher(config) else "DeiTForImageClassification"
    spec = Spec(
        family=config["model_type"],
        levels=levels,
        strides=(patch[0],) * len(levels),
        widths=(width,) * len(levels),
        origins=((patch[0] - 1) / 2,) * len(levels),
        features=2 * width if _has_teacher(config) else width,
        channels=config["num_channels"],
        preprocess=hf_config.adapted(
            preprocess or Preprocess(), channels=config["num_channels"], image_size=image_size
        ),
        config={**config, "architectures": [architecture]},
    )
    outputs = hf_config.outputs(config) if outputs is None else outputs
    return ViT(config, spec, outputs=outputs, dropout=dropout, rngs=rngs)


def table(config: Mapping[str, Any]) -> tuple[Rule | Ignore, ...]:
    """How the arrays of the image classifiers of transformers (or of their base models) become our leaves."""
    config = _checked(config, None, None)
    base = f"[{config['model_type']}.]"
    embeddings, layer, block = f"{base}embeddings", f"{base}encoder.layer.{{i}}", "blocks/{i}"
    rules: list[Rule | Ignore] = [
        *lines.conv(f"{embeddings}.patch_embeddings.projection", "stem/patch", FIRST_CONV),
        Rule(f"{embeddings}.cls_token", "stem/class_token"),
        Rule(f"{embeddings}.position_embeddings", "stem/positions", positions(_tokens(config))),
        *lines.norm(f"{layer}.layernorm_before", f"{block}/norm1"),
        *lines.attention(f"{layer}.attention", f"{block}/attention", bias=config["qkv_bias"]),
        *lines.norm(f"{layer}.layernorm_after", f"{block}/norm2"),
        *lines.linear(f"{layer}.intermediate.dense", f"{block}/mlp/fc1"),
        *lines.linear(f"{layer}.output.dense", f"{block}/mlp/fc2"),
        *lines.norm(f"{base}layernorm", "neck/norm"),
        Ignore(f"{embeddings}.mask_token", "used in masked pretraining only"),
        Ignore("decoder.*", "used in masked pretraining only"),
        Ignore(f"{base}pooler.*", "the classifiers of transformers read the token itself, not its pooler"),
    ]
    if _tokens(config) == 2:
        rules.append(Rule(f"{embeddings}.distillation_token", "stem/distillation_token"))
    if _has_teacher(config):
        heads = ("cls_classifier", "distillation_classifier")
        rules += [
            Rule(tuple(f"{head}.weight" for head in heads), "head/linear/kernel", MEAN_OF_HEADS),
            Rule(tuple(f"{head}.bias" for head in heads), "head/linear/bias", MEAN),
        ]
    else:
        rules += lines.linear("classifier", "head/linear")
    return tuple(rules)


def _checked(config: Mapping[str, Any], channels: int | None, image_size: int | None) -> dict[str, Any]:
    given = config.get("image_size", DEFAULTS["image_size"])
    config = hf_config.complete(config, DEFAULTS, num_channels=channels, image_size=image_size)
    config.setdefault("model_type", "vit")
    problems = hf_config.problems(config, DEFAULTS)
    problems = problems or [*patches.problems(config, given=given), *transformer.problems(config)]
    if problems:
        raise hf_config.ConfigError(config["model_type"], problems)
    return config


def _tokens(config: Mapping[str, Any]) -> int:
    """Tokens before the patches."""
    return 2 if config["model_type"] == "deit" else 1


def _has_teacher(config: Mapping[str, Any]) -> bool:
    """Whether the head reads the distillation token too."""
    return config["model_type"] == "deit" and _TEACHER in (config.get("architectures") or ())
