"""Who is radiographed: a `Patient` is anatomy, drawn once; a `Pose` is one exposure's positioning.

The ranges are choices that look like adults, not a survey; lengths and frame are the package's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Ellipsoid:
    """Centre and semi-axes in cm; ``angle`` turns it in the image plane, in radians."""

    x: float
    y: float
    z: float
    a: float
    b: float
    c: float
    angle: float = 0.0


@dataclass(frozen=True)
class Patient:
    """Anatomy of one person, drawn once."""

    stature: float
    width: float
    depth: float
    fat: float
    shoulder: float
    lungs: tuple[Ellipsoid, Ellipsoid]
    heart: Ellipsoid
    domes: tuple[float, float]
    dome_width: float
    mediastinum: float
    aorta: Ellipsoid
    aorta_x: float
    spine: float
    scoliosis: tuple[float, float]
    vertebra: float
    ribs: int
    rib_gap: float
    rib_slope: float
    rib_radius: float
    rib_jitter: np.ndarray
    bone: float
    cartilage: float
    clavicle: tuple[float, float]
    scapula: tuple[float, float]
    breasts: tuple[Ellipsoid, ...]
    bubble: Ellipsoid
    vessels: np.ndarray = field(repr=False)
    vessel_mass: np.ndarray = field(repr=False)
    mottle: float


@dataclass(frozen=True)
class Pose:
    """Positioning of one exposure: lengths in cm, angles in radians; ``breath`` 1 is full inspiration."""

    x: float
    y: float
    zoom: float
    roll: float
    yaw: float
    pitch: float
    breath: float
    arms: float


def draw_patient(rng: np.random.Generator) -> Patient:
    """One person's anatomy; the ranges are those of adults."""
    female = rng.random() < 0.5
    s = float(np.clip(rng.normal(0.97 if female else 1.04, 0.05), 0.85, 1.18))
    fat = float(np.clip(rng.gamma(3.0, 0.7), 0.3, 6.0))
    width, depth = s * rng.uniform(13.3, 15.2), s * rng.uniform(8.6, 11.0)
    tall = rng.uniform(0.9, 1.1)
    gap = rng.uniform(6.4, 7.2)
    right = Ellipsoid(
        -gap * s,
        rng.normal(-0.5, 0.4),
        0.0,
        s * rng.uniform(5.2, 6.2),
        s * tall * rng.uniform(11.6, 13.2),
        depth * 0.86,
        rng.normal(0.07, 0.03),
    )
    left = Ellipsoid(
        gap * s,
        right.y + rng.normal(0, 0.2),
        0.0,
        right.a * rng.uniform(0.92, 1.02),
        right.b * rng.uniform(0.97, 1.03),
        right.c,
        -rng.normal(0.07, 0.03),
    )
    size = rng.normal(1.0, 0.12)
    heart = Ellipsoid(
        rng.uniform(1.2, 2.8),
        rng.uniform(4.2, 6.0),
        depth * -0.25,
        s * size * 6.2,
        s * size * rng.uniform(4.4, 5.4),
        s * size * 4.8,
        rng.uniform(0.45, 0.95),
    )
    dome = rng.uniform(5.6, 8.6)
    vessels, mass = _vessels(rng, (right, left), s)
    breasts: tuple[Ellipsoid, ...] = ()
    if female or fat > 4:
        a, c = s * rng.uniform(4.2, 6.2), rng.uniform(0.8, 2.0) + (rng.uniform(0.3, 3.0) if female else 0.0)
        y, b = rng.uniform(3.5, 8.5), s * rng.uniform(4.0, 6.0)
        sag = rng.normal(0, 0.5)
        breasts = (
            Ellipsoid(-rng.uniform(6.5, 8.5), y + sag, -depth, a, b, c),
            Ellipsoid(rng.uniform(6.5, 8.5), y - sag, -depth, a, b * rng.uniform(0.9, 1.1), c),
        )
    return Patient(
        stature=s, width=width, depth=depth, fat=fat, shoulder=s * rng.uniform(3.0, 5.0),
        lungs=(right, left), heart=heart, domes=(dome, dome + rng.uniform(0.2, 2.0)),
        dome_width=s * rng.uniform(7.0, 8.5), mediastinum=s * rng.uniform(2.3, 3.4),
        aorta=Ellipsoid(rng.uniform(2.0, 3.2), rng.uniform(-6.5, -4.5), 1.0, 1.7, 1.8, rng.uniform(2, 4)),
        aorta_x=rng.uniform(1.4, 2.6), spine=s * rng.uniform(1.5, 2.0),
        scoliosis=(rng.normal(0, 0.5), rng.uniform(0, 2 * np.pi)), vertebra=s * rng.uniform(2.2, 2.8),
        ribs=10, rib_gap=s * tall * rng.uniform(2.15, 2.45), rib_slope=rng.uniform(0.28, 0.55),
        rib_radius=s * rng.uniform(0.45, 0.65), rib_jitter=rng.normal(0, 0.12, (20, 2)),
        bone=rng.uniform(0.7, 1.25), cartilage=rng.uniform(0.35, 0.6),
        clavicle=(rng.uniform(-13.2, -11.4), rng.uniform(0.05, 0.3)),
        scapula=(s * rng.uniform(10.0, 13.0), rng.uniform(-0.1, 0.3)), breasts=breasts,
        bubble=Ellipsoid(rng.uniform(4.0, 7.5), dome + rng.uniform(1.8, 3.5), -3.0, rng.uniform(0.5, 3.5),
                         rng.uniform(0.3, 1.4), rng.uniform(0.5, 3.0)),
        vessels=vessels, vessel_mass=mass, mottle=rng.uniform(0.02, 0.06),
    )  # fmt: skip


def draw_pose(rng: np.random.Generator) -> Pose:
    """One exposure's positioning."""
    return Pose(
        x=rng.normal(0, 0.8), y=rng.normal(0.3, 0.9), zoom=rng.uniform(0.9, 1.1), roll=rng.normal(0, 0.045),
        yaw=rng.normal(0, 0.07), pitch=rng.normal(0, 0.09), breath=float(np.clip(rng.beta(3, 1.6), 0.15, 1)),
        arms=rng.normal(0, 1.0),
    )  # fmt: skip


def _vessels(
    rng: np.random.Generator, lungs: tuple[Ellipsoid, Ellipsoid], s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Points (m, 3) along branching vessels from both hila, and the blood in cm³ at each."""
    points, mass = [], []
    for side, lung in zip((-1, 1), lungs, strict=True):
        count = int(rng.integers(9, 14))
        start = np.tile([side * 3.2 * s, -0.3, 0.0], (count, 1)) + rng.normal(0, 0.5, (count, 3))
        aim = np.linspace(-1.45, 1.35, count) + rng.normal(0, 0.12, count)
        heading = np.stack([side * np.cos(aim), np.sin(aim), rng.normal(0, 0.45, count)], 1)
        radius = rng.uniform(0.28, 0.5, count) * s
        for _ in range(5):
            length = rng.uniform(1.6, 3.0, len(radius))[:, None]
            t = np.linspace(0, 1, 12)[:, None, None]
            bow = rng.normal(0, 0.25, start.shape) * (t * (1 - t))
            points.append((start + t * length * heading + bow).reshape(-1, 3))
            mass.append(np.tile(np.pi * radius**2 * length[:, 0] / 12, 12))
            start = np.repeat(start + length * heading, 2, 0)
            heading = np.repeat(heading, 2, 0) + rng.normal(0, 0.42, start.shape)
            heading /= np.linalg.norm(heading, axis=1, keepdims=True)
            radius = np.repeat(radius, 2) * rng.uniform(0.6, 0.85, len(start))
            keep = (radius > 0.06) & (
                ((start[:, 0] - lung.x) / lung.a) ** 2 + ((start[:, 1] - lung.y) / lung.b) ** 2 < 0.95
            )
            start, heading, radius = start[keep], heading[keep], radius[keep]
        hilum = np.array([side * 3.4 * s, 0.0, 0.0]) + rng.normal(0, [0.5, 1.1, 0.5], (60, 3))
        points.append(hilum)
        mass.append(np.full(60, rng.uniform(0.08, 0.2)))
    return np.concatenate(points).astype(np.float32), np.concatenate(mass).astype(np.float32)
