"""ResNet: everything that a ``config.json`` with ``model_type: "resnet"`` can say.

He et al. 2015, arXiv:1512.03385, in the layout of ``transformers.ResNetForImageClassification``. Blocks
are residual blocks, flat over the levels: ResNet-50 has 16, and its levels end after 3, 7, 13 and 16. The
stem is convolution and max-pooling (stride 4), the neck the mean over the picture, or as the config chooses
(`necks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx

from tl_jax.backbones import batch_norm, hf_config, necks
from tl_jax.backbones.anatomy import Backbone, Carry, Head, Preprocess, Spec
from tl_jax.backbones.convolution import Conv
from tl_jax.backbones.pooling import max_pool
from tl_jax.pretrained.rules import Ignore, Rule
from tl_jax.pretrained.transforms import CONV, FIRST_CONV, LINEAR, Transform

DEFAULTS: dict[str, Any] = {
    "num_channels": 3,
    "embedding_size": 64,
    "hidden_sizes": (256, 512, 1024, 2048),
    "depths": (3, 4, 6, 3),
    "layer_type": "bottleneck",
    "hidden_act": "relu",
    "downsample_in_first_stage": False,
    "downsample_in_bottleneck": False,
}
"""What transformers takes where a config says nothing: ResNet-50."""

FIXED_SIZE = False
"""A ResNet takes any size."""

NECKS = necks.OF_A_MAP

_REDUCTION = 4  # a bottleneck's inner width is a quarter of its outer one
_STEM_STRIDE = 4


def _size(depths: tuple[int, ...], layer_type: str) -> dict[str, Any]:
    widths = (64, 128, 256, 512) if layer_type == "basic" else (256, 512, 1024, 2048)
    return {"model_type": "resnet", "depths": depths, "hidden_sizes": widths, "layer_type": layer_type}


sizes: dict[str, dict[str, Any]] = {
    "resnet-18": _size((2, 2, 2, 2), "basic"),
    "resnet-34": _size((3, 4, 6, 3), "basic"),
    "resnet-50": _size((3, 4, 6, 3), "bottleneck"),
    "resnet-101": _size((3, 4, 23, 3), "bottleneck"),
    "resnet-152": _size((3, 8, 36, 3), "bottleneck"),
}
"""Named configs, as `build` takes them."""


class ConvNorm(nnx.Module):
    """Convolution and batch normalisation: x (B, h, w, in) → (B, h', w', out)."""

    def __init__(self, inputs: int, outputs: int, size: int, *, stride: int = 1, rngs: nnx.Rngs):
        self.conv = Conv(inputs, outputs, size, stride=stride, rngs=rngs)
        self.norm = batch_norm.BatchNorm(outputs, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        # BatchNorm answers in the precision of its statistics, which stay float32.
        return self.norm(self.conv(x)).astype(x.dtype)


class Stem(nnx.Module):
    """A 7×7 convolution and a 3×3 max-pool: (B, H, W, channels) → x (B, H/4, W/4, width)."""

    def __init__(self, channels: int, width: int, act: str, *, rngs: nnx.Rngs):
        self.layer = ConvNorm(channels, width, 7, stride=2, rngs=rngs)
        self.act = hf_config.ACTIVATIONS[act]

    def __call__(self, inputs: jax.Array, *, key: jax.Array | None = None) -> Carry:
        return {"x": max_pool(self.act(self.layer(inputs)))}


class Block(nnx.Module):
    """A residual block: two 3×3 layers ("basic"), or 1×1, 3×3 and 1×1 ("bottleneck").

    ``stride`` acts in the first layer of a basic block, and in the second of a bottleneck unless
    ``first`` asks for the first. The shortcut is a 1×1 layer where the shape changes. ``act`` comes after the
    sum; inside the block transformers has ReLU whatever ``hidden_act`` says.
    """

    def __init__(
        self, kind: str, inputs: int, outputs: int, stride: int, act: str, *, first: bool, rngs: nnx.Rngs
    ):
        if kind == "basic":
            widths, kernels, strides = (outputs, outputs), (3, 3), (stride, 1)
        else:
            inner = outputs // _REDUCTION
            widths, kernels = (inner, inner, outputs), (1, 3, 1)
            strides = (stride, 1, 1) if first else (1, stride, 1)
        self.layers = nnx.List(
            [
                ConvNorm(a, b, size, stride=step, rngs=rngs)
                for a, b, size, step in zip((inputs, *widths), widths, kernels, strides, strict=False)
            ]
        )
        reshapes = inputs != outputs or stride != 1
        self.shortcut = ConvNorm(inputs, outputs, 1, stride=stride, rngs=rngs) if reshapes else None
        self.act = hf_config.ACTIVATIONS[act]

    def __call__(self, carry: Carry, *, key: jax.Array | None = None) -> Carry:
        x = carry["x"]
        shortcut = x if self.shortcut is None else self.shortcut(x)
        for layer in self.layers[:-1]:
            x = jax.nn.relu(layer(x))
        return {**carry, "x": self.act(self.layers[-1](x) + shortcut)}


class ResNet(Backbone):
    """See the module docstring; made by `build`."""

    def __init__(
        self, config: Mapping[str, Any], spec: Spec, *, outputs: int, dropout: float, rngs: nnx.Rngs
    ):
        act = config["hidden_act"]
        self.spec = spec
        self.stem = Stem(config["num_channels"], config["embedding_size"], act, rngs=rngs)
        self.blocks = nnx.List(
            [
                Block(
                    config["layer_type"],
                    inputs,
                    width,
                    stride,
                    act,
                    first=config["downsample_in_bottleneck"],
                    rngs=rngs,
                )
                for _, _, inputs, width, stride in _chain(config)
            ]
        )
        self.neck = necks.of_map(spec)
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
) -> ResNet:
    """A ResNet with random weights, in training mode.

    Args:
      config: a Hugging Face configuration; what it lacks is that of ResNet-50.
      preprocess: how the pictures were prepared; None is that of ImageNet.
      channels: input channels, if not the config's.
      image_size: pixels; recorded only, a ResNet takes any size, but for the flattened neck.
      outputs: of the head, if not as many as the config has labels.
      dropout: probability, before the head.
      rngs: for the initial weights.

    Raises:
      ConfigError: listing everything in the config that cannot be built.
    """
    config = _checked(config, channels)
    widths = tuple(config["hidden_sizes"])
    strides = _level_strides(config)
    spec = necks.fitted(
        Spec(
            family="resnet",
            levels=tuple(int(n) for n in np.cumsum(config["depths"])),
            strides=tuple(int(s) for s in _STEM_STRIDE * np.cumprod(strides)),
            widths=widths,
            origins=(0.0,) * len(widths),
            features=widths[-1],
            channels=config["num_channels"],
            preprocess=hf_config.adapted(
                preprocess or Preprocess(size=hf_config.pair(config.get("image_size") or 224)),
                channels=config["num_channels"],
                image_size=image_size,
            ),
            config={**config, "model_type": "resnet", "architectures": ["ResNetForImageClassification"]},
        )
    )
    outputs = hf_config.outputs(config) if outputs is None else outputs
    return ResNet(config, spec, outputs=outputs, dropout=dropout, rngs=rngs)


def table(config: Mapping[str, Any]) -> tuple[Rule | Ignore, ...]:
    """How the arrays of ``ResNetForImageClassification`` (or of ``ResNetModel``) become our leaves."""
    config = _checked(config, None)
    bottleneck = config["layer_type"] == "bottleneck"
    lines = _conv_norm("[resnet.]embedder.embedder", "stem/layer", FIRST_CONV)
    for i, (level, j, inputs, outputs, stride) in enumerate(_chain(config)):
        theirs, ours = f"[resnet.]encoder.stages.{level}.layers.{j}", f"blocks/{i}"
        for k in range(3 if bottleneck else 2):
            lines += _conv_norm(f"{theirs}.layer.{k}", f"{ours}/layers/{k}")
        if inputs != outputs or stride != 1:
            lines += _conv_norm(f"{theirs}.shortcut", f"{ours}/shortcut")
    return (
        *lines,
        Rule("classifier.1.weight", "head/linear/kernel", LINEAR),
        Rule("classifier.1.bias", "head/linear/bias"),
    )


def _conv_norm(theirs: str, ours: str, transform: Transform = CONV) -> list[Rule | Ignore]:
    return [
        Rule(f"{theirs}.convolution.weight", f"{ours}/conv/kernel", transform),
        *batch_norm.rules(f"{theirs}.normalization", f"{ours}/norm"),
    ]


def _checked(config: Mapping[str, Any], channels: int | None) -> dict[str, Any]:
    config = hf_config.complete(config, DEFAULTS, num_channels=channels)
    problems = hf_config.problems(config, DEFAULTS)
    if config["layer_type"] not in ("basic", "bottleneck"):
        problems.append(f"layer_type={config['layer_type']!r} is neither 'basic' nor 'bottleneck'")
    if not problems and len(config["depths"]) != len(config["hidden_sizes"]):
        problems.append(
            f"depths={config['depths']!r} and hidden_sizes={config['hidden_sizes']!r} must be of one length"
        )
    elif not problems and config["layer_type"] == "bottleneck" and min(config["hidden_sizes"]) < _REDUCTION:
        problems.append(
            f"hidden_sizes={config['hidden_sizes']!r} of bottlenecks must be {_REDUCTION} at least"
        )
    if problems:
        raise hf_config.ConfigError("resnet", problems)
    return config


def _level_strides(config: Mapping[str, Any]) -> list[int]:
    return [
        2 if level > 0 or config["downsample_in_first_stage"] else 1 for level in range(len(config["depths"]))
    ]


def _chain(config: Mapping[str, Any]) -> list[tuple[int, int, int, int, int]]:
    """Every block in order: its level, its number in the level, input width, output width, stride."""
    chain, inputs = [], config["embedding_size"]
    strides = _level_strides(config)
    for level, (depth, outputs) in enumerate(zip(config["depths"], config["hidden_sizes"], strict=True)):
        for j in range(depth):
            chain.append((level, j, inputs, outputs, strides[level] if j == 0 else 1))
            inputs = outputs
    return chain
