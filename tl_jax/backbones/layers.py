"""Small pieces that several families use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
from flax import nnx

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_new": partial(jax.nn.gelu, approximate=True),
    "gelu_pytorch_tanh": partial(jax.nn.gelu, approximate=True),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "tanh": jax.numpy.tanh,
}
"""``hidden_act`` of a Hugging Face config. Mind that "gelu" is the exact one, with erf."""


def activation(name: str) -> Callable[[jax.Array], jax.Array]:
    if name not in ACTIVATIONS:
        raise ValueError(f"hidden_act={name!r} is not known; known: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def label_count(config: Mapping[str, Any]) -> int:
    """Outputs of the classifier that a config describes (Hugging Face's default: 2)."""
    return len(config["id2label"]) if config.get("id2label") else int(config.get("num_labels") or 2)


def split_key(key: jax.Array | None, n: int) -> tuple[Any, ...]:
    """n keys, or n times None in inference mode."""
    return (None,) * n if key is None else tuple(jax.random.split(key, n))


def batch_norm(features: int, rngs: nnx.Rngs) -> nnx.BatchNorm:
    """BatchNorm with torch's constants: its momentum 0.1 is our 0.9. Running variances are the biased
    ones, where torch stores n/(n-1) times that."""
    return nnx.BatchNorm(features, momentum=0.9, epsilon=1e-5, rngs=rngs)
