"""What does a linear model on the pixels find? The floor under every number on `chest_phantom`.

    python -m experiments.pixel_baseline

Ridge regression of the label on standardised pixels, fitted on the training split at several resolutions
and strengths; the pair with the best validation AUROC is measured once on the test split.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from tl_jax.data.phantom import simulate
from tl_jax.evaluation.ranking import auroc

CELLS = (4, 8, 16)
"""Sides in pixels of the squares that are averaged."""
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Ridge penalties, in units of the mean eigenvalue of the Gram matrix."""
Part = tuple[np.ndarray, np.ndarray]


def pictures(seed: int, numbers: tuple[int, int], size: int) -> Part:
    """All radiographs of some patients: uint8 (n, size, size) and labels (n,)."""
    shots = [shot for patient in range(*numbers) for shot in simulate.images_of(seed, patient, size)]
    return np.stack([shot.image for shot in shots]), np.array([shot.label for shot in shots])


def measure(train: Part, val: Part, test: Part) -> tuple[float, int, float]:
    """Test AUROC of the model that validation prefers, with its cell and strength."""
    found = []
    for cell in CELLS:
        x, mean, scale = _features(train[0], cell)
        gram = x @ x.T
        target = train[1] - train[1].mean()
        unit = np.trace(gram) / len(gram)
        for strength in STRENGTHS:
            weights = x.T @ np.linalg.solve(gram + strength * unit * np.eye(len(gram)), target)
            scores = [(_pooled(part[0], cell) - mean) / scale @ weights for part in (val, test)]
            on_val, on_test = (
                float(auroc(s, part[1] == 1)) for s, part in zip(scores, (val, test), strict=True)
            )
            found.append((on_val, on_test, cell, strength))
    _, on_test, cell, strength = max(found)
    return on_test, cell, strength


def _pooled(images: np.ndarray, cell: int) -> np.ndarray:
    n, side = len(images), images.shape[1] // cell
    return images.reshape(n, side, cell, side, cell).mean((2, 4)).reshape(n, -1) / 255


def _features(images: np.ndarray, cell: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = _pooled(images, cell)
    mean, scale = x.mean(0), x.std(0) + 1e-6
    return (x - mean) / scale, mean, scale


def main(argv: Sequence[str]) -> int:
    from tl_jax.data.chest_phantom import PATIENTS, SEED, SIZE

    if len(argv) > 1:
        raise SystemExit(f"takes no arguments, found {' '.join(argv[1:])}")
    train, val, test = (pictures(SEED, PATIENTS[name], SIZE) for name in ("train", "validation", "test"))
    found, cell, strength = measure(train, val, test)
    print(f"linear model on pixels, {len(train[0])} labelled pictures: test AUROC {found:.3f}")
    print(
        f"  (squares of {cell} pixels, ridge {strength:g}, both chosen on {len(val[0])} validation pictures)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
