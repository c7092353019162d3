"""How training went, stage by stage: loss, validation and learning rates against steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tl_jax.evaluation.table import TITLES, several
from tl_jax.report.colours import INK, LINE, MUTED, colours
from tl_jax.report.evidence import Evidence
from tl_jax.report.picture import Picture, panel

POINTS = 200
"""A curve of more points is thinned: each that is left is the mean of its neighbours."""

_RATED = ("accuracy", "balanced_accuracy", "auroc")
_OF_NUMBERS = ("r2", "rmse", "mae")
_DOTS: dict[str, Any] = dict(marker="o", markersize=3, clip_on=False)


def pictures(evidence: Evidence) -> list[Picture]:
    """Of whatever the history holds: at least one step and one measurement."""
    trained = [line for line in evidence.history if line.get("loss") is not None]
    measured = [line for line in evidence.history if any(name.startswith("val/") for name in line)]
    found = []
    if trained:
        found.append(_loss(evidence, trained, measured))
    if len(measured) > 1:
        found.append(_validation(evidence, measured))
    if trained:
        found.append(_rates(evidence, trained))
    return found


def _loss(evidence: Evidence, trained: Sequence[Any], measured: Sequence[Any]) -> Picture:
    name = "nll" if any("val/nll" in line for line in measured) else evidence.metric
    called = TITLES.get(name, several(name))
    values = [line[f"val/{name}"] for line in measured if line.get(f"val/{name}") is not None]
    best = max if evidence.task.better.get(name) else min
    last = f"; validation {called} ends at {values[-1]:.3f}, its best is {best(values):.3f}" if values else ""
    picture = Picture(
        "loss",
        "Loss",
        f"Line chart of the loss against steps. Training loss goes from {trained[0]['loss']:.3f} to "
        f"{trained[-1]['loss']:.3f}{last}.",
        "Training loss is that of the step itself, with augmented pictures and smoothed or weighted labels "
        f"where the config asks for them. So it need not meet the validation {called}.",
    )
    dark, mark = colours(2)
    with panel(picture) as axes:
        axes.plot(*_thinned(trained, "loss"), color=dark, label="training")
        axes.plot(*_points(measured, f"val/{name}"), color=mark, label=f"validation {called}", **_DOTS)
        _finish(axes, evidence)
    return picture


def _validation(evidence: Evidence, measured: Sequence[Any]) -> Picture:
    best = evidence.result["best"]["step"]
    how = "Uncalibrated, at 0.5. " if evidence.task.kind == "classification" else ""
    picture = Picture(
        "validation",
        "Validation",
        f"Line chart of validation measures against steps; the weights of step {best} were chosen.",
        f"{how}The dashed line marks step {best:,}, whose weights were chosen by "
        f"{TITLES.get(evidence.metric, evidence.metric)}.",
    )
    with panel(picture) as axes:
        rated = [name for name in (*_RATED, *_OF_NUMBERS) if name in evidence.task.better]
        for name, colour in zip(rated, colours(len(rated)), strict=True):
            if any(line.get(f"val/{name}") is not None for line in measured):
                steps, values = _points(measured, f"val/{name}")
                label = name.replace("_", " ") if name == "accuracy" else several(name)
                axes.plot(steps, values, color=colour, label=label, **_DOTS)
        axes.axvline(best, color=INK, linewidth=1, linestyle="--")
        _finish(axes, evidence)
    return picture


def _rates(evidence: Evidence, trained: Sequence[Any]) -> Picture:
    names = list(dict.fromkeys(name for line in trained for name in line if name.startswith("lr/")))
    # A plan's rows go from the stem up, and one that trains more has more of them.
    rows = [
        str(row[0]) for table in sorted(evidence.plan, key=lambda one: -len(one.rows)) for row in table.rows
    ]
    depth = {f"lr/{name}": place for place, name in reversed([*enumerate(rows)])}
    names.sort(key=lambda name: depth.get(name, len(depth)))
    picture = Picture(
        "rates",
        "Learning rates",
        f"Line chart of the learning rates of {len(names)} groups of weights against steps.",
        "One line a group of weights, the deeper the paler; names and rates: the plan above.",
    )
    with panel(picture) as axes:
        for number, name in enumerate(reversed(names)):
            alpha = 1 - 0.8 * number / max(len(names) - 1, 1)
            label = name.removeprefix("lr/") if number in (0, len(names) - 1) else None
            for stage in evidence.result["stages"]:
                # A rate of 0 has no place on this scale.
                lines = [line for line in trained if line.get(name) and line["stage"] == stage["name"]]
                if lines:
                    axes.plot(*_thinned(lines, name), color=colours(1)[0], alpha=alpha, label=label)
                    label = None
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.minorticks_off()
        _finish(axes, evidence)
    return picture


def _finish(axes: Any, evidence: Evidence) -> None:
    """Stages as bands with their names, and what all panels have."""
    from matplotlib.ticker import MaxNLocator

    start, top = 0, axes.get_xaxis_transform()
    for number, stage in enumerate(evidence.result["stages"]):
        if number % 2:
            axes.axvspan(start, stage["end"], color=LINE, alpha=0.45, linewidth=0, zorder=0)
        if stage["end"] > start:
            middle = (start + stage["end"]) / 2
            axes.text(middle, 1.02, stage["name"], ha="center", fontsize=8, color=MUTED, transform=top)
        start = stage["end"]
    axes.set_xlim(0, max(start, 1))
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def _points(lines: Sequence[Any], name: str) -> tuple[np.ndarray, np.ndarray]:
    there = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
    steps, values = np.array(there, np.float64).reshape(-1, 2).T
    return steps, values


def _thinned(lines: Sequence[Any], name: str) -> tuple[np.ndarray, np.ndarray]:
    steps, values = _points(lines, name)
    if len(steps) <= POINTS:
        return steps, values
    pieces = zip(np.array_split(steps, POINTS), np.array_split(values, POINTS), strict=True)
    return tuple(np.array([[a.mean(), b.mean()] for a, b in pieces]).T)
