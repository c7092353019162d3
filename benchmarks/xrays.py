"""A folder of simulated chest radiographs, for benchmarks that were given no pictures.

They are simulated small, which takes a minute less, and enlarged to the size that files usually have.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tl_jax.data.phantom import simulate

COUNTS = {"train": 600, "val": 120, "test": 240}
GROUP = r"patient\d+"
SIMULATED, SIZE = 96, 256


def write(root: Path) -> Path:
    """``root``/split/class/patientN-K.jpeg, gray, 256 pixels; no patient is in two splits."""
    patient = 0
    for split, count in COUNTS.items():
        written = 0
        while written < count:
            for shot in simulate.images_of(0, patient, SIMULATED):
                if written == count:
                    break
                folder = root / split / ("NORMAL", "PNEUMONIA")[shot.label]
                folder.mkdir(parents=True, exist_ok=True)
                name = f"patient{patient:04d}-{shot.number}.jpeg"
                picture = Image.fromarray(shot.image).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
                picture.save(folder / name, quality=85)
                written += 1
            patient += 1
    return root
