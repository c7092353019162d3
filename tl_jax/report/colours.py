"""The colours of pictures: plain ones in files, variables of the style sheet in pages.

A picture is drawn once, in the colours of the light page. `THEME` says which variable stands for each, so
that a dark page shows the same lines in colours of its own.
"""

from __future__ import annotations

DARK, PALE, MARK = "#1f4e79", "#9dbcd9", "#d9822b"
INK, MUTED, LINE = "#1c2126", "#5b6670", "#e6e6e6"
MANY = (DARK, MARK, "#3a7d44", "#8e3b73", "#6b6b6b", "#b5a642")

THEME = {
    "#000000": "--ink",
    "#ffffff": "--card",
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    PALE: "--pale",
    **{colour: f"--series-{number}" for number, colour in enumerate(MANY, 1)},
}


def colours(n: int) -> list[str]:
    """As many colours, which people tell apart; from seven on they come again."""
    return [MANY[i % len(MANY)] for i in range(n)]
