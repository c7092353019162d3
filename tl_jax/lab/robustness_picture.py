"""The pictures of an experiment with corruptions: measures against severity, and what a network was shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_jax.lab import pictures
from tl_jax.lab.compare import display_name

if TYPE_CHECKING:
    from tl_jax.lab.robustness import Robustness

_CALIBRATION = "ece"


def draw(found: Robustness, path: Path) -> None:
    """The measure, and the calibration error below it, against severity: the mean of the corruptions; a line
    an arm."""
    shown = list(dict.fromkeys([found.measure, _CALIBRATION]))
    with pictures.figure(path, rows=len(shown)) as drawn:
        for axes, measure in zip(drawn if len(shown) > 1 else [drawn], shown, strict=True):
            _against_severity(found, axes, measure)
            axes.set_ylabel(f"test {display_name(measure)}")
        axes.set_xlabel("severity, mean of the corruptions")
        axes.figure.legend(
            *axes.get_legend_handles_labels(),
            title=found.within.basis,
            frameon=False,
            ncols=2,
            loc="outside upper center",
        )


def _against_severity(found: Robustness, axes: Any, measure: str) -> None:
    at = [0, *found.severities]
    every = [found.within, *(found.at(severity) for severity in found.severities)]
    names = list(found.within.points)
    for number, (arm, colour) in enumerate(zip(names, pictures.colours(len(names)), strict=True)):
        means = [compared.arm(arm, measure) for compared in every]
        aside = [x + 0.06 * (number - (len(names) - 1) / 2) for x in at]
        reach = pictures.reach(means)
        values = [one.value for one in means]
        axes.errorbar(aside, values, reach, fmt="o-", color=colour, capsize=3, label=arm)
    axes.set_xticks(at, ["none", *map(str, found.severities)])


def show(found: Robustness, path: Path) -> None:
    """One test picture with every corruption, a row each, at every severity."""
    rows = found.corruptions
    layout = [[f"{name} {severity}" for severity in (0, *found.severities)] for name in rows]
    with pictures.panels(path, layout, [1.1] * len(rows)) as panels:
        for name in rows:
            for severity in (0, *found.severities):
                axes = panels[f"{name} {severity}"]
                image = found.shown[(name, severity) if severity else ("", 0)]
                gray = image.shape[-1] == 1
                axes.imshow(image[..., 0] if gray else image, cmap="gray" if gray else None, vmin=0, vmax=255)
                axes.set_xticks([])
                axes.set_yticks([])
                axes.grid(False)
                axes.spines[:].set_visible(False)
                if severity == 0:
                    axes.set_ylabel(name, fontsize="small")
                if name == rows[-1]:
                    axes.set_xlabel(str(severity) if severity else "as it is", fontsize="small")
