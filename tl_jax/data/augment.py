"""Augmentation inside the compiled step: pure functions of pictures and a key.

All geometry (crop, aspect, flips, rotation, shift, and the way from the canvas to the network's size) is
one affine map a picture, and one bilinear gather on the picture's own channels; gray becomes colour last.
The canvas is only a little larger than the output, so bilinear sampling needs no antialiasing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp


def augment(images: jax.Array, key: jax.Array, settings: Mapping[str, Any], *, size: int) -> jax.Array:
    """Stored pictures (B, H, W, C) uint8 → (B, size, size, C) float32 in 0…1, each changed on its own.

    ``settings``: see `tl_jax.defaults.augment`; they are static. With nothing switched on and no change
    of size the pictures come back exactly, over 255.
    """
    keys = jax.random.split(key, 4)
    if moves_pixels(settings) or images.shape[1:3] != (size, size):
        x = sample(images, affine(keys[0], len(images), settings), size)
    else:
        x = images.astype(jnp.float32) / 255
    x = tone(x, keys[1], settings["brightness"], settings["contrast"])
    return erase(x, keys[2], settings["erase"]) if settings["erase"] else x


def moves_pixels(settings: Mapping[str, Any]) -> bool:
    """Whether the settings change the geometry."""
    return (
        tuple(settings["scale"]) != (1.0, 1.0)
        or tuple(settings["ratio"]) != (1.0, 1.0)
        or any(settings[name] for name in ("flip", "flip_vertical", "rotate", "shift"))
    )


def affine(key: jax.Array, n: int, settings: Mapping[str, Any]) -> jax.Array:
    """A random map for each of n pictures, (n, 2, 3): output → input coordinates (y, x), both in units
    of the picture's sides from its centre, so that the identity is [[1, 0, 0], [0, 1, 0]].

    Crop as in Szegedy et al. 2015: area uniform in ``scale``, log-aspect uniform in ``ratio``, sides at
    most the picture's, anywhere inside. Rotation turns about the crop's centre.
    """
    area, aspect, place, turn, move, sign = jax.random.split(key, 6)
    low, high = settings["scale"]
    share = jax.random.uniform(area, (n,), minval=low, maxval=high)
    narrow, wide = (jnp.log(float(value)) for value in settings["ratio"])
    ratio = jnp.exp(jax.random.uniform(aspect, (n,), minval=narrow, maxval=wide))
    sides = jnp.minimum(jnp.stack([jnp.sqrt(share / ratio), jnp.sqrt(share * ratio)], -1), 1.0)
    centre = (1 - sides) * jax.random.uniform(place, (n, 2), minval=-0.5, maxval=0.5)
    centre = centre + settings["shift"] * jax.random.uniform(move, (n, 2), minval=-1, maxval=1)
    angle = jnp.deg2rad(settings["rotate"]) * jax.random.uniform(turn, (n,), minval=-1, maxval=1)
    flips = jax.random.bernoulli(sign, 0.5, (n, 2)) & jnp.array(
        [[settings["flip_vertical"], settings["flip"]]]
    )
    sides = jnp.where(flips, -sides, sides)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    turned = jnp.stack([jnp.stack([cos, sin], -1), jnp.stack([-sin, cos], -1)], -2)
    return jnp.concatenate([turned * sides[:, None, :], centre[..., None]], -1)


def sample(images: jax.Array, maps: jax.Array, size: int) -> jax.Array:
    """Bilinear samples of pictures (B, H, W, C) uint8 at mapped pixel centres: (B, size, size, C) in
    0…1. Beyond the border the edge's value continues."""
    b, height, width, channels = images.shape
    line = (jnp.arange(size, dtype=jnp.float32) + 0.5) / size - 0.5
    y, x = line[None, :, None], line[None, None, :]
    a = maps[:, :, :, None, None]
    row = (a[:, 0, 0] * y + a[:, 0, 1] * x + a[:, 0, 2] + 0.5) * height - 0.5
    column = (a[:, 1, 0] * y + a[:, 1, 1] * x + a[:, 1, 2] + 0.5) * width - 0.5
    row, column = jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1)
    top = jnp.minimum(jnp.floor(row), max(height - 2, 0)).astype(jnp.int32)
    left = jnp.minimum(jnp.floor(column), max(width - 2, 0)).astype(jnp.int32)
    down, right = (row - top)[..., None], (column - left)[..., None]
    flat = images.reshape(b, height * width, channels)
    below, beside = (width if height > 1 else 0), (1 if width > 1 else 0)

    def corner(dy: int, dx: int) -> jax.Array:
        index = (top * width + left + dy + dx).reshape(b, -1)
        taken = jax.vmap(lambda picture, i: picture.at[i].get(mode="promise_in_bounds"))(flat, index)
        return taken.reshape(b, size, size, channels).astype(jnp.float32)

    upper = corner(0, 0) * (1 - right) + corner(0, beside) * right
    lower = corner(below, 0) * (1 - right) + corner(below, beside) * right
    return (upper * (1 - down) + lower * down) / 255


def tone(x: jax.Array, key: jax.Array, brightness: float, contrast: float) -> jax.Array:
    """Contrast times 1 ± ``contrast`` about the picture's mean, brightness plus ± ``brightness``; the
    result stays in 0…1."""
    if not brightness and not contrast:
        return x
    first, second = jax.random.split(key)
    shape = (len(x), 1, 1, 1)
    factor = jax.random.uniform(first, shape, minval=1 - contrast, maxval=1 + contrast)
    offset = jax.random.uniform(second, shape, minval=-brightness, maxval=brightness)
    mean = jnp.mean(x, axis=(1, 2, 3), keepdims=True)
    return jnp.clip((x - mean) * factor + mean + offset, 0, 1)


def erase(x: jax.Array, key: jax.Array, probability: float) -> jax.Array:
    """With ``probability``, one rectangle is filled with the picture's mean (Zhong et al. 2020: area 2 %
    to 33 %, aspect 0.3 to 3.3)."""
    whether, area, aspect, place = jax.random.split(key, 4)
    n, height, width, _ = x.shape
    share = jax.random.uniform(area, (n,), minval=0.02, maxval=0.33)
    ratio = jnp.exp(jax.random.uniform(aspect, (n,), minval=jnp.log(0.3), maxval=jnp.log(3.3)))
    inside = box(jnp.sqrt(share / ratio), jnp.sqrt(share * ratio), place, height, width)
    chosen = inside & jax.random.bernoulli(whether, probability, (n, 1, 1))
    return jnp.where(chosen[..., None], jnp.mean(x, axis=(1, 2), keepdims=True), x)


def box(tall: jax.Array, wide: jax.Array, key: jax.Array, height: int, width: int) -> jax.Array:
    """Masks (n, height, width) of rectangles with sides (n,) in shares of the picture and a centre
    anywhere in it; what lies outside is cut off."""
    centre = jax.random.uniform(key, (2, len(tall), 1))
    rows = jnp.abs((jnp.arange(height) + 0.5)[None] / height - centre[0]) < tall[:, None] / 2
    columns = jnp.abs((jnp.arange(width) + 0.5)[None] / width - centre[1]) < wide[:, None] / 2
    return rows[:, :, None] & columns[:, None, :]


def normalise(x: jax.Array, mean: Sequence[float], std: Sequence[float], channels: int) -> jax.Array:
    """Values in 0…1 (B, h, w, C) → what the network takes (B, h, w, channels): gray is repeated, then
    each channel is centred and scaled."""
    if x.shape[-1] != channels:
        x = jnp.broadcast_to(x, (*x.shape[:-1], channels))
    shape = (1, 1, 1, len(mean))
    return (x - jnp.asarray(mean, x.dtype).reshape(shape)) / jnp.asarray(std, x.dtype).reshape(shape)


def mix(
    images: jax.Array, targets: jax.Array, key: jax.Array, *, mixup: float, cutmix: float
) -> tuple[jax.Array, jax.Array]:
    """Mixup (Zhang et al. 2018) or cutmix (Yun et al. 2019) of each picture with another of the batch;
    where both are on, a coin decides for the batch. Targets (B, K) mix by the share that is really there.
    """
    if not mixup and not cutmix:
        return images, targets
    coin, first, second = jax.random.split(key, 3)
    blended = _mixup(images, targets, first, mixup) if mixup else None
    pasted = _cutmix(images, targets, second, cutmix) if cutmix else None
    if blended is None or pasted is None:
        return blended or pasted or (images, targets)
    heads = jax.random.bernoulli(coin)
    return jax.tree.map(lambda a, b: jnp.where(heads, a, b), blended, pasted)


def _mixup(x: jax.Array, t: jax.Array, key: jax.Array, alpha: float) -> tuple[jax.Array, jax.Array]:
    shares, order = jax.random.split(key)
    own = jax.random.beta(shares, alpha, alpha, (len(x),))
    other = jax.random.permutation(order, len(x))
    a, b = own[:, None, None, None], own[:, None]
    return a * x + (1 - a) * x[other], b * t + (1 - b) * t[other]


def _cutmix(x: jax.Array, t: jax.Array, key: jax.Array, alpha: float) -> tuple[jax.Array, jax.Array]:
    shares, order, place = jax.random.split(key, 3)
    side = jnp.sqrt(1 - jax.random.beta(shares, alpha, alpha, (len(x),)))
    other = jax.random.permutation(order, len(x))
    inside = box(side, side, place, *x.shape[1:3])
    own = 1 - jnp.mean(inside, axis=(1, 2))[:, None]
    return jnp.where(inside[..., None], x[other], x), own * t + (1 - own) * t[other]
