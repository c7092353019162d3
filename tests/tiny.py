"""A job that takes seconds: a folder of small pictures with a visible difference, and a small ResNet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ARCH = dict(
    model_type="resnet",
    layer_type="basic",
    embedding_size=4,
    hidden_sizes=[4, 8],
    depths=[1, 1],
    num_channels=1,
)
VIT = dict(
    model_type="vit",
    hidden_size=16,
    num_hidden_layers=4,
    num_attention_heads=2,
    intermediate_size=32,
    image_size=32,
    patch_size=8,
    num_channels=1,
)


def make_folder(root: Path, *, train: int = 24, val: int = 12, test: int = 12, seed: int = 0) -> Path:
    """root/split/class/pN-K.png: 40-pixel gray pictures of noise, with a bright disc in class "b".
    Two pictures a patient."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :40]
    patient = 0
    for split, n in (("train", train), ("val", val), ("test", test)):
        for i in range(n):
            patient += i % 2 == 0
            label = "ab"[patient % 2]
            picture = rng.normal(90, 25, (40, 40))
            if label == "b":
                cy, cx = rng.uniform(12, 28, 2)
                picture += 70 * (np.hypot(y - cy, x - cx) < 7)
            file = root / split / label / f"p{patient}-{i % 2}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(file)
    return root


def config(root: Path, **changes: Any) -> dict[str, Any]:
    """A config of two stages on such a folder."""
    return {
        "batch_size": 8,
        "log_every": "1 steps",
        "data": dict(source="folder", root=str(root), group=r"p\d+", image_size=32, min_val=2, cache=""),
        "model": dict(arch=ARCH, dropout=0.1),
        "augment": dict(rotate=5.0, brightness=0.1),
        "evaluation": dict(bootstrap=50, batch_size=16),
        "mesh": dict(data=1),
        "report": dict(enabled=False),  # it takes as long as the rest
        "stages": [
            dict(name="head", duration="2 epochs", train="head", lr=1e-2),
            dict(name="all", duration="3 epochs", train="all", lr=3e-3, layer_decay=0.8, weight_decay=0.01),
        ],
        **changes,
    }
