"""An analytic thorax: how many centimetres of each tissue every ray crosses.

Every organ is a quadric or a tube, so a path length is a formula, not a voxel sum. Organs that displace
each other (heart, diaphragm and lung) are intersected as intervals along the ray.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tl_jax.data.phantom.patient import Ellipsoid, Patient, Pose

Ray = tuple[np.ndarray, np.ndarray]
"""Where the rays enter and leave an organ, in cm along z; equal where they miss it."""


@dataclass(frozen=True)
class Paths:
    """Path lengths in cm, (n, n) float32; ``lung`` is what the diaphragm and the heart leave of it.

    ``soft`` is soft tissue including what fills the lungs' outline beside lung, ``air`` what is missing
    from it (trachea, stomach bubble), ``vessels`` blood within the lungs. ``sides`` are the two lungs
    alone and ``x``, ``y`` the grid in the patient's own frame.
    """

    soft: np.ndarray
    bone: np.ndarray
    lung: np.ndarray
    air: np.ndarray
    vessels: np.ndarray
    sides: tuple[np.ndarray, np.ndarray]
    x: np.ndarray
    y: np.ndarray


FIELD = 33.0
"""Side of the detector's field in cm, at zoom 1."""


def project(patient: Patient, pose: Pose, n: int) -> Paths:
    """Path lengths of parallel rays through the patient on an n × n detector."""
    p, s = patient, patient.stature
    x, y = _grid(pose, n)
    sink = 2.6 * (1 - pose.breath) * s  # a shallow breath lifts the diaphragm and widens the heart

    torso = _torso(p, pose, x, y)
    lungs, kept = [], []
    heart = _span(p.heart, pose, x, y, grow=1 + 0.07 * (1 - pose.breath), lift=0.35 * sink)
    for side, lung in enumerate(p.lungs):
        whole = _span(lung, pose, x, y)
        top = p.domes[side] - sink
        dome = Ellipsoid(lung.x * 0.98, top + 9.0, 0.0, p.dome_width, 9.0, p.depth * 1.25)
        below = _span(dome, pose, x, y)
        spread = np.hypot(1.0, (x - lung.x) / 30)
        inside = np.where(y > top + 9.0 * spread, 0, _length(whole))
        left = np.maximum(inside - _overlap(whole, below) - _overlap(whole, heart), 0)
        middle = p.mediastinum * (0.8 + 0.35 * _ramp((y + 8) / 14)) + 0.5
        edge = _ramp((np.abs(x - 0.3) - middle) / 0.5 + 0.5)
        lungs.append(_length(whole))
        kept.append((left * edge).astype(np.float32))
    lung = kept[0] + kept[1]

    trachea_x = 0.1 * (y + 11)
    trachea = 1.7 * np.sqrt(np.maximum(0, 1 - ((x - trachea_x) / 0.85) ** 2)) * _ramp((-4.0 - y) / 1.5)
    bubble = _length(_span(p.bubble, pose, x, y, lift=sink))
    soft = torso + _length(_span(p.aorta, pose, x, y)) * 0.6
    column = np.maximum(0, 1 - ((x - p.aorta_x) / 1.4) ** 2) * _ramp((y + 6) / 2)
    soft = soft + 1.2 * np.sqrt(column) - lung
    for breast in p.breasts:
        hang = breast.y + 0.25 * breast.b
        curve = np.where(y > hang, 1.45, 0.75)  # flat above, a sharp fold below
        soft = soft + _length(_span(breast, pose, x, hang + (y - hang) * curve)) * 0.5
    return Paths(
        soft=soft.astype(np.float32), bone=_bone(p, pose, x, y), lung=lung,
        air=(trachea + 0.8 * bubble).astype(np.float32),
        vessels=_splat(p, pose, n) * _ramp(lung / 2.0), sides=(kept[0], kept[1]), x=x, y=y,
    )  # fmt: skip


def _grid(pose: Pose, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Detector pixels in the patient's frame, (n, n) float32 each."""
    u = (np.arange(n, dtype=np.float32) + 0.5) / n * FIELD - FIELD / 2
    u = u / pose.zoom
    cos, sin = np.cos(pose.roll), np.sin(pose.roll)
    x = cos * u[None, :] + sin * u[:, None] - pose.x
    y = -sin * u[None, :] + cos * u[:, None] - pose.y
    return x.astype(np.float32), y.astype(np.float32)


def _span(
    e: Ellipsoid, pose: Pose, x: np.ndarray, y: np.ndarray, *, grow: float = 1.0, lift: float = 0.0
) -> Ray:
    """Entry and exit of the rays; turning the patient a little shifts an organ by its depth."""
    dx, dy = x - (e.x + e.z * pose.yaw), y - (e.y - lift + e.z * pose.pitch)
    if e.angle:
        cos, sin = np.cos(e.angle), np.sin(e.angle)
        dx, dy = cos * dx + sin * dy, cos * dy - sin * dx
    half = e.c * grow * np.sqrt(np.maximum(0, 1 - (dx / (e.a * grow)) ** 2 - (dy / (e.b * grow)) ** 2))
    return e.z - half, e.z + half


def _length(ray: Ray) -> np.ndarray:
    return ray[1] - ray[0]


def _overlap(one: Ray, other: Ray) -> np.ndarray:
    return np.maximum(0, np.minimum(one[1], other[1]) - np.maximum(one[0], other[0]))


def _ramp(t: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def _torso(p: Patient, pose: Pose, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The trunk with its fat, narrowing to the neck, and the arms beside it."""
    shoulder = _ramp((y + 17.5 + 0.08 * np.abs(x)) / 4.0)
    half = (4.2 + p.fat * 0.3) * (1 - shoulder) + (
        p.width + 0.8 * p.fat + p.shoulder * _ramp(-(y + 6) / 9)
    ) * shoulder
    deep = 2 * (p.depth * (0.62 + 0.38 * shoulder) + 0.7 * p.fat)
    trunk = deep * np.sqrt(np.maximum(0, 1 - np.abs(x / half) ** 2.5))
    lean = p.width + 0.8 * p.fat + 3.6 + pose.arms + 0.12 * (y + 8)
    arm = 7.5 * np.sqrt(np.maximum(0, 1 - ((np.abs(x) - lean) / 3.6) ** 2)) * _ramp((y + 14) / 3)
    return trunk + arm


def _bone(p: Patient, pose: Pose, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Ribs, spine, clavicles and shoulder blades in cm of compact bone."""
    total = np.zeros_like(x)
    # Ribs are tubes around an ellipse that slopes down to the front; the back half is the higher one.
    for k in range(p.ribs):
        top = -12.6 * p.stature + p.rib_gap * k
        reach = p.width * (0.50 + 0.47 * np.sqrt(min(1.0, (k + 0.35) / 5.0)))
        across = np.clip(np.abs(x) / reach, 0, 0.995)
        bow = np.sqrt(1 - across**2)
        for front in (0, 1):
            if front and k > 7:
                continue
            z = (1 if not front else -1) * p.depth * 0.92 * bow
            shift, tilt = p.rib_jitter[2 * k + front]
            slope = p.rib_slope * (1 + 0.05 * k)
            centre = top + 2.6 - slope * z - 0.22 * (1 - bow) + shift + tilt * np.sign(x) + z * pose.pitch
            steep = slope * p.depth * across / np.maximum(bow, 0.12) / reach
            beside = np.abs(y - centre) / np.sqrt(1 + steep**2)
            depth_slope = p.depth * across / np.maximum(bow, 0.12) / reach
            oblique = np.minimum(np.sqrt(1 + depth_slope**2), 3.0)
            radius = p.rib_radius * (0.9 if front else 1.0)
            tube = np.sqrt(np.maximum(0, 1 - (beside / radius) ** 2)) - 0.62 * np.sqrt(
                np.maximum(0, 1 - (beside / (0.72 * radius)) ** 2)
            )
            seen = _ramp((reach + 0.3 - np.abs(x)) / 0.6) * (
                _ramp((across - p.cartilage) / 0.12) if front else 1.0
            )
            total += 2 * radius * tube * oblique * seen * (0.75 if front else 1.0)
    bend = p.scoliosis[0] * np.sin(y / 7 + p.scoliosis[1]) + 6.0 * pose.yaw
    body = np.maximum(0, 1 - ((x - bend) / p.spine) ** 2)
    disc = 0.72 + 0.28 * np.tanh(2.5 * np.sin(2 * np.pi * y / p.vertebra))
    total += 1.5 * np.sqrt(body) * disc
    total += 1.1 * np.exp(-(((x - bend) / 0.35) ** 2)) * (np.sin(2 * np.pi * y / p.vertebra + 1.0) > 0.55)
    level, rise = p.clavicle
    along = np.clip((np.abs(x) - 1.3) / 11.5, 0, 1)
    line = level * p.stature - rise * 11 * along + 1.1 * np.sin(along * 2.9) - 0.7 * pose.pitch * 10
    inside = _ramp((np.abs(x) - 1.2) / 0.5) * _ramp((14.0 - np.abs(x)) / 0.5)
    total += (
        1.15 * np.sqrt(np.maximum(0, 1 - ((y - line) / (0.55 + 0.25 * np.abs(along - 0.5))) ** 2)) * inside
    )
    where, slant = p.scapula
    edge = np.abs(x) - (where + 0.9 * pose.arms + slant * (y + 4) * 0.4)
    blade = (
        _ramp(edge / 0.4) * _ramp((6.5 - edge) / 4) * _ramp((y + 13) / 3) * _ramp((4 - 0.9 * edge - y) / 2)
    )
    total += (0.28 + 0.5 * np.exp(-((edge / 0.35) ** 2))) * blade
    return (total * p.bone).astype(np.float32)


def _splat(p: Patient, pose: Pose, n: int) -> np.ndarray:
    """The vessels' blood in cm along each ray: points spread over their four nearest pixels."""
    cos, sin = np.cos(pose.roll), np.sin(pose.roll)
    px = p.vessels[:, 0] + p.vessels[:, 2] * pose.yaw + pose.x
    py = p.vessels[:, 1] + p.vessels[:, 2] * pose.pitch + pose.y
    scale = pose.zoom * n / FIELD
    col = (cos * px - sin * py) * scale + n / 2 - 0.5
    row = (sin * px + cos * py) * scale + n / 2 - 0.5
    i, j = np.floor(row).astype(int), np.floor(col).astype(int)
    ok = (i >= 0) & (j >= 0) & (i < n - 1) & (j < n - 1)
    i, j, fi, fj, mass = i[ok], j[ok], (row - np.floor(row))[ok], (col - np.floor(col))[ok], p.vessel_mass[ok]
    flat = np.concatenate([i * n + j, i * n + j + 1, (i + 1) * n + j, (i + 1) * n + j + 1])
    weight = np.concatenate([(1 - fi) * (1 - fj), (1 - fi) * fj, fi * (1 - fj), fi * fj]) * np.tile(mass, 4)
    area = (FIELD / n / pose.zoom) ** 2
    return (np.bincount(flat, weight, n * n).reshape(n, n) / area).astype(np.float32)
