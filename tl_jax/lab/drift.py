"""How far training has moved each part of a network: its weights, and what it makes of the same pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.backbones.anatomy import part_of, split
from tl_jax.finished import open_run
from tl_jax.job import prepare
from tl_jax.lab import layers, pictures
from tl_jax.lab.summary import Summary
from tl_jax.report.table import Column, Table


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


def told(parts: Sequence[Part]) -> Summary:
    """The drift for people."""
    columns = [Column("part"), Column("distance", "weights moved"), Column("cka", "CKA of features")]
    rows = [[one.name, one.distance, one.cka] for one in parts]
    made_anew = [one.name for one in parts if one.distance is None]
    notes = [f"made anew, so that there is nothing to compare: {', '.join(made_anew)}"] if made_anew else []
    return Summary(
        name="drift",
        title="Which layers has training moved?",
        verdict=verdict(parts),
        tables=[Table(columns, rows, notes=notes)],
        draw=partial(_draw, parts),
    )


def verdict(parts: Sequence[Part]) -> str:
    """Which parts did not move, and which moved most."""
    still = [one.name for one in parts if one.distance == 0]
    moved = [one for one in parts if one.distance]
    text = f"Not moved, to the bit: {', '.join(still) or 'none'}."
    if moved:
        most = max(moved, key=lambda one: one.distance or 0)
        text += f" Moved most: {most.name}, by {most.distance:.2%} of its length"
        known = [one for one in parts if one.cka is not None and np.isfinite(one.cka)]
        if known:
            changed = min(known, key=lambda one: one.cka or 0)
            text += f"; features changed most after {changed.name}, CKA {changed.cka:.4f}"
        text += "."
    return text


def _draw(parts: Sequence[Part], path: Path) -> None:
    names = [one.name.removeprefix("blocks/") for one in parts]
    at = range(len(parts))
    with pictures.figure(path, rows=2) as (above, below):
        above.bar(at, [one.distance or 0 for one in parts], color=pictures.PALE)
        above.set_ylabel("weights moved")
        below.plot(at, [np.nan if one.cka is None else one.cka for one in parts], "o-", color=pictures.DARK)
        below.set_ylabel("CKA, before and after")
        below.set_xticks(at, names)
