"""The picture of a freeze ladder: what is measured, and what it costs, against the frozen blocks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tl_jax.data.sources.errors import counted
from tl_jax.lab import pictures
from tl_jax.lab.compare import display_name

if TYPE_CHECKING:
    from tl_jax.lab.ladder import Ladder


def draw(found: Ladder, path: Path) -> None:
    """Writes the picture as PNG."""
    cuts = [rung.cut for rung in found.rungs]
    with pictures.figure(path, rows=2, heights=(3, 1)) as (above, below):
        means = [rung.measures[found.measure] for rung in found.rungs]
        best = found.best.measures[found.measure].value
        for rung in found.rungs:
            above.plot([rung.cut] * len(rung.each), rung.each, "o", color=pictures.PALE, markersize=4)
        above.errorbar(
            cuts,
            [one.value for one in means],
            pictures.reach(means),
            fmt="o-",
            color=pictures.DARK,
            capsize=3,
        )
        above.axhline(best, color=pictures.DARK, linewidth=0.8, linestyle=":")
        chosen = found.chosen
        above.plot(
            chosen.cut, chosen.measures[found.measure].value, "o", color=pictures.MARK, markersize=9, zorder=5
        )
        above.set_ylabel(f"test {display_name(found.measure)}")
        above.set_title(
            f"{counted(found.seeds, 'seed')} (pale), means with 95 % intervals; orange: the verdict"
        )
        below.bar(cuts, [rung.seconds for rung in found.rungs], color=pictures.PALE)
        below.set_ylabel("seconds a run")
        below.set_xlabel("frozen blocks (0: everything trains; the most: the head alone)")
        below.set_xticks(cuts)
