"""How far training has moved each part of a network: its weights, and what it makes of the same pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.backbones.anatomy import split
from tl_jax.finished import open_run
from tl_jax.freeze import part_of
from tl_jax.job import prepare
from tl_jax.lab import layers, pictures
from tl_jax.text_table import aligned
from tl_jax.workdir import write_json, write_text


@dataclass(frozen=True)
class Part:
    """``distance``: ‖after - before‖ / ‖before‖ of its weights, 0 where no bit differs, None for a head that
    was made anew; ``cka``: of its features before and after, None for a head."""

    name: str
    distance: float | None
    cka: float | None


def linear_cka(one: ArrayLike, other: ArrayLike) -> float:
    """Likeness of features (n, c) and (n, d) of the same pictures, 0 to 1; rotations and scale do not count.

    Source: Kornblith et al., "Similarity of Neural Network Representations Revisited" (ICML 2019), eq. 4 for
    linear kernels: ‖XᵀY‖² / (‖XᵀX‖ ‖YᵀY‖) of centred features. NaN where one does not vary.
    """
    x, y = (np.asarray(values, np.float64) for values in (one, other))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    lengths = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(x.T @ y) ** 2 / lengths) if lengths > 0 else float("nan")


def distances(before: Mapping[str, ArrayLike], after: Mapping[str, ArrayLike]) -> dict[str, float]:
    """Part → relative distance of its leaves, for leaves by path."""
    sums: dict[str, list[float]] = {}
    for path, leaf in before.items():
        old, new = np.asarray(leaf, np.float64), np.asarray(after[path], np.float64)
        moved, length = sums.setdefault(part_of(path), [0.0, 0.0])
        sums[part_of(path)] = [moved + float(((new - old) ** 2).sum()), length + float((old**2).sum())]
    return {part: float(np.sqrt(moved / length)) if length else 0.0 for part, (moved, length) in sums.items()}


def of(workdir: str | Path) -> list[Part]:
    """Every part of a finished run's network, from stem to head, on its test pictures. The weights before are
    those that its config names, which must still be there."""
    run = open_run(workdir)
    job = prepare(run.config, say=lambda line: None)
    _, params, _ = split(run.model)
    moved = distances(job.base_params, params)
    (before,) = layers.of_pictures(job, [job.data.test])
    (after,) = layers.of_pictures(job, [job.data.test], run.model)
    fresh = not any(path.startswith("head/") for path in job.pretrained_paths)
    parts = [Part(name, moved.get(name, 0.0), linear_cka(before[name], after[name])) for name in before]
    return [*parts, Part("head", None if fresh else moved["head"], None)]


def write(root: Path, parts: Sequence[Part]) -> str:
    """Writes drift.txt, drift.json and drift.png into ``root``; the text."""
    rows = [["part", "weights moved", "CKA of features"]]
    rows += [[one.name, _cell(one.distance, "made anew"), _cell(one.cka, "–")] for one in parts]
    text = "\n".join([*aligned(rows, left=1), "", verdict(parts)])
    write_text(root / "drift.txt", text + "\n")
    plain = [{"part": one.name, "distance": one.distance, "cka": _finite(one.cka)} for one in parts]
    write_json(root / "drift.json", {"parts": plain, "verdict": verdict(parts)})
    _draw(parts, root / "drift.png")
    return text


def verdict(parts: Sequence[Part]) -> str:
    """Which parts did not move, and which moved most."""
    still = [one.name for one in parts if one.distance == 0]
    moved = [one for one in parts if one.distance]
    told = f"Not moved, to the bit: {', '.join(still) or 'none'}."
    if not moved:
        return told
    most = max(moved, key=lambda one: one.distance or 0)
    changed = min((one for one in parts if _finite(one.cka) is not None), key=lambda one: one.cka or 0)
    return (
        f"{told} Moved most: {most.name}, by {most.distance:.2%} of its length; features changed most after "
        f"{changed.name}, CKA {changed.cka:.4f}."
    )


def _draw(parts: Sequence[Part], path: Path) -> None:
    names = [one.name.removeprefix("blocks/") for one in parts]
    at = range(len(parts))
    with pictures.figure(path, rows=2) as (above, below):
        above.bar(at, [one.distance or 0 for one in parts], color=pictures.PALE)
        above.set_ylabel("weights moved")
        below.plot(at, [np.nan if one.cka is None else one.cka for one in parts], "o-", color=pictures.DARK)
        below.set_ylabel("CKA, before and after")
        below.set_xticks(at, names)


def _cell(value: float | None, missing: str) -> str:
    return missing if _finite(value) is None else f"{value:.4f}"


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
