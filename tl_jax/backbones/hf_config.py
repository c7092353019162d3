"""Reading a Hugging Face ``config.json``, as far as several families need the same of it."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.backbones.anatomy import Preprocess


def gelu(x: jax.Array) -> jax.Array:
    """x·Φ(x) by the error function (Hendrycks and Gimpel 2016, arXiv:1606.08415), at least in float32.

    Errors are up to 1e-6, as in torch. `jax.nn.gelu` goes by the complementary error function, nearer in
    the left tail, and takes a CPU more than twice as long.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return (0.5 * wide * (1 + jax.lax.erf(wide * np.asarray(0.5**0.5, wide.dtype)))).astype(x.dtype)


def _gelu_tanh(x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=True)


def _gelu_10(x: jax.Array) -> jax.Array:
    return jnp.clip(gelu(x), -10, 10)


def _quick_gelu(x: jax.Array) -> jax.Array:
    return x * jax.nn.sigmoid(1.702 * x)


def _linear(x: jax.Array) -> jax.Array:
    return x


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": gelu,
    "gelu_10": _gelu_10,
    "gelu_accurate": _gelu_tanh,
    "gelu_fast": _gelu_tanh,
    "gelu_new": _gelu_tanh,
    "gelu_python": gelu,
    "gelu_pytorch_tanh": _gelu_tanh,
    "hardswish": jax.nn.hard_swish,
    "leaky_relu": jax.nn.leaky_relu,
    "linear": _linear,
    "mish": jax.nn.mish,
    "quick_gelu": _quick_gelu,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "tanh": jnp.tanh,
}
"""What ``hidden_act`` may say. "gelu" is the exact one, by the error function."""


def normal(scale: float) -> jax.nn.initializers.Initializer:
    """What ``initializer_range`` asks for: a normal distribution of this standard deviation, cut off at two
    of them."""
    return jax.nn.initializers.truncated_normal(scale)


class ConfigError(ValueError):
    """A ``config.json`` that describes no network; the message lists every problem."""

    def __init__(self, family: str, problems: Sequence[str]):
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"this {family} config cannot be built:\n{lines}")


def complete(config: Mapping[str, Any], defaults: Mapping[str, Any], **overrides: Any) -> dict[str, Any]:
    """The config with the family's defaults where it says nothing, and overrides that are not None."""
    given = {name: value for name, value in config.items() if value is not None or name not in defaults}
    chosen = {name: value for name, value in overrides.items() if value is not None}
    return {**defaults, **given, **chosen}


def outputs(config: Mapping[str, Any]) -> int:
    """Number of classes: labels named, else ``num_labels``, else 2 as transformers has it."""
    labels = config.get("id2label") or {}
    return len(labels) or int(config.get("num_labels") or 2)


def pair(value: Any) -> tuple[int, int]:
    """(height, width) of a number or of two."""
    if isinstance(value, int):
        return value, value
    height, width = value
    return int(height), int(width)


def problems(config: Mapping[str, Any], defaults: Mapping[str, Any], *, act: str = "hidden_act") -> list[str]:
    """What is wrong with a completed config in ways that every family shares. ``act`` is the key of its
    activation."""
    found = []
    for name, default in defaults.items():
        value = config[name]
        if isinstance(default, bool | str):
            if not isinstance(value, type(default)):
                found.append(f"{name}={value!r} must be a {type(default).__name__}")
        elif isinstance(default, tuple):
            if not _all_positive(value):
                found.append(f"{name}={value!r} must be a sequence of positive integers")
        elif name.endswith(("_size", "_sizes")) and isinstance(value, list | tuple):
            if len(value) != 2 or not _all_positive(value):
                found.append(f"{name}={value!r} must be one or two positive integers")
        elif isinstance(default, int):
            if not _is_positive(value):
                found.append(f"{name}={value!r} must be a positive integer")
        elif isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            found.append(f"{name}={value!r} must be a number ≥ 0")
    chosen = config[act]
    if isinstance(chosen, str) and chosen not in ACTIVATIONS:
        near = difflib.get_close_matches(chosen, ACTIVATIONS, n=1, cutoff=0.0)[0]
        found.append(f"{act}={chosen!r} is unknown; the nearest of {len(ACTIVATIONS)} is {near!r}")
    return found


def _is_positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _all_positive(values: Any) -> bool:
    return isinstance(values, list | tuple) and len(values) > 0 and all(map(_is_positive, values))


def adapted(preprocess: Preprocess, *, channels: int, image_size: int | None) -> Preprocess:
    """Preprocessing for another picture size, or for one channel (the mean over the colours)."""
    mean, std = preprocess.mean, preprocess.std
    if channels == 1 and len(mean) > 1:
        mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
    size = (image_size, image_size) if image_size else preprocess.size
    return dataclasses.replace(preprocess, size=size, mean=mean, std=std)
