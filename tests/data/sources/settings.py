"""config.data with its defaults, and pictures to read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from tl_jax import defaults


def config(root: Path | str = "", **changes) -> ConfigDict:
    settings = ConfigDict(defaults.data())
    settings.root = str(root)
    for key, value in changes.items():
        if isinstance(value, dict):
            settings[key].update(value)
        else:
            with settings.ignore_type():
                settings[key] = value
    return settings


def picture(path: Path, seed: int = 0, shape: tuple[int, ...] = (6, 5), **options) -> Path:
    """Saves a random picture, making the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def pictures(root: Path, *paths: str) -> Path:
    for seed, path in enumerate(paths):
        picture(root / path, seed)
    return root
