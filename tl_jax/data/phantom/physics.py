"""From path lengths to a picture: attenuation, scatter, quantum noise, and what the console does to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SOFT, BONE, LUNG = 0.195, 0.42, 0.052
"""Attenuation per cm at about 60 keV (NIST XCOM: water 0.206, cortical bone of density 1.9 about 0.6;
ribs are part marrow); inflated lung has about a quarter of water's density."""


@dataclass(frozen=True)
class Exposure:
    """One shot. ``photons`` a pixel in the open beam, ``scatter`` to primary ratio, ``blur`` of the
    detector in cm; ``gamma``, ``low``, ``high`` and ``sharpen`` are the console's display curve."""

    photons: float
    scatter: float
    blur: float
    gamma: float
    low: float
    high: float
    sharpen: float
    tilt: tuple[float, float]


def draw_exposure(rng: np.random.Generator, portable: bool) -> Exposure:
    """Settings of one shot; portable machines have no grid: more scatter, fewer photons."""
    return Exposure(
        photons=float(np.exp(rng.uniform(*((8.6, 10.2) if portable else (9.6, 11.2))))),
        scatter=rng.uniform(0.5, 1.3) if portable else rng.uniform(0.15, 0.6),
        blur=rng.uniform(0.12, 0.42), gamma=float(np.exp(rng.normal(-0.05, 0.2))),
        low=rng.uniform(0.2, 3.0), high=rng.uniform(96.0, 99.9), sharpen=max(0.0, rng.normal(0.35, 0.35)),
        tilt=(rng.normal(0, 0.05), rng.normal(0, 0.05)),
    )  # fmt: skip


def attenuation(soft: np.ndarray, bone: np.ndarray, lung: np.ndarray) -> np.ndarray:
    """The line integral of Beer–Lambert's law from centimetres of each tissue."""
    return SOFT * soft + BONE * bone + LUNG * lung


def expose(line: np.ndarray, shot: Exposure, rng: np.random.Generator, pixel: float) -> np.ndarray:
    """What the detector counts, as -log of the share of the open beam; (n, n), ``pixel`` in cm.

    Primary photons follow Beer–Lambert, I = I₀ exp(-∫μ dz); scattered ones are a wide blur of the
    primary; both arrive as a Poisson process, here by its normal limit.
    """
    primary = blur(np.exp(-line), shot.blur / pixel)
    scattered = shot.scatter * (0.7 * blur(primary, 3.5 / pixel) + 0.3 * float(primary.mean()))
    mean = np.maximum(primary + scattered, 1e-5) * shot.photons
    counts = mean + np.sqrt(mean) * rng.standard_normal(mean.shape, np.float32)
    return -np.log(np.maximum(counts, 1.0) / shot.photons)


def develop(density: np.ndarray, shot: Exposure, pixel: float) -> np.ndarray:
    """The picture, uint8 (n, n), dense tissue bright: window by percentiles, unsharp mask, gamma."""
    n = len(density)
    ramp = np.linspace(-1, 1, n, dtype=np.float32)
    density = density + shot.tilt[0] * ramp[None, :] + shot.tilt[1] * ramp[:, None]
    if shot.sharpen:
        density = density + shot.sharpen * (density - blur(density, 1.0 / pixel))
    low, high = np.percentile(density[n // 8 : -n // 8 : 2, n // 6 : -n // 6 : 2], [shot.low, shot.high])
    value = np.clip((density - low) / max(high - low, 1e-3), 0, 1) ** shot.gamma
    return np.round(255 * value).astype(np.uint8)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur with ``sigma`` in pixels: a product with a band matrix along each axis, edges
    renormalised."""
    n = len(image)
    at = np.arange(n)
    band = np.exp(-((at[:, None] - at[None, :]) ** 2) / (2 * max(sigma, 0.2) ** 2)).astype(np.float32)
    band /= band.sum(1, keepdims=True)
    return _product(band, _product(image.astype(np.float32), band.T))


def _product(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Matrix product in strips: large ones wake BLAS's threads, which cost more than they save here."""
    strip = max(1, 200_000 // len(one) ** 2)
    return np.concatenate([one[i : i + strip] @ other for i in range(0, len(one), strip)])
