"""`chest_phantom`: simulated chest radiographs as a TFDS data set, so that the main job runs anywhere.

These are not patients. Anatomy, disease and X-ray machine are programs (see `tl_jax.data.phantom`), and a
number measured here says that the code works, nothing about medicine.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from tl_jax.data.phantom import simulate

SIZE = 96
"""Side of a radiograph in pixels."""
SEED = 0
PATIENTS = {"train": (0, 400), "validation": (400, 520), "test": (520, 760)}
"""Patient numbers of each split; a patient has one to four films."""


def films(ids: Iterable[str]) -> list[simulate.Radiograph]:
    """The radiographs of these ids, drawn once more: a stored one does not say where its consolidation is.

    Raises ValueError for ids that are not of this data set, naming the first few.
    """
    names = list(ids)
    found = [re.fullmatch(r"patient(\d+)-\d+", name) for name in names]
    drawn = {
        _name(patient, shot.number): shot
        for patient in sorted({int(one[1]) for one in found if one})
        for shot in simulate.images_of(SEED, patient, SIZE)
    }
    if strange := [name for name in names if name not in drawn]:
        raise ValueError(f"{len(strange)} pictures are not of chest_phantom: {', '.join(strange[:3])}")
    return [drawn[name] for name in names]


def _name(patient: int, number: int) -> str:
    return f"patient{patient:04d}-{number}"


class ChestPhantom(tfds.core.GeneratorBasedBuilder):
    """Simulated chest radiographs, normal or with pneumonia."""

    CAVEAT = "these radiographs are SIMULATED: no patients; the numbers only show that the program works"

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES: ClassVar = {
        "1.0.0": "760 simulated patients.",
        "1.1.0": "A patient's first film no longer repeats the random numbers of the anatomy.",
    }

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Chest radiographs simulated by projecting an analytic thorax; not patients.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(SIZE, SIZE, 1), dtype=np.uint8, encoding_format="png"
                    ),
                    "label": tfds.features.ClassLabel(names=["normal", "pneumonia"]),
                    "patient": tfds.features.Text(),
                    "id": tfds.features.Text(),
                    "severity": np.float32,
                    "machine": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # nothing is downloaded
        return {name: self._generate_examples(*numbers) for name, numbers in PATIENTS.items()}

    def _generate_examples(self, first: int, end: int) -> Iterator[tuple[str, dict[str, Any]]]:
        for patient in range(first, end):
            for shot in simulate.images_of(SEED, patient, SIZE):
                file = io.BytesIO()
                Image.fromarray(shot.image).save(file, "PNG")
                file.seek(0)
                name = _name(patient, shot.number)
                yield (
                    name,
                    {
                        "image": file,
                        "label": shot.label,
                        "patient": f"patient{patient:04d}",
                        "id": name,
                        "severity": shot.severity,
                        "machine": "portable" if shot.portable else "fixed",
                    },
                )
