"""How pictures of experiments look."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tl_jax.evaluation.estimate import Estimate
from tl_jax.report.colours import DARK, LINE, MARK, PALE, colours
from tl_jax.report.picture import EMBEDDED

__all__ = ["DARK", "MARK", "PALE", "colours", "figure", "panels", "reach"]


def reach(estimates: Sequence[Estimate]) -> list[list[float]]:
    """How far intervals go below and above their values, as error bars are told; none where it is unknown."""
    below = [one.value - one.low if math.isfinite(one.low) else 0.0 for one in estimates]
    above = [one.high - one.value if math.isfinite(one.high) else 0.0 for one in estimates]
    return [[max(length, 0.0) for length in lengths] for lengths in (below, above)]


@contextmanager
def figure(path: Path, *, rows: int = 1, heights: Sequence[float] = ()) -> Iterator[Any]:
    """Axes below each other that share x; what is drawn on them is written to ``path`` at the end, as PNG, or
    as SVG for a page where the name ends so."""
    with _drawing(path, 2.2 + 1.4 * rows) as drawing:
        axes = drawing.subplots(rows, sharex=True, height_ratios=heights or None, squeeze=False)[:, 0]
        _style(axes)
        yield axes if rows > 1 else axes[0]


@contextmanager
def panels(path: Path, layout: Sequence[Sequence[str]], heights: Sequence[float]) -> Iterator[dict[str, Any]]:
    """Axes by name, laid out in rows of names; a name that is repeated spans its places. ``heights`` of the
    rows, in inches. The rest is as in `figure`."""
    with _drawing(path, sum(heights)) as drawing:
        axes = drawing.subplot_mosaic([list(row) for row in layout], height_ratios=list(heights))
        _style(axes.values())
        yield axes


@contextmanager
def _drawing(path: Path, height: float) -> Iterator[Any]:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    page = path.suffix == ".svg"  # narrower, so that words can be read on a phone
    drawing = Figure(figsize=(5 if page else 7, height), layout="constrained")
    FigureCanvasAgg(drawing)
    yield drawing
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(EMBEDDED):
        drawing.savefig(path, dpi=150, transparent=page)


def _style(axes: Iterable[Any]) -> None:
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="y", color=LINE, linewidth=0.6)
        one.set_axisbelow(True)
