"""Photographs inside a page: uint8 arrays as data, with a heat map laid over where there is one."""

from __future__ import annotations

import base64
import io

import numpy as np

SMALL = 128
"""Pixels below which a side is kept without loss: JPEG's blocks would show."""

_HEAT = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float32)
"""The "inferno" map at 0, ¼, ½, ¾ and 1: its lightness rises evenly, so it reads in gray too."""


def data(image: np.ndarray) -> str:
    """A ``data:`` address of a picture (h, w, c) uint8, c 1 or 3."""
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    small, file = min(image.shape[:2]) < SMALL, io.BytesIO()
    if small:
        picture.save(file, "PNG", compress_level=6)
    else:
        picture.save(file, "JPEG", quality=85)
    text = base64.b64encode(file.getvalue()).decode()
    return f"data:image/{'png' if small else 'jpeg'};base64,{text}"


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A picture (h, w, c) uint8 under its heat map (h, w) 0…1: (h, w, 3) uint8, c 1 or 3. Where the map is 0
    the picture is as it was, in gray."""
    gray = image.astype(np.float32).mean(axis=-1, keepdims=True)
    at = np.clip(heat, 0, 1) * (len(_HEAT) - 1)
    below = np.minimum(at.astype(int), len(_HEAT) - 2)
    rest = (at - below)[..., None]
    colour = _HEAT[below] * (1 - rest) + _HEAT[below + 1] * rest
    share = 0.6 * np.sqrt(np.clip(heat, 0, 1))[..., None]
    return (gray * (1 - share) + colour * share).round().astype(np.uint8)
