"""VGG with 11, 13, 16 or 19 layers, with and without batch normalisation.

Simonyan and Zisserman 2014, arXiv:1409.1556, configurations A, B, D and E, in the layout of timm:
``features.N`` are convolutions, normalisations, activations and pooling layers counted alike,
``pre_logits.fc1`` and ``fc2`` the two large layers, as convolutions, ``head.fc`` the classifier. A block is
a 3×3 convolution with what follows it; the pooling that ends a level belongs to the level's last block. The
stem is empty.

The neck is fc6 and fc7. They look at 7×7 cells, what 224 pixels leave. A larger picture has several such
windows, whose outputs are averaged (section 3.2 of the paper, without its last layer); of a smaller one each
cell is repeated or mixed with its neighbours until there are seven, as timm does it. `necks.NECK` in the
config puts the mean over the map, or the flattened map, in their place: the network "without its top".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tl_jax.backbones import batch_norm, hf_config, necks, product
from tl_jax.backbones.anatomy import Backbone, Carry, Head, Preprocess, Spec
from tl_jax.backbones.convolution import KAIMING, Conv
from tl_jax.backbones.drop import dropped
from tl_jax.backbones.necks import NECK
from tl_jax.backbones.pooling import max_pool
from tl_jax.pretrained import lines
from tl_jax.pretrained.rules import Ignore, Rule
from tl_jax.pretrained.transforms import CONV, FIRST_CONV

DEFAULTS: dict[str, Any] = {
    "num_channels": 3,
    "hidden_sizes": (64, 128, 256, 512, 512),
    "depths": (2, 2, 3, 3, 3),
    "batch_norm": False,
    "hidden_act": "relu",
    "num_features": 4096,
    "hidden_dropout_prob": 0.0,
}
"""VGG16. ``depths``: convolutions a level; ``num_features`` and ``hidden_dropout_prob``: of fc6 and fc7."""

FIXED_SIZE = False
"""A VGG takes any size: its large layers slide over the map."""

NECKS = necks.OF_A_MAP

_WINDOW = 7


def _size(depths: tuple[int, ...], *, batch_norm: bool) -> dict[str, Any]:
    return {"model_type": "vgg", "depths": depths, "batch_norm": batch_norm}


_DEPTHS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}

sizes: dict[str, dict[str, Any]] = {
    **{name: _size(depths, batch_norm=False) for name, depths in _DEPTHS.items()},
    **{f"{name}_bn": _size(depths, batch_norm=True) for name, depths in _DEPTHS.items()},
}
"""Named configs, as `build` takes them; the names are timm's."""


class Block(nnx.Module):
    """Convolution, batch normalisation if any, activation and, where a level ends, pooling: x (B, h, w, in) →
    (B, h, w, out), or (B, h // 2, w // 2, out)."""

    def __init__(self, inputs: int, outputs: int, act: str, *, norm: bool, pool: bool, rngs: nnx.Rngs):
        self.conv = Conv(inputs, outputs, 3, use_bias=True, rngs=rngs)
        self.norm = batch_norm.BatchNorm(outputs, rngs=rngs) if norm else None
        self.act = hf_config.ACTIVATIONS[act]
        self.pool = pool

    def __call__(self, carry: Carry, *, key: jax.Array | None = None) -> Carry:
        x = self.conv(carry["x"])
        if self.norm is not None:
            x = self.norm(x).astype(x.dtype)  # it answers in float32, the precision of its statistics
        x = self.act(x)
        return {**carry, "x": max_pool(x, 2) if self.pool else x}


class Stem(nnx.Module):
    """Nothing: pictures (B, H, W, channels) are x."""

    def __call__(self, inputs: jax.Array, *, key: jax.Array | None = None) -> Carry:
        return {"x": inputs}


class Windows(nnx.Module):
    """One linear layer on each window of the map: x (B, h, w, in) → (B, h - k + 1, w - k + 1, out).

    ``kernel`` (k, k, in, out) is that of a convolution without padding. It is computed as a product of the
    windows end to end: here there are few of them, and k is large.
    """

    def __init__(self, size: int, inputs: int, outputs: int, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(KAIMING(rngs.params(), (size, size, inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros((outputs,)))

    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.kernel[...]
        size, _, inputs, outputs = kernel.shape
        tall, wide = x.shape[1] - size + 1, x.shape[2] - size + 1
        cells = [x[:, i : i + tall, j : j + wide] for i in range(size) for j in range(size)]
        windows = jnp.stack(cells, axis=3).reshape(x.shape[0], tall, wide, size * size * inputs)
        made = product.times(windows, kernel.reshape(-1, outputs))
        return made + self.bias[...].reshape(1, 1, 1, -1)


class FullyConnected(nnx.Module):
    """fc6 and fc7, averaged over their windows: x (B, h, w, c) → (B, features)."""

    def __init__(self, config: Mapping[str, Any], *, rngs: nnx.Rngs):
        width, features = config["hidden_sizes"][-1], config["num_features"]
        self.fc1 = Windows(_WINDOW, width, features, rngs=rngs)
        self.fc2 = Windows(1, features, features, rngs=rngs)
        self.act = hf_config.ACTIVATIONS[config["hidden_act"]]
        self.dropout = nnx.Dropout(config["hidden_dropout_prob"])

    def __call__(self, carry: Carry, *, key: jax.Array | None = None) -> jax.Array:
        x = carry["x"]
        for axis, side in ((1, x.shape[1]), (2, x.shape[2])):
            if side < _WINDOW:
                x = jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ spread(side, _WINDOW).astype(x.dtype), -1, axis)
        x = dropped(self.dropout, self.act(self.fc1(x)), key)
        return jnp.mean(self.act(self.fc2(x)), axis=(1, 2))


def spread(cells: int, more: int) -> np.ndarray:
    """Weights (cells, more), float32, that make more cells of a few: each is the mean of those that it
    overlaps, as PyTorch's adaptive average pooling has it.

    Raises ValueError where there is no cell at all.
    """
    if cells < 1:
        raise ValueError("the pictures are too small for this VGG: nothing is left of them after its pooling")
    weights = np.zeros((cells, more), np.float32)
    for i in range(more):
        first, end = i * cells // more, -(-(i + 1) * cells // more)
        weights[first:end, i] = 1 / (end - first)
    return weights


class VGG(Backbone):
    """See the module docstring; made by `build`."""

    def __init__(
        self, config: Mapping[str, Any], spec: Spec, *, outputs: int, dropout: float, rngs: nnx.Rngs
    ):
        self.spec = spec
        self.stem = Stem()
        norm, act = config["batch_norm"], config["hidden_act"]
        self.blocks = nnx.List(
            [
                Block(inputs, width, act, norm=norm, pool=pool, rngs=rngs)
                for inputs, width, pool in _chain(config)
            ]
        )
        self.neck = necks.of_map(spec) if NECK in config else FullyConnected(config, rngs=rngs)
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
) -> VGG:
    """A VGG with random weights, in training mode.

    Args:
      config: with the keys of `DEFAULTS`; what it lacks is that of VGG16.
      preprocess: how the pictures were prepared; None is that of ImageNet.
      channels: input channels, if not the config's.
      image_size: pixels; recorded only, a VGG takes any size that leaves a map, but for the flattened neck.
      outputs: of the head, if not as many as the config has labels.
      dropout: probability, before the head.
      rngs: for the initial weights.

    Raises:
      ConfigError: listing everything in the config that cannot be built.
    """
    config = _checked(config, channels)
    steps = [2 ** (level + 1) for level in range(len(config["depths"]))]
    spec = necks.fitted(
        Spec(
            family="vgg",
            levels=tuple(accumulate(config["depths"])),
            strides=tuple(steps),
            widths=tuple(config["hidden_sizes"]),
            origins=tuple((step - 1) / 2 for step in steps),
            features=0,
            channels=config["num_channels"],
            preprocess=hf_config.adapted(
                preprocess or Preprocess(size=hf_config.pair(config.get("image_size") or 224)),
                channels=config["num_channels"],
                image_size=image_size,
            ),
            config={**config, "model_type": "vgg", **_architecture(config)},
            pooled_last=True,
        )
    )
    if NECK not in config:
        spec = replace(spec, features=config["num_features"])
    outputs = hf_config.outputs(config) if outputs is None else outputs
    return VGG(config, spec, outputs=outputs, dropout=dropout, rngs=rngs)


def table(config: Mapping[str, Any]) -> tuple[Rule | Ignore, ...]:
    """How the arrays of timm's VGG become our leaves."""
    config = _checked(config, None)
    rules: list[Rule | Ignore] = []
    layer = 0
    for i, (_, _, pool) in enumerate(_chain(config)):
        ours = f"blocks/{i}"
        rules += lines.conv(f"features.{layer}", f"{ours}/conv", CONV if i else FIRST_CONV)
        if config["batch_norm"]:
            layer += 1
            rules += batch_norm.rules(f"features.{layer}", f"{ours}/norm")
        layer += 3 if pool else 2
    if NECK in config:
        rules.append(
            Ignore("pre_logits.*", f"fc6 and fc7: the neck of this network is another, {config[NECK]!r}")
        )
    else:
        for name in ("fc1", "fc2"):
            rules += lines.conv(f"pre_logits.{name}", f"neck/{name}")
    return (*rules, *lines.linear("head.fc", "head/linear"))


def _checked(config: Mapping[str, Any], channels: int | None) -> dict[str, Any]:
    config = hf_config.complete(config, DEFAULTS, num_channels=channels)
    config.pop("architecture", None)  # said anew, as channels and neck may be others
    problems = hf_config.problems(config, DEFAULTS)
    if not problems and len(config["depths"]) != len(config["hidden_sizes"]):
        problems.append(
            f"depths={config['depths']!r} and hidden_sizes={config['hidden_sizes']!r} must be of one length"
        )
    if problems:
        raise hf_config.ConfigError("vgg", problems)
    return config


def _architecture(config: Mapping[str, Any]) -> dict[str, str]:
    """timm's name of the network, where it has one."""
    if NECK in config or any(
        config[key] != DEFAULTS[key] for key in ("num_channels", "hidden_act", "num_features")
    ):
        return {}
    shape = {"depths": tuple(config["depths"]), "batch_norm": config["batch_norm"]}
    names = [name for name, size in sizes.items() if size == {"model_type": "vgg", **shape}]
    same_widths = tuple(config["hidden_sizes"]) == DEFAULTS["hidden_sizes"]
    return {"architecture": names[0]} if names and same_widths else {}


def _chain(config: Mapping[str, Any]) -> list[tuple[int, int, bool]]:
    """Every block in order: input width, output width, and whether it ends with pooling."""
    chain, inputs = [], config["num_channels"]
    for depth, outputs in zip(config["depths"], config["hidden_sizes"], strict=True):
        for j in range(depth):
            chain.append((inputs, outputs, j == depth - 1))
            inputs = outputs
    return chain
