"""How pictures of experiments look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tl_jax.report.colours import DARK, LINE, MARK, PALE, colours
from tl_jax.report.picture import EMBEDDED

__all__ = ["DARK", "MARK", "PALE", "colours", "figure"]


@contextmanager
def figure(path: Path, *, rows: int = 1, heights: Sequence[float] = ()) -> Iterator[Any]:
    """Axes below each other that share x; what is drawn on them is written to ``path`` at the end, as PNG, or
    as SVG for a page where the name ends so."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    page = path.suffix == ".svg"  # narrower, so that words can be read on a phone
    drawing = Figure(figsize=(5 if page else 7, 2.2 + 1.4 * rows), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.subplots(rows, sharex=True, height_ratios=heights or None, squeeze=False)[:, 0]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="y", color=LINE, linewidth=0.6)
        one.set_axisbelow(True)
    yield axes if rows > 1 else axes[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(EMBEDDED):
        drawing.savefig(path, dpi=150, transparent=page)
