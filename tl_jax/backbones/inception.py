"""Inception-v3: everything that a ``config.json`` with ``model_type: "inception_v3"`` can say.

Szegedy et al. 2015, arXiv:1512.00567, in the layout of timm, which has the names of its arrays from
torchvision. The stem is five convolutions and two max-poolings without padding (stride 8), blocks are the
modules ``Mixed_5b`` to ``Mixed_7c``, the neck is the mean over the picture, or as the config chooses
(`necks`). It was made for pictures of 299 pixels; 75 are the fewest that leave a map.

A module is data here, a list of layers, each with the name of the one that it reads. What no other layer
reads is the module's output, in the order of the list.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from tl_jax.backbones import batch_norm, hf_config, necks
from tl_jax.backbones.anatomy import Backbone, Carry, Head, Preprocess, Spec
from tl_jax.backbones.convolution import Conv
from tl_jax.backbones.pooling import average_pool, max_pool
from tl_jax.pretrained import lines
from tl_jax.pretrained.rules import Ignore, Rule
from tl_jax.pretrained.transforms import CONV, FIRST_CONV, Transform

DEFAULTS: dict[str, Any] = {
    "num_channels": 3,
    "depths": (3, 5, 3),
    "depth_multiplier": 1.0,
    "hidden_act": "relu",
    "batch_norm_eps": 1e-3,
}
"""The network of the paper. ``depths``: modules a level; ``depth_multiplier``: of all widths."""

FIXED_SIZE = False
"""An Inception-v3 takes any size."""

NECKS = necks.OF_A_MAP

sizes: dict[str, dict[str, Any]] = {"inception_v3": {"model_type": "inception_v3"}}
"""Named configs, as `build` takes them; the names are timm's."""


class Layer(NamedTuple):
    """A convolution of the layer named ``reads``, of the module's input (""), or of the averages over its
    3×3 windows ("average"). ``stride`` 2 goes without padding, as ``pad`` may."""

    name: str
    reads: str
    width: int
    size: int | tuple[int, int]
    stride: int = 1
    pad: bool = True


STEM = (
    Layer("Conv2d_1a_3x3", "", 32, 3, 2, False),
    Layer("Conv2d_2a_3x3", "Conv2d_1a_3x3", 32, 3, 1, False),
    Layer("Conv2d_2b_3x3", "Conv2d_2a_3x3", 64, 3),
    Layer("Conv2d_3b_1x1", "pool", 80, 1),
    Layer("Conv2d_4a_3x3", "Conv2d_3b_1x1", 192, 3, 1, False),
)
"""Its first three layers, and the two behind a max-pooling; another one follows."""


def _a(pooled: int) -> tuple[Layer, ...]:
    """Figure 5 of the paper, with the 5×5 convolution still in it."""
    return (
        Layer("branch1x1", "", 64, 1),
        Layer("branch5x5_1", "", 48, 1),
        Layer("branch5x5_2", "branch5x5_1", 64, 5),
        Layer("branch3x3dbl_1", "", 64, 1),
        Layer("branch3x3dbl_2", "branch3x3dbl_1", 96, 3),
        Layer("branch3x3dbl_3", "branch3x3dbl_2", 96, 3),
        Layer("branch_pool", "average", pooled, 1),
    )


_B = (
    Layer("branch3x3", "", 384, 3, 2, False),
    Layer("branch3x3dbl_1", "", 64, 1),
    Layer("branch3x3dbl_2", "branch3x3dbl_1", 96, 3),
    Layer("branch3x3dbl_3", "branch3x3dbl_2", 96, 3, 2, False),
)
"""Figure 10: a smaller map, beside max-pooling."""


def _c(inner: int) -> tuple[Layer, ...]:
    """Figure 6, with n = 7."""
    return (
        Layer("branch1x1", "", 192, 1),
        Layer("branch7x7_1", "", inner, 1),
        Layer("branch7x7_2", "branch7x7_1", inner, (1, 7)),
        Layer("branch7x7_3", "branch7x7_2", 192, (7, 1)),
        Layer("branch7x7dbl_1", "", inner, 1),
        Layer("branch7x7dbl_2", "branch7x7dbl_1", inner, (7, 1)),
        Layer("branch7x7dbl_3", "branch7x7dbl_2", inner, (1, 7)),
        Layer("branch7x7dbl_4", "branch7x7dbl_3", inner, (7, 1)),
        Layer("branch7x7dbl_5", "branch7x7dbl_4", 192, (1, 7)),
        Layer("branch_pool", "average", 192, 1),
    )


_D = (
    Layer("branch3x3_1", "", 192, 1),
    Layer("branch3x3_2", "branch3x3_1", 320, 3, 2, False),
    Layer("branch7x7x3_1", "", 192, 1),
    Layer("branch7x7x3_2", "branch7x7x3_1", 192, (1, 7)),
    Layer("branch7x7x3_3", "branch7x7x3_2", 192, (7, 1)),
    Layer("branch7x7x3_4", "branch7x7x3_3", 192, 3, 2, False),
)
"""Figure 10 again, before the coarsest level."""

_E = (
    Layer("branch1x1", "", 320, 1),
    Layer("branch3x3_1", "", 384, 1),
    Layer("branch3x3_2a", "branch3x3_1", 384, (1, 3)),
    Layer("branch3x3_2b", "branch3x3_1", 384, (3, 1)),
    Layer("branch3x3dbl_1", "", 448, 1),
    Layer("branch3x3dbl_2", "branch3x3dbl_1", 384, 3),
    Layer("branch3x3dbl_3a", "branch3x3dbl_2", 384, (1, 3)),
    Layer("branch3x3dbl_3b", "branch3x3dbl_2", 384, (3, 1)),
    Layer("branch_pool", "average", 192, 1),
)
"""Figure 7: wide, for the coarsest level."""

LEVELS: tuple[dict[str, tuple[Layer, ...]], ...] = (
    {"Mixed_5b": _a(32), "Mixed_5c": _a(64), "Mixed_5d": _a(64)},
    {"Mixed_6a": _B, "Mixed_6b": _c(128), "Mixed_6c": _c(160), "Mixed_6d": _c(160), "Mixed_6e": _c(192)},
    {"Mixed_7a": _D, "Mixed_7b": _E, "Mixed_7c": _E},
)
"""The modules of each level, in order."""

_STRIDES, _ORIGINS = (8, 16, 32), (13.0, 21.0, 37.0)


class ConvNorm(nnx.Module):
    """Convolution, batch normalisation and activation: x (B, h, w, in) → (B, h', w', out)."""

    def __init__(self, inputs: int, layer: Layer, config: Mapping[str, Any], *, rngs: nnx.Rngs):
        width = _width(layer.width, config)
        self.conv = Conv(inputs, width, layer.size, stride=layer.stride, pad=layer.pad, rngs=rngs)
        self.norm = batch_norm.BatchNorm(width, epsilon=config["batch_norm_eps"], rngs=rngs)
        self.act = hf_config.ACTIVATIONS[config["hidden_act"]]

    def __call__(self, x: jax.Array) -> jax.Array:
        # BatchNorm answers in the precision of its statistics, which stay float32.
        return self.act(self.norm(self.conv(x)).astype(x.dtype))


class Stem(nnx.Module):
    """Convolutions and max-pooling: (B, H, W, channels) → x (B, H/8 less 2, W/8 less 2, 192)."""

    def __init__(self, config: Mapping[str, Any], *, rngs: nnx.Rngs):
        widths = [config["num_channels"], *(_width(layer.width, config) for layer in STEM)]
        self.layers = nnx.List(
            [ConvNorm(inputs, layer, config, rngs=rngs) for inputs, layer in zip(widths, STEM, strict=False)]
        )

    def __call__(self, inputs: jax.Array, *, key: jax.Array | None = None) -> Carry:
        x = inputs
        for layer, convolve in zip(STEM, self.layers, strict=True):
            x = convolve(max_pool(x, border=0) if layer.reads == "pool" else x)
        return {"x": max_pool(x, border=0)}


class Block(nnx.Module):
    """A module: x (B, h, w, in) → (B, h', w', out); h' and w' are h and w or, where it takes a step, about
    half of them."""

    def __init__(self, inputs: int, layers: tuple[Layer, ...], config: Mapping[str, Any], *, rngs: nnx.Rngs):
        widths = {layer.name: _width(layer.width, config) for layer in layers}
        self.plan = layers
        self.layers = nnx.List(
            [ConvNorm(widths.get(layer.reads, inputs), layer, config, rngs=rngs) for layer in layers]
        )

    def __call__(self, carry: Carry, *, key: jax.Array | None = None) -> Carry:
        x = carry["x"]
        made = {"": x}
        if any(layer.reads == "average" for layer in self.plan):
            made["average"] = average_pool(x)
        for layer, convolve in zip(self.plan, self.layers, strict=True):
            made[layer.name] = convolve(made[layer.reads])
        parts = [made[name] for name in _ends(self.plan)]
        if _steps(self.plan):
            parts.append(max_pool(x, border=0))
        return {**carry, "x": jnp.concatenate(parts, axis=-1)}


class Inception(Backbone):
    """See the module docstring; made by `build`."""

    def __init__(
        self, config: Mapping[str, Any], spec: Spec, *, outputs: int, dropout: float, rngs: nnx.Rngs
    ):
        self.spec = spec
        self.stem = Stem(config, rngs=rngs)
        self.blocks = nnx.List(
            [Block(inputs, layers, config, rngs=rngs) for _, layers, inputs, _ in _chain(config)]
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
) -> Inception:
    """An Inception-v3 with random weights, in training mode.

    Args:
      config: with the keys of `DEFAULTS`; what it lacks is that of the paper's network.
      preprocess: how the pictures were prepared; None is that of ImageNet, at 299 pixels.
      channels: input channels, if not the config's.
      image_size: pixels; recorded only, it takes any size that leaves a map, but for the flattened neck.
      outputs: of the head, if not as many as the config has labels.
      dropout: probability, before the head.
      rngs: for the initial weights.

    Raises:
      ConfigError: listing everything in the config that cannot be built.
    """
    config = _checked(config, channels)
    chain, levels = _chain(config), tuple(accumulate(config["depths"]))
    spec = necks.fitted(
        Spec(
            family="inception_v3",
            levels=levels,
            strides=_STRIDES[: len(levels)],
            widths=tuple(chain[end - 1][3] for end in levels),
            origins=_ORIGINS[: len(levels)],
            features=0,
            channels=config["num_channels"],
            preprocess=hf_config.adapted(
                preprocess or Preprocess(size=hf_config.pair(config.get("image_size") or 299)),
                channels=config["num_channels"],
                image_size=image_size,
            ),
            config={**config, "model_type": "inception_v3", **_architecture(config)},
        )
    )
    outputs = hf_config.outputs(config) if outputs is None else outputs
    return Inception(config, spec, outputs=outputs, dropout=dropout, rngs=rngs)


def table(config: Mapping[str, Any]) -> tuple[Rule | Ignore, ...]:
    """How the arrays of timm's Inception-v3 become our leaves."""
    config = _checked(config, None)
    rules: list[Rule | Ignore] = []
    for i, layer in enumerate(STEM):
        rules += _conv_norm(layer.name, f"stem/layers/{i}", CONV if i else FIRST_CONV)
    for i, (name, layers, _, _) in enumerate(_chain(config)):
        for j, layer in enumerate(layers):
            rules += _conv_norm(f"{name}.{layer.name}", f"blocks/{i}/layers/{j}")
    return (
        *rules,
        *lines.linear("fc", "head/linear"),
        Ignore("AuxLogits.*", "the auxiliary classifier only helps to train from scratch"),
    )


def _conv_norm(theirs: str, ours: str, transform: Transform = CONV) -> list[Rule | Ignore]:
    return [
        Rule(f"{theirs}.conv.weight", f"{ours}/conv/kernel", transform),
        *batch_norm.rules(f"{theirs}.bn", f"{ours}/norm"),
    ]


def _checked(config: Mapping[str, Any], channels: int | None) -> dict[str, Any]:
    config = hf_config.complete(config, DEFAULTS, num_channels=channels)
    config.pop("architecture", None)  # said anew, as channels and neck may be others
    problems = hf_config.problems(config, DEFAULTS)
    most = tuple(map(len, LEVELS))
    if not problems and (
        len(config["depths"]) > len(most)
        or any(n > limit for n, limit in zip(config["depths"], most, strict=False))
    ):
        problems.append(f"depths={config['depths']!r} must be at most {most}")
    if not problems and config["depth_multiplier"] == 0:
        problems.append("depth_multiplier=0 leaves no channels; it must be above 0")
    if problems:
        raise hf_config.ConfigError("inception_v3", problems)
    return config


def _architecture(config: Mapping[str, Any]) -> dict[str, str]:
    """timm's name of the network, where it has one."""
    same = all(config[key] == value for key, value in DEFAULTS.items() if key != "depths")
    whole = tuple(config["depths"]) == DEFAULTS["depths"]
    return {"architecture": "inception_v3"} if same and whole and necks.NECK not in config else {}


def _chain(config: Mapping[str, Any]) -> list[tuple[str, tuple[Layer, ...], int, int]]:
    """Every block in order: its name in the checkpoint, its layers, input width and output width."""
    chain, inputs = [], _width(STEM[-1].width, config)
    for depth, modules in zip(config["depths"], LEVELS, strict=False):
        for name, layers in list(modules.items())[:depth]:
            ends = _ends(layers)
            outputs = sum(_width(layer.width, config) for layer in layers if layer.name in ends)
            outputs += inputs if _steps(layers) else 0
            chain.append((name, layers, inputs, outputs))
            inputs = outputs
    return chain


def _ends(layers: tuple[Layer, ...]) -> list[str]:
    """Names of the layers that no other one reads."""
    read = {layer.reads for layer in layers}
    return [layer.name for layer in layers if layer.name not in read]


def _steps(layers: tuple[Layer, ...]) -> bool:
    """Whether the module makes a smaller map, beside which max-pooling makes another one."""
    return any(layer.stride > 1 for layer in layers)


def _width(channels: int, config: Mapping[str, Any]) -> int:
    return max(1, round(channels * config["depth_multiplier"]))
