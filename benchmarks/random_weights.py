"""Writes a ViT-Tiny with random weights: ``python -m benchmarks.random_weights FOLDER``."""

from __future__ import annotations

import sys

from benchmarks.models import MODELS
from tl_jax import pretrained

if __name__ == "__main__":
    model, _ = pretrained.scratch(MODELS["vit-tiny"].arch, num_classes=2, image_size=224)
    pretrained.export(model, sys.argv[1], classes=("NORMAL", "PNEUMONIA"))
