"""``data.shift``: another distribution made from the same pictures, in all splits alike.

Pictures are corrupted when they have been decoded and resized, and are kept so; labels move when the splits
are cut. So neither changes which pictures are in a split, nor what is a copy of what. They are a shift of the
input and one of the output, as in Lee et al., "Surgical Fine-Tuning Improves Adaptation to Distribution
Shifts" (2022).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.data import corruptions
from tl_jax.data.sources.errors import SourceError, some


@dataclass(frozen=True)
class Shift:
    """What the keys of `tl_jax.defaults.shift` say; by default nothing is shifted."""

    corruption: str = ""
    severity: int = 3
    labels: str = ""
    seed: int = 0

    @classmethod
    def of(cls, settings: Any) -> Shift:
        """From ``config.data.shift``. Raises SourceError for a corruption that there is not."""
        shift = cls(settings.corruption, settings.severity, settings.labels, settings.seed)
        try:
            corruptions.check(shift.names, shift.severity)
        except ValueError as error:
            raise SourceError(f"data.shift: {error}") from None
        return shift

    @property
    def names(self) -> tuple[str, ...]:
        """Of the corruptions, in their order."""
        return tuple(self.corruption.split("+")) if self.corruption else ()

    @property
    def of_pictures(self) -> tuple[Any, ...]:
        """All that decides what becomes of a picture, for keys; empty where nothing does."""
        return (corruptions.VERSION, self.names, self.severity, self.seed) if self.names else ()

    @property
    def facts(self) -> tuple[Any, ...]:
        """All that decides what becomes of a data set, for its fingerprint; empty where nothing does."""
        return (*self.of_pictures, *([self.labels] if self.labels else ()))

    @property
    def words(self) -> list[str]:
        """It in a few words that may be part of a file's name; none where nothing is shifted."""
        corrupted = [f"{self.corruption}-{self.severity}"] if self.names else []
        return [*corrupted, *([f"labels-{self.labels}"] if self.labels else [])]

    def corrupted(self, picture: np.ndarray, name: str) -> np.ndarray:
        """A picture (h, w, c) uint8 as it is kept; what is random is a function of the seed and ``name``, its
        id. One at a time, so that no bit depends on what else is read. From any thread."""
        if not self.names:
            return picture
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        own = np.frombuffer(digest, "<u4")
        return np.asarray(_corrupted(picture, own, np.int32(self.seed), self.names, self.severity))

    def renamed(self, labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
        """Labels (n,) str as they are called."""
        if not self.labels:
            return labels
        called = self._called(classes)
        return np.array([called[label] for label in labels.tolist()], dtype=str)

    def lines(self, classes: Sequence[str]) -> list[str]:
        """What is to be told beside every number."""
        told = []
        if self.names:
            told.append(f"pictures are corrupted: {self.corruption}, severity {self.severity}")
        if self.labels:
            moved = [f"what is {old} is called {new}" for old, new in self._called(classes).items()]
            told.append(f"labels are shifted: {some(moved, 4)}")
        return told

    def _called(self, classes: Sequence[str]) -> dict[str, str]:
        """A cycle, and not the reversal of Lee et al., in which the middle of three classes would stay; two
        classes change places in both."""
        return {label: classes[(i + 1) % len(classes)] for i, label in enumerate(classes)}


@partial(jax.jit, static_argnames=("names", "severity"))
def _corrupted(
    picture: jax.Array, own: jax.Array, seed: jax.Array, names: tuple[str, ...], severity: int
) -> jax.Array:
    key = jax.random.key(seed, impl="threefry2x32")
    for word in own:
        key = jax.random.fold_in(key, word)
    image = corruptions.several(picture.astype(jnp.float32) / 255, names, severity, key)
    return jnp.round(image * 255).astype(jnp.uint8)
