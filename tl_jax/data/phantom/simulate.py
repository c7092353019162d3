"""Radiographs of one simulated patient, as a pure function of (seed, patient number)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tl_jax.data.phantom import consolidation, physics, thorax
from tl_jax.data.phantom.patient import Patient, draw_patient, draw_pose

NORMAL, PNEUMONIA = 0, 1


@dataclass(frozen=True)
class Radiograph:
    """One picture, uint8 (n, n); ``fluid`` (n, n) float32 is the consolidation that each pixel's ray crosses,
    in cm, and ``severity`` the share of the lungs' air that it replaced."""

    image: np.ndarray
    fluid: np.ndarray = field(repr=False)
    label: int
    severity: float
    portable: bool
    number: int


def images_of(seed: int, patient: int, size: int) -> Iterator[Radiograph]:
    """All radiographs of one patient: a label, an anatomy, one to four exposures."""
    rng = np.random.default_rng([seed, patient])
    anatomy = draw_patient(rng)
    label = int(rng.random() < 0.5)
    count = int(rng.integers(1, 5))
    anchor = (int(rng.integers(2)), float(rng.random()), float(rng.beta(1.5, 1.0)))
    extent = float(np.exp(rng.normal(0.45, 0.3)))
    density = rng.uniform(0.55, 1.0)
    for number in range(count):
        rng = film_stream(seed, patient, number)
        portable = bool(rng.random() < 0.4)
        paths = thorax.project(anatomy, draw_pose(rng), size)
        fluid = np.zeros_like(paths.lung)
        if label == PNEUMONIA:
            grown = extent * rng.uniform(0.75, 1.25)
            fluid = density * consolidation.draw(rng, paths, anchor, grown)
        severity = float(fluid.sum() / max(paths.lung.sum(), 1e-6))
        yield Radiograph(
            picture(paths, fluid, anatomy, physics.draw_exposure(rng, portable), rng),
            fluid, label, severity, portable, number,
        )  # fmt: skip


def film_stream(seed: int, patient: int, number: int) -> np.random.Generator:
    """The random numbers of one film. Counted from 1: to NumPy's seeding a missing last number is a zero,
    and the stream that made the patient must not come back in the first film."""
    return np.random.default_rng([seed, patient, 1 + number])


def picture(
    paths: thorax.Paths, fluid: np.ndarray, anatomy: Patient, shot: physics.Exposure, rng: np.random.Generator
) -> np.ndarray:
    """Exposes and develops one radiograph, uint8 (n, n)."""
    pixel = thorax.FIELD / len(fluid)
    grain = physics.blur(rng.standard_normal(fluid.shape, np.float32), 0.6 / pixel)
    mottle = 1 + 3 * anatomy.mottle * grain
    # Fluid replaces air, and hides the vessels that run through it: the silhouette sign.
    hidden = 1 - fluid / np.maximum(paths.lung, 1e-3)
    soft = np.maximum(paths.soft - paths.air, 0) + fluid + paths.vessels * hidden
    air = np.maximum(paths.lung - fluid, 0) * mottle
    line = physics.attenuation(soft, paths.bone, air)
    return physics.develop(physics.expose(line, shot, rng, pixel), shot, pixel)
