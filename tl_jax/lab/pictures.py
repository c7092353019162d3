"""How pictures of experiments look."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tl_jax.evaluation.estimate import Estimate

DARK, PALE, MARK = "#1f4e79", "#9dbcd9", "#d9822b"
_MANY = (DARK, MARK, "#3a7d44", "#8e3b73", "#6b6b6b", "#b5a642")


def colours(n: int) -> list[str]:
    """As many colours, which people tell apart; from seven on they come again."""
    return [_MANY[i % len(_MANY)] for i in range(n)]


def reach(estimates: Sequence[Estimate]) -> list[list[float]]:
    """How far intervals go below and above their values, as error bars are told; none where it is unknown."""
    below = [one.value - one.low if math.isfinite(one.low) else 0.0 for one in estimates]
    above = [one.high - one.value if math.isfinite(one.high) else 0.0 for one in estimates]
    return [[max(length, 0.0) for length in lengths] for lengths in (below, above)]


@contextmanager
def figure(path: Path, *, rows: int = 1, heights: Sequence[float] = ()) -> Iterator[Any]:
    """Axes below each other that share x; what is drawn on them is written to ``path`` at the end."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(7, 2.2 + 1.4 * rows), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.subplots(rows, sharex=True, height_ratios=heights or None, squeeze=False)[:, 0]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="y", color="#e6e6e6", linewidth=0.6)
        one.set_axisbelow(True)
    yield axes if rows > 1 else axes[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=150)
