"""Measures with their 95 % intervals, whatever is measured: one function of weights, resampled by group."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tl_jax.evaluation import remarks
from tl_jax.evaluation.bootstrap import Resampling, percentiles, reflected
from tl_jax.evaluation.metrics import Floats

Entry = dict[str, Any]
"""``value``, ``low``, ``high``: numbers or None; ``why`` if one is None; ``undefined_replicates`` if any;
``note`` where a number needs a word of warning."""

Path = tuple[str] | tuple[int, str]
"""A measure: (name,), or (class, name)."""

Statistics = Callable[[Floats], tuple[Mapping[str, Floats], Mapping[str, Floats]]]
"""Weights (n, R) → (overall: name → (R,), per class: name → (K, R))."""

MOST_UNDEFINED = 0.5
"""An interval needs at least this share of the replicates to be defined."""


def measured(
    statistics: Statistics, groups: NDArray, settings: Any
) -> tuple[dict[Path, Entry], Resampling, str]:
    """An entry for each measure of the sample, how it was resampled, and the sentence that says so.

    ``groups`` (n,); ``settings`` has ``bootstrap`` (replicates; 0 = no intervals) and ``seed``. A value that
    is undefined has as yet no ``why`` of its own.
    """
    resampling = Resampling(groups, replicates=settings.bootstrap, seed=settings.seed)
    paths, point = _flat(*statistics(np.ones((len(groups), 1))))
    missing = _no_interval(resampling)
    chunks = () if missing else [_flat(*statistics(weights))[1] for weights in resampling]
    replicates = np.concatenate(chunks) if chunks else None
    how = (
        missing
        or f"95 % percentile bootstrap, {resampling.replicates} resamples of {resampling.groups} groups"
    )
    return _entries(paths, point[0], replicates, missing), resampling, how


def nested(entries: Mapping[Path, Entry], names: tuple[Hashable, ...]) -> dict[str, Any]:
    """Overall entries by their names, and ``per_class``: class name → measure → entry."""
    return {
        **{path[0]: entry for path, entry in entries.items() if len(path) == 1},
        "per_class": {
            name: {path[1]: entry for path, entry in entries.items() if path[0] == c and len(path) == 2}
            for c, name in enumerate(names)
        },
    }


def _flat(overall: Mapping[str, Floats], per_class: Mapping[str, Floats]) -> tuple[list[Path], Floats]:
    """Paths of all measures, and their values (R, measures)."""
    paths: list[Path] = [(name,) for name in overall]
    columns = list(overall.values())
    for name, values in per_class.items():
        paths += [(c, name) for c in range(len(values))]
        columns += list(values)
    return paths, np.stack(columns, axis=1)


def _no_interval(resampling: Resampling) -> str:
    """Why there can be no interval, or ""."""
    if resampling.replicates < 1:
        return "no interval: evaluation.bootstrap is 0"
    if resampling.groups < 2:
        return f"no interval: groups to resample: {resampling.groups}, and there must be at least two"
    return ""


def _entries(paths: list[Path], point: Floats, replicates: Floats | None, missing: str) -> dict[Path, Entry]:
    """Values with their intervals."""
    entries: dict[Path, Entry] = {
        path: {"value": float(value) if value == value else None, "low": None, "high": None}
        for path, value in zip(paths, point, strict=True)
    }
    if replicates is None:
        for entry in entries.values():
            entry["why"] = missing
        return entries
    low, high, undefined = percentiles(replicates)
    noisy = np.array([remarks.base(path[-1]) == "ece" for path in paths])
    low[noisy], high[noisy] = reflected(low[noisy], high[noisy], point[noisy])
    for column, entry in enumerate(entries.values()):
        if entry["value"] is None:
            continue
        if undefined[column]:
            entry["undefined_replicates"] = int(undefined[column])
        if undefined[column] > MOST_UNDEFINED * len(replicates):
            entry["why"] = f"no interval: undefined in {undefined[column]} of {len(replicates)} resamples"
        else:
            entry["low"], entry["high"] = float(low[column]), float(high[column])
    return entries
