"""A TFDS data set of a few pictures, encoded as TFDS wants them where there is no TensorFlow."""

from __future__ import annotations

import io

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

NAMES = ("normal", "pneumonia")


def pixels(split: str, i: int) -> np.ndarray:
    """uint8 (8, 9)."""
    return np.random.default_rng([len(split), i]).integers(0, 256, (8, 9), dtype=np.uint8)


def png(image: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    file.seek(0)
    return file


class TinyXray(tfds.core.GeneratorBasedBuilder):
    """Gray pictures of two classes, two a patient."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(None, None, 1)),
            "raw": tfds.features.Tensor(shape=(8, 9), dtype=np.float32),
            "label": tfds.features.ClassLabel(names=NAMES),
            "number": np.int64,
            "patient": tfds.features.Text(),
            "file_name": tfds.features.Text(),
            "sex": tfds.features.ClassLabel(names=["f", "m"]),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, manager: object) -> dict:
        sizes = {"train": 12, "validation": 4, "test": 5, "unlabelled": 3, "extra": 2}
        renamed = {"unlabelled": "testing"}
        return {renamed.get(name, name): self._generate_examples(name, n) for name, n in sizes.items()}

    def _generate_examples(self, split: str, n: int):
        for i in range(n):
            yield (
                i,
                {
                    "image": png(pixels(split, i)),
                    "raw": pixels(split, i).astype(np.float32) / 255,
                    "label": -1 if split == "unlabelled" else i % 2,
                    "number": i % 3,
                    "patient": f"{split}-p{i // 2}",
                    "file_name": f"{split}_p{i // 2}_{i}.png",
                    "sex": i % 2,
                },
            )
