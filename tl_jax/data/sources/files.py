"""Pictures that lie in files: which are read, how, and what identifies their content."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
DICOM = frozenset({".dcm", ".dicom"})
SUFFIXES = PICTURES | DICOM
"""Lower-case endings of the files that are taken for pictures; capitals do not matter."""


@dataclass(frozen=True)
class Files:
    """Reads picture i of ``paths``. Holds no open file, so it can be used by threads and be pickled.

    ``names`` (n,) are what messages call the pictures. DICOM goes through `dicom_pixels`, everything else
    through Pillow.
    """

    paths: tuple[str, ...]
    names: tuple[str, ...]
    max_pixels: int
    window: tuple[float, ...] = ()
    dicom: bool = False  # every file is DICOM, whatever it is called

    def read(self, i: int, at_least: tuple[int, int] | None = None) -> np.ndarray:
        """uint8 (h, w, 1|3); see `Table`. Raises `BadImageError`."""
        if self._is_dicom(i):
            from tl_jax.data.sources.dicom_pixels import read_dicom

            return read_dicom(
                self.paths[i], max_pixels=self.max_pixels, window=self.window, name=self.names[i]
            )
        from tl_jax.data.decode import read_image

        return read_image(self.paths[i], max_pixels=self.max_pixels, at_least=at_least, name=self.names[i])

    def stamp(self, i: int) -> str:
        """Bytes and modification time in ns of the file, and the window that DICOM is seen through."""
        try:
            stat = os.stat(self.paths[i])
        except OSError:
            return "absent"
        window = "-".join(f"{value:g}" for value in self.window) if self._is_dicom(i) else ""
        return f"{stat.st_size}-{stat.st_mtime_ns}" + (f"-{window}" if window else "")

    def _is_dicom(self, i: int) -> bool:
        return self.dicom or PurePath(self.paths[i]).suffix.lower() in DICOM
