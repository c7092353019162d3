"""Augmentation inside the compiled step: pure functions of pictures and a key.

All geometry (crop, aspect, flips, rotation, shift, and the way from the canvas to the network's size) is
one affine map a picture, and one bilinear gather on the picture's own channels; gray becomes colour last.
The canvas is only a little larger than the output, so bilinear sampling needs no antialiasing; from one
beyond twice the output it would skip pixels. Rotation is in the square: a picture squashed into it is turned
and a little sheared.

On a CPU four gathers of bytes (`sample`) are several times as fast as one gather of 2 × 2 patches, or of
four bytes packed into a word; one flat index over the batch is as fast as an index a picture, but cannot be
divided among devices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp


def augment(images: jax.Array, key: jax.Array, settings: Mapping[str, Any], *, size: int) -> jax.Array:
    """Stored pictures (B, H, W, C) uint8 → (B, size, size, C) float32 in 0…1, each changed on its own.

    ``settings``: see `tl_jax.defaults.augment`; they are static. What happens to picture i is a function
    of the key and i. With nothing switched on and no change of size the pictures come back exactly, over
    255; flips alone are exact too.
    """
    wall, each = jax.random.split(key)
    return augment_each(images, jax.random.split(each, len(images)), wall, settings, size=size)


def augment_each(
    images: jax.Array, keys: jax.Array, wall: jax.Array, settings: Mapping[str, Any], *, size: int
) -> jax.Array:
    """`augment` with a key for each picture, ``keys`` (B,): what happens to a picture is a function of its
    own key, whatever the batch is. ``wall`` is any key that the compiler cannot know."""
    where, light, hole = _split(keys, 3)
    flips = settings["flip"] or settings["flip_vertical"]
    if flips or moves_pixels(settings) or images.shape[1:3] != (size, size):
        maps = affine(where, settings)
        x = _once(lambda images, maps: sample(images, maps, size), wall, images, maps)
    else:
        x = images.astype(jnp.float32) / 255

    def retouch(x: jax.Array) -> jax.Array:
        x = tone(x, light, settings["brightness"], settings["contrast"])
        return erase(x, hole, settings["erase"]) if settings["erase"] else x

    changes = settings["brightness"] or settings["contrast"] or settings["erase"]
    return _once(retouch, wall, x) if changes else x


def moves_pixels(settings: Mapping[str, Any]) -> bool:
    """Whether values between pixels will be needed, which a canvas larger than the output keeps sharp.
    Flips need none."""
    return (
        tuple(settings["scale"]) != (1.0, 1.0)
        or tuple(settings["ratio"]) != (1.0, 1.0)
        or any(settings[name] for name in ("rotate", "shift"))
    )


def changes(settings: Mapping[str, Any]) -> bool:
    """Whether anything at all is switched on."""
    rest = ("flip", "flip_vertical", "brightness", "contrast", "erase", "mixup", "cutmix")
    return moves_pixels(settings) or any(settings[name] for name in rest)


def affine(keys: jax.Array, settings: Mapping[str, Any]) -> jax.Array:
    """A random map for each of n keys, (n, 2, 3): output → input coordinates (y, x), both in units of the
    picture's sides from its centre, so that the identity is [[1, 0, 0], [0, 1, 0]].

    Crop as in Szegedy et al. 2015: area uniform in ``scale``, log-aspect uniform in ``ratio``, sides at
    most the picture's, anywhere inside. Rotation turns about the crop's centre.
    """
    area, aspect, place, turn, move, sign = _split(keys, 6)
    (small, large), (flat, tall) = settings["scale"], settings["ratio"]
    share = _uniform(area, small, large)
    ratio = jnp.exp(_uniform(aspect, math.log(flat), math.log(tall)))
    sides = jnp.minimum(jnp.stack([jnp.sqrt(share / ratio), jnp.sqrt(share * ratio)], -1), 1.0)
    centre = (1 - sides) * _uniform(place, -0.5, 0.5, (2,))
    centre = centre + settings["shift"] * _uniform(move, -1, 1, (2,))
    angle = math.radians(settings["rotate"]) * _uniform(turn, -1, 1)
    flips = jnp.array([[settings["flip_vertical"], settings["flip"]]])
    sides = jnp.where(flips & (_uniform(sign, 0, 1, (2,)) < 0.5), -sides, sides)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    turned = jnp.stack([jnp.stack([cos, sin], -1), jnp.stack([-sin, cos], -1)], -2)
    return jnp.concatenate([turned * sides[:, None, :], centre[..., None]], -1)


def _split(keys: jax.Array, number: int) -> jax.Array:
    """``number`` independent arrays of keys (n,) from one."""
    return jax.vmap(lambda key: jax.random.split(key, number), out_axes=1)(keys)


def _uniform(keys: jax.Array, low: float, high: float, shape: tuple[int, ...] = ()) -> jax.Array:
    """For each of n keys, numbers between low and high: (n, *shape)."""
    return jax.vmap(lambda key: jax.random.uniform(key, shape, minval=low, maxval=high))(keys)


def sample(images: jax.Array, maps: jax.Array, size: int) -> jax.Array:
    """Bilinear samples of pictures (B, H, W, C) uint8 at mapped pixel centres: (B, size, size, C) in
    0…1. Beyond the border the edge's value continues."""
    b, height, width, channels = images.shape
    # In pixels from the centre: whole and half numbers, so that identity and flips are exact.
    line = jnp.arange(size, dtype=jnp.float32) - (size - 1) / 2
    y, x = line[None, :, None], line[None, None, :]
    a = maps[:, :, :, None, None]
    zoom = height / size, width / size
    row = zoom[0] * a[:, 0, 0] * y + zoom[0] * a[:, 0, 1] * x + (height * a[:, 0, 2] + (height - 1) / 2)
    column = zoom[1] * a[:, 1, 0] * y + zoom[1] * a[:, 1, 1] * x + (width * a[:, 1, 2] + (width - 1) / 2)
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


def _once(change: Callable[..., jax.Array], key: jax.Array, *operands: jax.Array) -> jax.Array:
    """``change(*operands)``, computed once.

    XLA:CPU fuses it into every later use (the mean, each of three channels, both sides of a mixup) and
    repeats it there, up to thirty times slower; it drops optimization barriers, but does not fuse across
    a branch. So on a CPU this is one, always taken, which the compiler cannot know.
    """

    def branch(*operands: jax.Array) -> jax.Array:
        shape = jax.eval_shape(change, *operands)

        def never(*operands: jax.Array) -> jax.Array:
            return jnp.zeros(shape.shape, shape.dtype)

        return jax.lax.cond(jax.random.uniform(key) < 2, change, never, *operands)

    return jax.lax.platform_dependent(*operands, cpu=branch, default=change)


def tone(x: jax.Array, keys: jax.Array, brightness: float, contrast: float) -> jax.Array:
    """Contrast times 1 ± ``contrast`` about the picture's mean, brightness plus ± ``brightness``; the
    result stays in 0…1."""
    if not brightness and not contrast:
        return x
    first, second = _split(keys, 2)
    factor = _uniform(first, 1 - contrast, 1 + contrast, (1, 1, 1))
    offset = _uniform(second, -brightness, brightness, (1, 1, 1))
    mean = jnp.mean(x, axis=(1, 2, 3), keepdims=True)
    return jnp.clip((x - mean) * factor + mean + offset, 0, 1)


def erase(x: jax.Array, keys: jax.Array, probability: float) -> jax.Array:
    """With ``probability``, one rectangle inside the picture is filled with the picture's mean (random
    erasing, Zhong et al. 2020, with torchvision's ranges: area 2 % to 33 %, aspect 0.3 to 3.3)."""
    whether, area, aspect, place = _split(keys, 4)
    share = _uniform(area, 0.02, 0.33)
    ratio = jnp.exp(_uniform(aspect, math.log(0.3), math.log(3.3)))
    sides = jnp.minimum(jnp.stack([jnp.sqrt(share / ratio), jnp.sqrt(share * ratio)], -1), 1.0)
    centre = 0.5 + (1 - sides) * _uniform(place, -0.5, 0.5, (2,))
    chosen = box(centre, sides, *x.shape[1:3]) & (_uniform(whether, 0, 1, (1, 1)) < probability)
    mean = jnp.mean(jnp.mean(x, axis=1, keepdims=True), axis=2, keepdims=True)
    return jnp.where(chosen[..., None], mean, x)


def box(centre: jax.Array, sides: jax.Array, height: int, width: int) -> jax.Array:
    """Masks (n, height, width) of rectangles with centres and sides (n, 2) as (y, x), in shares of the
    picture; what lies outside is cut off."""
    rows = jnp.abs((jnp.arange(height) + 0.5)[None] / height - centre[:, :1]) < sides[:, :1] / 2
    columns = jnp.abs((jnp.arange(width) + 0.5)[None] / width - centre[:, 1:]) < sides[:, 1:] / 2
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
    where both are on, a coin decides for the batch. Pictures (B, h, w, c) float32, targets (B, K); the
    targets mix by the share that is really there. ``mixup`` and ``cutmix``: a of Beta(a, a), 0 for off.
    """
    if not mixup and not cutmix:
        return images, targets
    coin, partner, share, side, place = jax.random.split(key, 5)
    n, height, width, _ = images.shape
    other = jax.random.permutation(partner, n)
    if mixup:
        blend = jax.random.beta(share, mixup, mixup, (n, 1, 1))
        weight = jnp.broadcast_to(blend, (n, height, width))
    if cutmix:
        sides = jnp.sqrt(1 - jax.random.beta(side, cutmix, cutmix, (n, 1)))
        centre = jax.random.uniform(place, (n, 2))
        kept = (~box(centre, jnp.concatenate([sides, sides], 1), height, width)).astype(images.dtype)
        weight = jnp.where(jax.random.bernoulli(coin), weight, kept) if mixup else kept
    own = jnp.mean(weight, axis=(1, 2))[:, None]
    weight = weight[..., None]
    mixed = weight * images + (1 - weight) * images[other]
    return mixed, own * targets + (1 - own) * targets[other]
