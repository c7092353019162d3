"""Pictures that lie in TFDS records: encoded bytes or arrays → uint8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tl_jax.data.decode import read_image
from tl_jax.data.table import BadImageError


@dataclass(frozen=True)
class Records:
    """Reads picture i: feature ``image`` of record n of ``sources[split]``, where (split, n) = ``places[i]``.

    ``version`` is what the stamp says besides the place: it changes when the data set is prepared anew.
    """

    sources: Mapping[str, Sequence[Any]]
    places: tuple[tuple[str, int], ...]
    names: tuple[str, ...]
    image: str
    max_pixels: int
    version: str

    def read(self, i: int, at_least: tuple[int, int] | None = None) -> np.ndarray:
        """uint8 (h, w, 1|3); see `Table`. Raises `BadImageError`."""
        split, n = self.places[i]
        try:
            value = self.sources[split][n][self.image]
        except Exception as error:  # a damaged record file can make the reader raise almost anything
            raise BadImageError(f"{self.names[i]}: its record cannot be read, {error}") from error
        if isinstance(value, bytes):
            return read_image(value, max_pixels=self.max_pixels, at_least=at_least, name=self.names[i])
        return to_picture(np.asarray(value), self.max_pixels, self.names[i])

    def stamp(self, i: int) -> str:
        split, n = self.places[i]
        return f"{self.version}/{split}/{n}"


def to_picture(array: np.ndarray, max_pixels: int, name: str) -> np.ndarray:
    """An array (h, w) or (h, w, 1|3|4) as uint8 (h, w, 1|3).

    uint8 is taken as it is, uint16 from its full range, bool as black and white, other integers where they
    lie in 0…255, floating point from 0…1. A fourth channel is transparency, on black.

    Raises:
      BadImageError: another shape, another range, or more than ``max_pixels``.
    """
    array = array[:, :, None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise BadImageError(f"{name}: shape {array.shape} is no picture; (h, w) or (h, w, 1|3|4) is")
    height, width, channels = array.shape
    if height * width > max_pixels:
        raise BadImageError(
            f"{name}: {width} × {height} = {width * height:,} pixels are more than "
            f"data.max_pixels={max_pixels:,}"
        )
    kind = array.dtype
    top = 1 if kind.kind in "bf" else 65535 if kind == np.uint16 else 255
    if not (array.min() >= 0 and array.max() <= top):
        raise BadImageError(
            f"{name}: {kind} values {array.min():g}…{array.max():g} have no known range; 0…{top} is expected"
        )
    if kind != np.uint8:
        array = np.floor(array.astype(np.float64) * (255 / top) + 0.5).astype(np.uint8)
    if channels == 4:
        black = Image.new("RGBA", (width, height), (0, 0, 0, 255))
        array = np.asarray(Image.alpha_composite(black, Image.fromarray(array)))[:, :, :3]
    return array
