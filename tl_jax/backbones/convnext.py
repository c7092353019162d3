"""ConvNeXt: everything that a ``config.json`` with ``model_type: "convnext"`` can say.

Liu et al. 2022, arXiv:2201.03545, in the layout of ``transformers.ConvNextForImageClassification``. The stem
cuts patches of 4 pixels. Blocks are flat over the levels: ConvNeXt-T has 18, and its levels end after 3, 6,
15 and 18. What halves the map between two levels belongs to the first block of the upper one. The neck is
the mean over the picture and a norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tl_jax.backbones import hf_config
from tl_jax.backbones.anatomy import Backbone, Carry, Head, Preprocess, Spec
from tl_jax.backbones.depthwise import DepthwiseConv
from tl_jax.backbones.drop import drop_path, dropped
from tl_jax.backbones.layer_norm import LayerNorm
from tl_jax.backbones.patches import Patches
from tl_jax.backbones.transformer import MLP
from tl_jax.pretrained import lines
from tl_jax.pretrained.rules import Ignore, Rule
from tl_jax.pretrained.transforms import FIRST_CONV

DEFAULTS: dict[str, Any] = {
    "num_channels": 3,
    "patch_size": 4,
    "hidden_sizes": (96, 192, 384, 768),
    "depths": (3, 3, 9, 3),
    "hidden_act": "gelu",
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "layer_scale_init_value": 1e-6,
    "drop_path_rate": 0.0,
}
"""What transformers takes where a config says nothing: ConvNeXt-T."""

FIXED_SIZE = False
"""A ConvNeXt takes any size; the config's ``image_size`` is no part of the network."""

_EPSILON = 1e-6  # of all norms but the last, whatever the config says


def _size(depths: tuple[int, ...], widths: tuple[int, ...]) -> dict[str, Any]:
    return {"model_type": "convnext", "depths": depths, "hidden_sizes": widths}


sizes: dict[str, dict[str, Any]] = {
    "convnext-tiny": _size((3, 3, 9, 3), (96, 192, 384, 768)),
    "convnext-small": _size((3, 3, 27, 3), (96, 192, 384, 768)),
    "convnext-base": _size((3, 3, 27, 3), (128, 256, 512, 1024)),
    "convnext-large": _size((3, 3, 27, 3), (192, 384, 768, 1536)),
    "convnext-xlarge": _size((3, 3, 27, 3), (256, 512, 1024, 2048)),
}
"""Named configs, as `build` takes them."""


class Stem(nnx.Module):
    """Patches and a norm: (B, H, W, channels) → x (B, H // patch, W // patch, width)."""

    def __init__(self, config: Mapping[str, Any], *, rngs: nnx.Rngs):
        patch, width = hf_config.pair(config["patch_size"]), config["hidden_sizes"][0]
        self.patch = Patches(
            patch, config["num_channels"], width, scale=config["initializer_range"], rngs=rngs
        )
        self.norm = LayerNorm(width, epsilon=_EPSILON, rngs=rngs)

    def __call__(self, inputs: jax.Array, *, key: jax.Array | None = None) -> Carry:
        return {"x": self.norm(self.patch(inputs))}


class Downsample(nnx.Module):
    """A norm and patches of 2 × 2 cells: x (B, h, w, inputs) → (B, h // 2, w // 2, outputs)."""

    def __init__(self, inputs: int, outputs: int, *, scale: float, rngs: nnx.Rngs):
        self.norm = LayerNorm(inputs, epsilon=_EPSILON, rngs=rngs)
        self.patch = Patches((2, 2), inputs, outputs, scale=scale, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.patch(self.norm(x))


class Block(nnx.Module):
    """x + scale · mlp(norm(depthwise(x))), x made smaller first where a level begins; ``rate`` is that of
    stochastic depth, which takes away what is added."""

    def __init__(
        self, config: Mapping[str, Any], inputs: int, width: int, halves: bool, rate: float, *, rngs: nnx.Rngs
    ):
        init, scale = config["initializer_range"], config["layer_scale_init_value"]
        self.downsample = Downsample(inputs, width, scale=init, rngs=rngs) if halves else None
        self.depthwise = DepthwiseConv(width, 7, scale=init, rngs=rngs)
        self.norm = LayerNorm(width, epsilon=_EPSILON, rngs=rngs)
        self.mlp = MLP({**config, "hidden_size": width, "intermediate_size": 4 * width}, rngs=rngs)
        self.layer_scale = nnx.Param(jnp.full((width,), scale, jnp.float32)) if scale > 0 else None
        self.drop_path = drop_path(rate, axes=4)

    def __call__(self, carry: Carry, *, key: jax.Array | None = None) -> Carry:
        x = carry["x"] if self.downsample is None else self.downsample(carry["x"])
        added = self.mlp(self.norm(self.depthwise(x)))
        if self.layer_scale is not None:
            added = self.layer_scale[...].reshape(1, 1, 1, -1) * added
        return {**carry, "x": x + dropped(self.drop_path, added, key)}


class Neck(nnx.Module):
    """The mean over the picture, and a norm: x (B, h, w, c) → (B, c)."""

    def __init__(self, config: Mapping[str, Any], *, rngs: nnx.Rngs):
        self.norm = LayerNorm(config["hidden_sizes"][-1], epsilon=config["layer_norm_eps"], rngs=rngs)

    def __call__(self, carry: Carry, *, key: jax.Array | None = None) -> jax.Array:
        return self.norm(jnp.mean(carry["x"], axis=(1, 2)))


class ConvNeXt(Backbone):
    """See the module docstring; made by `build`."""

    def __init__(
        self, config: Mapping[str, Any], spec: Spec, *, outputs: int, dropout: float, rngs: nnx.Rngs
    ):
        self.spec = spec
        self.stem = Stem(config, rngs=rngs)
        chain = _chain(config)
        rates = np.linspace(0, config["drop_path_rate"], len(chain)).tolist()
        self.blocks = nnx.List(
            [
                Block(config, inputs, width, halves, rate, rngs=rngs)
                for (_, _, inputs, width, halves), rate in zip(chain, rates, strict=True)
            ]
        )
        self.neck = Neck(config, rngs=rngs)
        self.head = Head(spec.features, outputs, dropout=dropout, rngs=rngs)

    def feature_map(self, carry: Carry) -> jax.Array:
        """The carry as a map (B, h, w, c)."""
        return carry["x"]


def build(
    config: Mapping[str, Any],
    *,
    preprocess: Preprocess | None = None,
    channels: int | None = None,
    image_size: int | None = None,
    outputs: int | None = None,
    dropout: float = 0.0,
    rngs: nnx.Rngs,
) -> ConvNeXt:
    """A ConvNeXt with random weights, in training mode.

    Args:
      config: a Hugging Face configuration; what it lacks is that of ConvNeXt-T.
      preprocess: how the pictures were prepared; None is that of ImageNet.
      channels: input channels, if not the config's.
      image_size: pixels; recorded only, a ConvNeXt takes any size.
      outputs: of the head, if not as many as the config has labels.
      dropout: probability, before the head.
      rngs: for the initial weights.

    Raises:
      ConfigError: listing everything in the config that cannot be built.
    """
    config = _checked(config, channels, image_size)
    widths, (patch, _) = tuple(config["hidden_sizes"]), hf_config.pair(config["patch_size"])
    strides = tuple(patch * 2**level for level in range(len(widths)))
    spec = Spec(
        family="convnext",
        levels=tuple(int(n) for n in np.cumsum(config["depths"])),
        strides=strides,
        widths=widths,
        origins=tuple((stride - 1) / 2 for stride in strides),
        features=widths[-1],
        channels=config["num_channels"],
        preprocess=hf_config.adapted(
            preprocess or Preprocess(), channels=config["num_channels"], image_size=image_size
        ),
        config={**config, "model_type": "convnext", "architectures": ["ConvNextForImageClassification"]},
    )
    outputs = hf_config.outputs(config) if outputs is None else outputs
    return ConvNeXt(config, spec, outputs=outputs, dropout=dropout, rngs=rngs)


def table(config: Mapping[str, Any]) -> tuple[Rule | Ignore, ...]:
    """How the arrays of ``ConvNextForImageClassification`` (or of ``ConvNextModel``) become our leaves."""
    config = _checked(config, None, None)
    embeddings = "[convnext.]embeddings"
    rules = [
        *lines.conv(f"{embeddings}.patch_embeddings", "stem/patch", FIRST_CONV),
        *lines.norm(f"{embeddings}.layernorm", "stem/norm"),
    ]
    for i, (level, j, _, _, halves) in enumerate(_chain(config)):
        stage, ours = f"[convnext.]encoder.stages.{level}", f"blocks/{i}"
        theirs = f"{stage}.layers.{j}"
        if halves:
            rules += lines.norm(f"{stage}.downsampling_layer.0", f"{ours}/downsample/norm")
            rules += lines.conv(f"{stage}.downsampling_layer.1", f"{ours}/downsample/patch")
        rules += lines.conv(f"{theirs}.dwconv", f"{ours}/depthwise")
        rules += lines.norm(f"{theirs}.layernorm", f"{ours}/norm")
        rules += lines.linear(f"{theirs}.pwconv1", f"{ours}/mlp/fc1")
        rules += lines.linear(f"{theirs}.pwconv2", f"{ours}/mlp/fc2")
        if config["layer_scale_init_value"] > 0:
            rules.append(Rule(f"{theirs}.layer_scale_parameter", f"{ours}/layer_scale"))
    return (
        *rules,
        *lines.norm("[convnext.]layernorm", "neck/norm"),
        *lines.linear("classifier", "head/linear"),
    )


def _checked(config: Mapping[str, Any], channels: int | None, image_size: int | None) -> dict[str, Any]:
    config = hf_config.complete(config, DEFAULTS, num_channels=channels)
    if image_size is not None:
        config["image_size"] = image_size
    problems = hf_config.problems(config, DEFAULTS)
    if not problems:
        levels = {name: len(config[name]) for name in ("depths", "hidden_sizes")}
        stages = config.setdefault("num_stages", levels["depths"])
        if {*levels.values()} != {stages}:
            problems.append(
                f"depths={config['depths']!r} and hidden_sizes={config['hidden_sizes']!r} must be of one "
                f"length, and num_stages={stages!r} must say it"
            )
    if problems:
        raise hf_config.ConfigError("convnext", problems)
    return config


def _chain(config: Mapping[str, Any]) -> list[tuple[int, int, int, int, bool]]:
    """Every block in order: its level, its number in the level, input width, width, whether it halves."""
    chain, inputs = [], config["hidden_sizes"][0]
    for level, (depth, width) in enumerate(zip(config["depths"], config["hidden_sizes"], strict=True)):
        for j in range(depth):
            chain.append((level, j, inputs, width, level > 0 and j == 0))
            inputs = width
    return chain
