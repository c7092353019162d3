"""Pneumonia: where and how densely fluid replaces the air of a lung."""

from __future__ import annotations

import numpy as np

from tl_jax.data.phantom.thorax import Paths


def draw(
    rng: np.random.Generator, paths: Paths, anchor: tuple[int, float, float], extent: float
) -> np.ndarray:
    """Centimetres of lung that became fluid, (n, n) float32, never more than the lung itself.

    ``anchor``: side (0 the viewer's left) and where in that lung's outline (shares of its width and
    height) the disease sits; it stays with the patient while position and form change from film to film.
    ``extent`` scales its size: about 1 for an ordinary lobar pneumonia.
    """
    total = np.zeros_like(paths.lung)
    side, across, down = anchor
    places = [(side, across, down, extent)]
    for _ in range(rng.poisson(0.7)):  # further patches, smaller, in either lung
        places.append((int(rng.integers(2)), rng.random(), rng.random(), extent * rng.uniform(0.35, 0.8)))
    for lung_side, u, v, size in places:
        lung = paths.sides[lung_side]
        rows, cols = np.nonzero(lung > 1.5)
        if not len(rows):
            continue
        row = np.quantile(rows, 0.08 + 0.84 * v)
        span = cols[np.abs(rows - row) < 1.5]
        col = np.quantile(span, 0.08 + 0.84 * u) if len(span) else np.median(cols)
        x0, y0 = paths.x[int(row), int(col)], paths.y[int(row), int(col)]
        a, b = size * rng.uniform(1.6, 3.0), size * rng.uniform(1.6, 3.2)
        angle = rng.uniform(0, np.pi)
        dx, dy = paths.x - x0, paths.y - y0
        dx, dy = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
        wobble = _waves(rng, paths.x, paths.y, wavelength=2.2 * size + 0.8)
        radius = np.sqrt((dx / a) ** 2 + (dy / b) ** 2) + 0.28 * wobble
        edge = np.clip((radius - 0.9) / rng.uniform(0.10, 0.22), -60, 60)
        profile = 1 / (1 + np.exp(edge))
        patchy = 1 + 0.3 * _waves(rng, paths.x, paths.y, wavelength=1.8, terms=16)
        thick = min(a, b) * rng.uniform(1.4, 2.4)
        total += np.clip(patchy, 0, None) * profile * np.minimum(thick, lung)
    return np.minimum(total, 0.95 * paths.lung).astype(np.float32)


def _waves(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, wavelength: float, terms: int = 7
) -> np.ndarray:
    """A smooth random field of unit variance: a few plane waves of random direction and phase."""
    k = 2 * np.pi / (wavelength * rng.uniform(0.7, 1.6, terms))
    turn, phase = rng.uniform(0, 2 * np.pi, (2, terms))
    field = np.zeros_like(x)
    for i in range(terms):
        field += np.cos(k[i] * (np.cos(turn[i]) * x + np.sin(turn[i]) * y) + phase[i])
    return field * np.float32(np.sqrt(2 / terms))
