"""The picture of a transfer experiment: what is measured against the labels, and learning curves below."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tl_jax.lab import pictures
from tl_jax.lab.arms import ARMS
from tl_jax.lab.compare import display_name

if TYPE_CHECKING:
    from tl_jax.lab.transfer import Transfer


def draw(found: Transfer, path: Path) -> None:
    """Writes the picture as PNG. Learning curves, means over the seeds with the lowest and highest around
    them, are against steps on the left and against seconds of training on the right."""
    colours = dict(zip(ARMS, pictures.colours(len(ARMS)), strict=True))
    rows = [[f"steps {fraction:g}", f"seconds {fraction:g}"] for fraction in found.fractions]
    with pictures.panels(path, [["labels", "labels"], *rows], [3.4, *(2.2 for _ in rows)]) as panels:
        _against_labels(found, panels["labels"], colours)
        for fraction in found.fractions:
            for by in ("steps", "seconds"):
                _learning(found, panels[f"{by} {fraction:g}"], colours, fraction, by)
        last = found.fractions[-1]
        panels[f"steps {last:g}"].set_xlabel("steps")
        panels[f"seconds {last:g}"].set_xlabel("seconds of training")


def _against_labels(found: Transfer, axes: Any, colours: dict[str, str]) -> None:
    from tl_jax.lab.transfer import name

    shown = [arm for arm in ARMS if any(key[1] == arm for key in found.arms)]
    for number, arm in enumerate(shown):
        keys = [key for key in found.arms if key[1] == arm]
        means = [found.compared.arm(name(key), found.measure) for key in keys]
        aside = 1.03 ** (number - (len(shown) - 1) / 2)  # or else intervals would hide each other
        axes.errorbar(
            [100 * fraction * aside for fraction, _ in keys],
            [one.value for one in means],
            [[one.value - one.low for one in means], [one.high - one.value for one in means]],
            fmt="o-",
            color=colours[arm],
            capsize=3,
            markersize=4,
            label=arm,
        )
    axes.set_xscale("log")
    axes.set_xticks([100 * one for one in found.fractions], [f"{100 * one:.4g} %" for one in found.fractions])
    axes.minorticks_off()
    axes.set_xlabel("labels")
    axes.set_ylabel(f"test {display_name(found.measure)}")
    # Of the whole picture and not of the axes, which would become as narrow as these words leave them.
    axes.figure.legend(title=found.compared.basis, frameon=False, ncols=3, loc="outside upper center")


def _learning(found: Transfer, axes: Any, colours: dict[str, str], fraction: float, by: str) -> None:
    for key, lines in found.curves.items():
        if key[0] != fraction:
            continue
        at = np.mean([getattr(line, by) for line in lines], axis=0)
        values = np.array([line.values for line in lines])
        axes.plot(at, values.mean(axis=0), "-", color=colours[key[1]], linewidth=1.2)
        axes.fill_between(at, values.min(axis=0), values.max(axis=0), color=colours[key[1]], alpha=0.12, lw=0)
    if by == "steps":
        axes.set_ylabel(f"val {display_name(found.metric)}, {100 * fraction:.4g} %")
