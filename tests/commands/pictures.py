"""A folder of colour photographs, large enough for a JPEG to be decoded at half its size, and a config."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests import tiny

ARCH = {**tiny.ARCH, "embedding_size": 8, "hidden_sizes": [8, 16], "num_channels": 3}


def make(root: Path, *, train: int = 40, val: int = 24, test: int = 24) -> Path:
    """root/split/class/pN-K.jpg|png: noise in colour; class "sick" has a bright disc. Two pictures a
    patient. JPEGs of 160 × 144 pixels and PNGs of 64."""
    rng = np.random.default_rng(1)
    patient = 0
    for split, n in (("train", train), ("val", val), ("test", test)):
        for i in range(n):
            patient += i % 2 == 0
            label = ("healthy", "sick")[patient % 2]
            side = (160, 144) if i % 2 else (64, 64)
            y, x = np.mgrid[: side[1], : side[0]] / side[0]
            picture = rng.normal((90, 100, 110), 25, (*y.shape, 3))
            if label == "sick":
                cy, cx = rng.uniform(0.3, 0.7, 2)
                picture += 90 * (np.hypot(y - cy, x - cx) < 0.2)[:, :, None]
            file = root / split / label / f"p{patient}-{i % 2}.{'jpg' if i % 2 else 'png'}"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(file)
    return root


def config(root: Path, **changes: Any) -> dict[str, Any]:
    """Two short stages at 32 pixels; training pictures are kept on a larger canvas."""
    settings = tiny.config(root, batch_size=16, **changes)
    settings["data"] |= dict(image_size=32, group=r"p\d+")
    settings["model"] = dict(arch=ARCH)
    settings["evaluation"] = dict(bootstrap=50, batch_size=16, positive="sick")
    return settings


def write_config(file: Path, settings: dict[str, Any]) -> Path:
    """The config as a file for ``--config``."""
    file.write_text(f"def get_config(arg=''):\n    return {settings!r}\n")
    return file


def write_manifest(file: Path, root: Path, split: str, *, only: str = "") -> Path:
    """A manifest of one split with site, sex and age; ``only`` one class."""
    with open(file, "w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["path", "label", "patient", "site", "sex", "age"])
        for i, path in enumerate(sorted((root / split).rglob("p*"))):
            if path.parent.name == only or not only:
                patient = path.name.partition("-")[0]
                facts = ["north" if i % 3 else "south", "fm"[int(patient[1:]) % 4 > 1], 20 + i]
                writer.writerow([path.relative_to(root), path.parent.name, patient, *facts])
    return file


def read_csv(file: Path) -> list[dict[str, str]]:
    with open(file, newline="") as opened:
        return list(csv.DictReader(opened))
