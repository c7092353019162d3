"""DINOv2: what a ``config.json`` with ``model_type: "dinov2"`` or ``"dinov2_with_registers"`` can say.

Oquab et al. 2023, arXiv:2304.07193, and Darcet et al. 2023, arXiv:2309.16588 (registers: tokens that the
blocks may write to and nobody reads), in the layout of ``transformers``' ``Dinov2ForImageClassification`` and
``Dinov2WithRegistersForImageClassification``. It is a ViT whose blocks scale what they add (LayerScale:
Touvron et al. 2021, arXiv:2103.17239) and, in the largest size, gate their inner layer (SwiGLU: Shazeer 2020,
arXiv:2002.05202). The neck is the final norm and, end to end, the class token and the mean of the patches.

The published networks have positions for pictures of 518 pixels, and preprocessors that make 224. As in
transformers the positions are interpolated to the pictures; here it is done once, as they are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tl_jax.backbones import hf_config, patches, transformer
from tl_jax.backbones.anatomy import Backbone, Carry, Head, Preprocess, Spec
from tl_jax.backbones.drop import drop_path, dropped
from tl_jax.backbones.hf_config import normal
from tl_jax.backbones.patches import Patches
from tl_jax.backbones.product import Linear
from tl_jax.backbones.transformer import MLP, Attention, layer_norm, quarters
from tl_jax.pretrained import lines
from tl_jax.pretrained.rules import Ignore, Rule
from tl_jax.pretrained.transforms import FIRST_CONV, positions

DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "mlp_ratio": 4,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-6,
    "image_size": 224,
    "patch_size": 14,
    "num_channels": 3,
    "qkv_bias": True,
    "layerscale_value": 1.0,
    "drop_path_rate": 0.0,
    "use_swiglu_ffn": False,
    "use_mask_token": True,
}
"""What transformers takes where a config of "dinov2" says nothing: DINOv2-B, for 224 pixels."""

REGISTERS: dict[str, Any] = {
    **{name: value for name, value in DEFAULTS.items() if name != "use_mask_token"},
    "patch_size": 16,
    "num_register_tokens": 4,
}
"""The same for "dinov2_with_registers"."""

FIXED_SIZE = False
"""A checkpoint's positions are for the config's ``image_size``, and are interpolated to other pictures."""


def _size(width: int, depth: int, heads: int, **more: Any) -> dict[str, Any]:
    return {
        "model_type": "dinov2",
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "image_size": 518,
        "patch_size": 14,
        **more,
    }


_REGISTERS = {"model_type": "dinov2_with_registers"}

sizes: dict[str, dict[str, Any]] = {
    "dinov2-small": _size(384, 12, 6),
    "dinov2-base": _size(768, 12, 12),
    "dinov2-large": _size(1024, 24, 16),
    "dinov2-giant": _size(1536, 40, 24, use_swiglu_ffn=True),
    "dinov2-with-registers-small": _size(384, 12, 6, **_REGISTERS),
    "dinov2-with-registers-base": _size(768, 12, 12, **_REGISTERS),
    "dinov2-with-registers-large": _size(1024, 24, 16, **_REGISTERS),
    "dinov2-with-registers-giant": _size(1536, 40, 24, use_swiglu_ffn=True, **_REGISTERS),
}
"""Named configs, as `build` takes them."""


class Stem(nnx.Module):
    """The class token and patches, with positions, and registers between them, without:
    (B, H, W, channels) → x (B, 1 + registers + h·w, width)."""

    def __init__(self, config: Mapping[str, Any], *, rngs: nnx.Rngs):
        width, init = config["hidden_size"], normal(config["initializer_range"])
        patch, channels = hf_config.pair(config["patch_size"]), config["num_channels"]
        h, w = patches.grid(config)
        self.image_size = hf_config.pair(config["image_size"])
        self.channels = channels
        self.patch = Patches(patch, channels, width, scale=config["initializer_range"], rngs=rngs)
        self.class_token = nnx.Param(init(rngs.params(), (1, 1, width)))
        self.positions = nnx.Param(init(rngs.params(), (1, 1 + h * w, width)))
        registers = _registers(config)
        self.registers = nnx.Param(init(rngs.params(), (1, registers, width))) if registers else None
        self.dropout = nnx.Dropout(config["hidden_dropout_prob"])

    def __call__(self, inputs: jax.Array, *, key: jax.Array | None = None) -> Carry:
        patches.refuse_others(inputs, self.image_size, self.channels)
        cells = self.patch(inputs)
        batch, h, w, width = cells.shape
        table = self.positions[...]
        tokens = [self.class_token[...] + table[:, :1]]
        if self.registers is not None:
            tokens.append(self.registers[...])
        prefix = [jnp.broadcast_to(token, (batch, *token.shape[1:])) for token in tokens]
        x = jnp.concatenate([*prefix, cells.reshape(batch, h * w, width) + table[:, 1:]], axis=1)
        return {"x": dropped(self.dropout, x, key)}


class SwiGLU(nnx.Module):
    """An inner layer of which one half, by SiLU, gates the other: x (B, n, width) → (B, n, width)."""

    def __init__(self, config: Mapping[str, Any], *, rngs: nnx.Rngs):
        width, init = config["hidden_size"], normal(config["initializer_range"])
        inner = (int(config["intermediate_size"] * 2 / 3) + 7) // 8 * 8
        self.fc1 = Linear(width, 2 * inner, kernel_init=init, rngs=rngs)
        self.fc2 = Linear(inner, width, kernel_init=init, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        gate, value = jnp.split(self.fc1(x), 2, axis=-1)
        return self.fc2(jax.nn.silu(gate) * value)


class Block(nnx.Module):
    """An encoder layer, norms first: x + scale · attention(norm(x)), then x + scale · mlp(norm(x)).
    Stochastic depth takes away what is added."""

    def __init__(self, config: Mapping[str, Any], *, rngs: nnx.Rngs):
        width = config["hidden_size"]
        config = {**config, "intermediate_size": width * config["mlp_ratio"]}
        self.norm1 = layer_norm(config, rngs)
        self.attention = Attention(config, rngs=rngs)
        self.layer_scale1 = nnx.Param(jnp.full((width,), config["layerscale_value"], jnp.float32))
        self.norm2 = layer_norm(config, rngs)
        self.mlp = (SwiGLU if config["use_swiglu_ffn"] else MLP)(config, rngs=rngs)
        self.layer_scale2 = nnx.Param(jnp.full((width,), config["layerscale_value"], jnp.float32))
        self.drop_path = drop_path(config["drop_path_rate"], axes=3)

    def __call__(self, carry: Carry, *, key: jax.Array | None = None) -> Carry:
        inside, first, second = (None,) * 3 if key is None else jax.random.split(key, 3)
        x = carry["x"]
        added = self.layer_scale1[...].reshape(1, 1, -1) * self.attention(self.norm1(x), key=inside)
        x = x + dropped(self.drop_path, added, first)
        added = self.layer_scale2[...].reshape(1, 1, -1) * self.mlp(self.norm2(x))
        x = x + dropped(self.drop_path, added, second)
        return {**carry, "x": x}


class Neck(nnx.Module):
    """Final norm, then the class token and the mean of the patches: x (B, n, width) → (B, 2·width)."""

    def __init__(self, config: Mapping[str, Any], *, rngs: nnx.Rngs):
        self.norm = layer_norm(config, rngs)
        self.prefix = 1 + _registers(config)

    def __call__(self, carry: Carry, *, key: jax.Array | None = None) -> jax.Array:
        x = self.norm(carry["x"])
        return jnp.concatenate([x[:, 0], x[:, self.prefix :].mean(axis=1)], axis=1)


class DINOv2(Backbone):
    """See the module docstring; made by `build`."""

    def __init__(
        self, config: Mapping[str, Any], spec: Spec, *, outputs: int, dropout: float, rngs: nnx.Rngs
    ):
        self.spec = spec
        self.grid = patches.grid(config)
        self.stem = Stem(config, rngs=rngs)
        self.blocks = nnx.List([Block(config, rngs=rngs) for _ in range(config["num_hidden_layers"])])
        self.neck = Neck(config, rngs=rngs)
        self.head = Head(spec.features, outputs, dropout=dropout, rngs=rngs)

    def feature_map(self, carry: Carry) -> jax.Array:
        """The carry's patches as a map (B, h, w, width), class token and registers dropped."""
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
) -> DINOv2:
    """A DINOv2 with random weights, in training mode.

    Args:
      config: a Hugging Face configuration; what it lacks is that of DINOv2-B.
      preprocess: how the pictures are prepared; None is that of ImageNet, for the config's ``image_size``.
      channels: input channels, if not the config's.
      image_size: pixels, the side of the pictures it will see, if not that of ``preprocess``.
      outputs: of the head, if not as many as the config has labels.
      dropout: probability, before the head.
      rngs: for the initial weights.

    Raises:
      ConfigError: listing everything in the config that cannot be built.
    """
    config = _checked(config, channels, image_size, preprocess)
    patch, width = hf_config.pair(config["patch_size"]), config["hidden_size"]
    levels = quarters(config["num_hidden_layers"])
    registers = _registers(config) > 0
    spec = Spec(
        family=config["model_type"],
        levels=levels,
        strides=(patch[0],) * len(levels),
        widths=(width,) * len(levels),
        origins=((patch[0] - 1) / 2,) * len(levels),
        features=2 * width,
        channels=config["num_channels"],
        preprocess=hf_config.adapted(
            preprocess or Preprocess(size=hf_config.pair(config["image_size"])),
            channels=config["num_channels"],
            image_size=image_size,
        ),
        config={
            **config,
            "architectures": [f"Dinov2{'WithRegisters' if registers else ''}ForImageClassification"],
        },
    )
    outputs = hf_config.outputs(config) if outputs is None else outputs
    return DINOv2(config, spec, outputs=outputs, dropout=dropout, rngs=rngs)


def table(config: Mapping[str, Any]) -> tuple[Rule | Ignore, ...]:
    """How the arrays of the image classifiers of transformers (or of their base models) become our leaves."""
    config = _checked(config, None, None, None)
    base = f"[{config['model_type']}.]"
    embeddings, layer, block = f"{base}embeddings", f"{base}encoder.layer.{{i}}", "blocks/{i}"
    registers = _registers(config) > 0
    fc1, fc2 = ("weights_in", "weights_out") if config["use_swiglu_ffn"] else ("fc1", "fc2")
    expects_mask = registers or config["use_mask_token"]
    rules: list[Rule | Ignore] = [
        *lines.conv(f"{embeddings}.patch_embeddings.projection", "stem/patch", FIRST_CONV),
        Rule(f"{embeddings}.cls_token", "stem/class_token"),
        # Where transformers shrinks positions, it smooths those of the network with registers alone.
        Rule(f"{embeddings}.position_embeddings", "stem/positions", positions(1, antialias=registers)),
        *lines.norm(f"{layer}.norm1", f"{block}/norm1"),
        *lines.attention(f"{layer}.attention", f"{block}/attention", bias=config["qkv_bias"]),
        Rule(f"{layer}.layer_scale1.lambda1", f"{block}/layer_scale1"),
        *lines.norm(f"{layer}.norm2", f"{block}/norm2"),
        *lines.linear(f"{layer}.mlp.{fc1}", f"{block}/mlp/fc1"),
        *lines.linear(f"{layer}.mlp.{fc2}", f"{block}/mlp/fc2"),
        Rule(f"{layer}.layer_scale2.lambda1", f"{block}/layer_scale2"),
        *lines.norm(f"{base}layernorm", "neck/norm"),
        *lines.linear("classifier", "head/linear"),
        Ignore(
            f"{embeddings}.mask_token",
            "used in masked pretraining only",
            np.zeros((1, config["hidden_size"]), np.float32) if expects_mask else None,
        ),
    ]
    if registers:
        rules.append(Rule(f"{embeddings}.register_tokens", "stem/registers"))
    return tuple(rules)


def _checked(
    config: Mapping[str, Any], channels: int | None, image_size: int | None, preprocess: Preprocess | None
) -> dict[str, Any]:
    kind = config.get("model_type") or "dinov2"
    defaults = REGISTERS if kind == "dinov2_with_registers" else DEFAULTS
    given: Any = config.get("image_size") or defaults["image_size"]
    wanted: Any = image_size
    if image_size is None and preprocess is not None:
        height, width = preprocess.size
        given = wanted = height if height == width else preprocess.size
    config = hf_config.complete(config, defaults, num_channels=channels, image_size=wanted)
    config["model_type"] = kind
    problems = hf_config.problems(config, defaults)
    if not problems:
        problems = [*patches.problems(config, given=given), *transformer.problems(config)]
        h, w = patches.grid(config)
        if h != w:
            problems.append(
                f"image_size={config['image_size']} and patch_size={config['patch_size']} make {h} × {w} "
                "patches, but positions are interpolated on squares only: choose a square image_size"
            )
    if problems:
        raise hf_config.ConfigError(kind, problems)
    return config


def _registers(config: Mapping[str, Any]) -> int:
    """Tokens between the class token and the patches."""
    return config["num_register_tokens"] if config["model_type"] == "dinov2_with_registers" else 0
