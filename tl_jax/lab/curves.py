"""Learning curves of finished runs, against steps and against the seconds that training took."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.evaluation.metrics import Floats
from tl_jax.workdir import Workdir


@dataclass(frozen=True)
class Curve:
    """What validation measured: ``values`` (n,) after ``steps`` (n,) and ``seconds`` (n,) of training, NaN
    where a value is undefined. Measuring itself, compiling and saving take none of those seconds."""

    steps: Floats
    seconds: Floats
    values: Floats


def read(run: Path, metric: str) -> Curve:
    """That of a run's folder. Raises ValueError where the run did not measure ``metric``, or not the time."""
    lines = [json.loads(line) for line in Workdir(run).metrics.read_text(encoding="utf-8").splitlines()]
    measured = [line for line in lines if f"val/{metric}" in line]
    if not measured or "seconds" not in measured[0]:
        raise ValueError(f"{run} has no learning curve of {metric} against time: run it anew elsewhere")
    columns = zip(*((one["step"], one["seconds"], one[f"val/{metric}"]) for one in measured), strict=True)
    return Curve(*(np.array(column, np.float64) for column in columns))


def reached(at: ArrayLike, values: ArrayLike, target: float, *, rises: bool) -> float:
    """Where a curve of ``values`` (n,) measured ``at`` (n,) first comes to ``target``, by straight lines
    between measurements; NaN where it never does. Before the first one nothing is known: a curve that begins
    beyond the target has reached it there."""
    x, y = np.asarray(at, np.float64), np.asarray(values, np.float64) * (1 if rises else -1)
    goal = target if rises else -target
    beyond = np.flatnonzero(y >= goal)
    if not len(beyond):
        return float("nan")
    i = int(beyond[0])
    if i == 0 or np.isnan(y[i - 1]):
        return float(x[i])
    return float(x[i - 1] + (x[i] - x[i - 1]) * (goal - y[i - 1]) / (y[i] - y[i - 1]))


def best(values: ArrayLike, *, rises: bool) -> float:
    """The best of a curve, NaN where none of it is defined."""
    y = np.asarray(values, np.float64)
    y = y[~np.isnan(y)]
    return float("nan") if not len(y) else float(y.max() if rises else y.min())
