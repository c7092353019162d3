"""How stored examples become what the network reads: pictures, or texts.

Each kind is a small value with the same three functions, so that steps, prefixes and predictions need not
know which it is: ``network(stored)`` as evaluation sees examples; ``shown(stored, target, key, mix_key)`` as
a training step sees them; ``view(stored, keys)``, each augmented by a key of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from tl_jax.backbones.anatomy import Spec
from tl_jax.data import augment


@dataclass(frozen=True)
class Pictures:
    """Stored as uint8 (B, h, w, c). ``size`` in pixels; ``channels`` what the network takes; ``mean`` and
    ``std`` for values in 0…1; ``augment`` as the config has it."""

    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def inference(self) -> tuple[Any, ...]:
        """What `network` depends on, as a key."""
        return self.size, self.channels, self.mean, self.std

    def network(self, stored: jax.Array) -> jax.Array:
        """Pictures (B, size, size, c) uint8 → normalised float32 (B, size, size, channels)."""
        return self._normalised(stored.astype(jnp.float32) / 255)

    def shown(
        self, stored: jax.Array, target: jax.Array, key: jax.Array, mix_key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Training pictures (B, h, w, c) uint8 on their canvas, augmented, normalised and mixed, (B, size,
        size, channels) float32; and their targets (B, K), mixed likewise."""
        images = self._normalised(augment.augment(stored, key, self.augment, size=self.size))
        mixup, cutmix = self.augment["mixup"], self.augment["cutmix"]
        return augment.mix(images, target, mix_key, mixup=mixup, cutmix=cutmix)

    def view(self, stored: jax.Array, keys: jax.Array) -> jax.Array:
        """Training pictures as in `shown`, each augmented as its key (B,) says, and not mixed."""
        return self._normalised(augment.augment_each(stored, keys, keys[0], self.augment, size=self.size))

    def _normalised(self, images: jax.Array) -> jax.Array:
        return augment.normalise(images, self.mean, self.std, self.channels)


def pictures_of(spec: Spec, size: int, moved: Mapping[str, Any] | None = None) -> Pictures:
    """As a network of this ``spec`` reads them, of ``size`` pixels; ``moved``: the config's ``augment``."""
    preprocess = spec.preprocess
    return Pictures(size, spec.channels, preprocess.mean, preprocess.std, moved or {})


@dataclass(frozen=True)
class Texts:
    """Stored as tokens (B, n) int32, padded at the end with -1, and read as they are. ``longest``: tokens of
    the longest text that is kept whole."""

    longest: int

    @property
    def inference(self) -> tuple[Any, ...]:
        """What `network` depends on, as a key."""
        return ("texts",)

    def network(self, stored: jax.Array) -> jax.Array:
        """The tokens."""
        return stored

    def shown(
        self, stored: jax.Array, target: jax.Array, key: jax.Array, mix_key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The tokens and the targets: texts are not augmented."""
        return stored, target

    def view(self, stored: jax.Array, keys: jax.Array) -> jax.Array:
        """The tokens."""
        return stored
