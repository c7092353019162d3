"""Pictures inside a page: matplotlib's SVG, made part of the HTML.

Text stays text, in the page's own font; colours become variables of the style sheet (`colours.THEME`), so
that one picture serves light, dark and print; ids are made the picture's own, since all pictures of a page
share one space of them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any

from markupsafe import Markup

from tl_jax.report.colours import INK, LINE, MUTED, THEME

EMBEDDED: dict[Any, Any] = {"svg.fonttype": "none"}
"""What an SVG that is to be part of a page is written with: text as text."""

STYLE: dict[Any, Any] = {
    **EMBEDDED,
    "text.parse_math": False,  # a class may be called $x$
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass
class Picture:
    """``svg`` is part of a page; ``alt`` says in words what it shows, ``caption`` how to read it."""

    name: str
    title: str
    alt: str
    caption: str = ""
    svg: Markup = field(default_factory=Markup)


@contextmanager
def panel(picture: Picture, *, size: tuple[float, float] = (3.5, 2.7)) -> Iterator[Any]:
    """Axes of one small picture, ``size`` inches; at the end it is in ``picture.svg``."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**STYLE, "svg.hashsalt": picture.name}):
        drawing = Figure(figsize=size)
        FigureCanvasSVG(drawing)
        # Fixed margins: finding them takes longer than drawing.
        width, height = size
        yield drawing.add_axes((0.56 / width, 0.45 / height, 1 - 0.66 / width, 1 - 0.55 / height))
        file = io.StringIO()
        drawing.savefig(file, format="svg", metadata={"Date": None})
    picture.svg = inline(file.getvalue(), picture.name, picture.alt)


def inline(svg: str, name: str, alt: str) -> Markup:
    """The SVG file of a picture as part of a page, where ``name`` is its own."""
    _, start, body = svg.partition("<svg")
    box = re.search(r'viewBox="([^"]+)"', body)
    assert start, "no SVG"
    assert box, "matplotlib always writes the picture's size"
    body = body.partition(">")[2].rpartition("</svg>")[0]
    for part in (r"<metadata>.*?</metadata>", r"<style[^>]*>.*?</style>", r"<!--.*?-->"):
        body = re.sub(part, "", body, flags=re.DOTALL)
    body = re.sub(r"<[^>]+>", lambda tag: _own(tag[0], name), body)  # tags only: words stay as they are
    body = re.sub(r"\s*\n\s*", "\n", body)
    return Markup(f'<svg role="img" aria-label="{escape(alt)}" viewBox="{box[1]}">{body}</svg>')


def _own(tag: str, name: str) -> str:
    tag = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', tag)
    tag = re.sub(r'\b(?:xlink:)?href="#([^"]+)"', rf'href="#{name}-\1"', tag)
    tag = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", tag)
    tag = re.sub(r"\bfont: [^;\"]*?([\d.]+px)[^;\"]*", r"font-size: \1", tag)  # older matplotlib
    tag = re.sub(r"\bfont-family: [^;\"]*;? ?", "", tag)
    return re.sub(r"#[0-9a-f]{6}\b", _variable, tag)


def _variable(found: re.Match[str]) -> str:
    return f"var({THEME[found[0]]})" if found[0] in THEME else found[0]
