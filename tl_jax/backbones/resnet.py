"""ResNet (He et al. 2016), as Hugging Face's `ResNetForImageClassification` lays it out.

Basic blocks (two 3×3 convolutions) or bottlenecks (1×1, 3×3, 1×1). The stem is a 7×7 convolution with
stride 2 and a max-pool; the blocks of all levels follow one another; the neck averages over the map.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from tl_jax.backbones.anatomy import Backbone, Carry, Head, Preprocess, Spec
from tl_jax.backbones.layers import activation, batch_norm, label_count
from tl_jax.pretrained.rules import Ignore, Rule
from tl_jax.pretrained.transforms import CONV, FIRST_CONV, LINEAR, Transform

DEFAULTS: dict[str, Any] = dict(
    num_channels=3,
    embedding_size=64,
    hidden_sizes=[256, 512, 1024, 2048],
    depths=[3, 4, 6, 3],
    layer_type="bottleneck",
    hidden_act="relu",
    downsample_in_first_stage=False,
    downsample_in_bottleneck=False,
)
"""What a ``config.json`` leaves out."""

_BASIC = dict(model_type="resnet", layer_type="basic", hidden_sizes=[64, 128, 256, 512])
_BOTTLENECK = dict(model_type="resnet", layer_type="bottleneck", hidden_sizes=[256, 512, 1024, 2048])
sizes: dict[str, dict[str, Any]] = {
    "resnet-18": {**_BASIC, "depths": [2, 2, 2, 2]},
    "resnet-34": {**_BASIC, "depths": [3, 4, 6, 3]},
    "resnet-50": {**_BOTTLENECK, "depths": [3, 4, 6, 3]},
    "resnet-101": {**_BOTTLENECK, "depths": [3, 4, 23, 3]},
    "resnet-152": {**_BOTTLENECK, "depths": [3, 8, 36, 3]},
}
"""Named sizes: Hugging Face configs."""

_REDUCTION = 4  # a bottleneck's inner width is its outer width over this


class ConvNorm(nnx.Module):
    """Convolution without bias, padded by half its kernel, then BatchNorm."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, *, rngs: nnx.Rngs):
        pad = kernel // 2
        self.conv = nnx.Conv(
            inputs,
            outputs,
            (kernel, kernel),
            strides=(stride, stride),
            padding=((pad, pad), (pad, pad)),
            use_bias=False,
            kernel_init=nnx.initializers.variance_scaling(2.0, "fan_out", "normal"),
            rngs=rngs,
        )
        self.norm = batch_norm(outputs, rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.norm(self.conv(x))


class Stem(nnx.Module):
    """Images (B, H, W, C) → (B, H/4, W/4, embedding)."""

    def __init__(self, channels: int, width: int, act: str, *, rngs: nnx.Rngs):
        self.embed = ConvNorm(channels, width, 7, 2, rngs=rngs)
        self.act = activation(act)

    def __call__(self, inputs: jax.Array, *, key: jax.Array | None = None) -> Carry:
        x = self.act(self.embed(inputs))
        return {"x": nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))}


class Block(nnx.Module):
    """A residual block. ``kernels`` and ``strides`` of its convolutions, ``widths`` of their outputs."""

    def __init__(
        self,
        inputs: int,
        widths: list[int],
        kernels: list[int],
        strides: list[int],
        act: str,
        *,
        rngs: nnx.Rngs,
    ):
        before = [inputs, *widths[:-1]]
        sizes = zip(before, widths, kernels, strides, strict=True)
        self.layers = nnx.List([ConvNorm(*size, rngs=rngs) for size in sizes])
        stride = max(strides)
        if inputs != widths[-1] or stride != 1:
            self.shortcut = ConvNorm(inputs, widths[-1], 1, stride, rngs=rngs)
        else:
            self.shortcut = None
        self.act = activation(act)

    def __call__(self, carry: Carry, *, key: jax.Array | None = None) -> Carry:
        x = inputs = carry["x"]
        for layer in self.layers[:-1]:
            x = jax.nn.relu(layer(x))  # inside a block always relu, as in the original
        x = self.layers[-1](x)
        return {"x": self.act(x + (inputs if self.shortcut is None else self.shortcut(inputs)))}


class Neck(nnx.Module):
    """Average over the map: (B, h, w, c) → (B, c)."""

    def __call__(self, carry: Carry, *, key: jax.Array | None = None) -> jax.Array:
        return jnp.mean(carry["x"], axis=(1, 2))


class ResNet(Backbone):
    """See the module docstring."""

    def __init__(self, spec: Spec, config: Mapping[str, Any], outputs: int, dropout: float, rngs: nnx.Rngs):
        self.spec = spec
        act = config["hidden_act"]
        self.stem = Stem(spec.channels, config["embedding_size"], act, rngs=rngs)
        self.blocks = nnx.List([Block(*shape, act, rngs=rngs) for shape in _block_shapes(config)])
        self.neck = Neck()
        self.head = Head(spec.features, outputs, dropout=dropout, rngs=rngs)

    def feature_map(self, carry: Carry) -> jax.Array:
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
    """A ResNet of a Hugging Face config. ``image_size`` is accepted and has no effect: any will do.

    Raises ValueError for a ``layer_type`` that does not exist.
    """
    config = {**DEFAULTS, **config}
    if config["layer_type"] not in ("basic", "bottleneck"):
        raise ValueError(f"layer_type={config['layer_type']!r} is neither 'basic' nor 'bottleneck'")
    first = 8 if config["downsample_in_first_stage"] else 4
    spec = Spec(
        family="resnet",
        levels=tuple(accumulate(config["depths"])),
        strides=tuple(first * 2**level for level in range(len(config["depths"]))),
        widths=tuple(config["hidden_sizes"]),
        features=config["hidden_sizes"][-1],
        channels=channels or config["num_channels"],
        preprocess=preprocess or Preprocess(),
        config=config,
    )
    return ResNet(spec, config, label_count(config) if outputs is None else outputs, dropout, rngs)


def _block_shapes(config: Mapping[str, Any]) -> list[tuple[int, list[int], list[int], list[int]]]:
    """For each block: inputs, widths, kernels, strides."""
    shapes, inputs = [], config["embedding_size"]
    for level, (width, depth) in enumerate(zip(config["hidden_sizes"], config["depths"], strict=True)):
        for i in range(depth):
            down = i == 0 and (level > 0 or config["downsample_in_first_stage"])
            stride = 2 if down else 1
            if config["layer_type"] == "basic":
                shapes.append((inputs, [width, width], [3, 3], [stride, 1]))
            else:
                inner = width // _REDUCTION
                strides = [stride, 1, 1] if config["downsample_in_bottleneck"] else [1, stride, 1]
                shapes.append((inputs, [inner, inner, width], [1, 3, 1], strides))
            inputs = width
    return shapes


def table(config: Mapping[str, Any]) -> tuple[Rule | Ignore, ...]:
    """Checkpoint names ↔ our paths."""
    config = {**DEFAULTS, **config}
    rules = _conv_norm("[resnet.]embedder.embedder", "stem/embed", FIRST_CONV)
    places = [(lv, i) for lv, depth in enumerate(config["depths"]) for i in range(depth)]
    for number, (place, shape) in enumerate(zip(places, _block_shapes(config), strict=True)):
        theirs = "[resnet.]encoder.stages.{}.layers.{}".format(*place)
        ours = f"blocks/{number}"
        inputs, widths, _, strides = shape
        for i in range(len(widths)):
            rules += _conv_norm(f"{theirs}.layer.{i}", f"{ours}/layers/{i}")
        if inputs != widths[-1] or max(strides) != 1:
            rules += _conv_norm(f"{theirs}.shortcut", f"{ours}/shortcut")
    return (
        *rules,
        Rule("classifier.1.weight", "head/linear/kernel", LINEAR),
        Rule("classifier.1.bias", "head/linear/bias"),
        Ignore("*.num_batches_tracked", "a counter that inference does not use"),
    )


def _conv_norm(theirs: str, ours: str, conv: Transform = CONV) -> list[Rule]:
    return [
        Rule(f"{theirs}.convolution.weight", f"{ours}/conv/kernel", conv),
        Rule(f"{theirs}.normalization.weight", f"{ours}/norm/scale"),
        Rule(f"{theirs}.normalization.bias", f"{ours}/norm/bias"),
        Rule(f"{theirs}.normalization.running_mean", f"{ours}/norm/mean"),
        Rule(f"{theirs}.normalization.running_var", f"{ours}/norm/var"),
    ]
