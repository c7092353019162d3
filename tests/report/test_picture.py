"""matplotlib's SVG as part of a page."""

from __future__ import annotations

import re

from tests.report.reading import Page
from tl_jax.report.colours import DARK, MANY, THEME, colours
from tl_jax.report.page import _TEMPLATES
from tl_jax.report.picture import Picture, panel

EVIL = '</svg><script>alert("url(#x)")</script> #1f4e79 $a$'


def drawn(name: str, alt: str = "a line") -> str:
    picture = Picture(name, "title", alt)
    with panel(picture) as axes:
        axes.plot([0, 1], [1, 0], color=DARK)
        axes.set_xlabel(EVIL)
    return str(picture.svg)


def test_two_of_the_same_share_no_id():
    one, other = Page(drawn("one")), Page(drawn("other"))
    assert one.ids
    assert not set(one.ids) & set(other.ids)
    assert len(set(one.ids)) == len(one.ids)


def test_colours_are_variables_and_fonts_the_pages():
    svg = drawn("one")
    assert "stroke: var(--series-1)" in svg
    assert "font-family" not in svg
    assert not re.search(r"\bfont:", svg)
    assert "<style" not in svg
    assert "<metadata" not in svg
    in_tags = "".join(re.findall(r"<[^>]+>", svg))
    assert not set(re.findall(r"#[0-9a-f]{6}\b", in_tags)), "a colour that no dark page can change"


def test_words_stay_as_they_are():
    page = Page(drawn("one", alt=EVIL))
    assert EVIL in page.text
    assert page.all("script") == []
    assert page.all("svg")[0]["aria-label"] == EVIL


def test_the_style_sheet_has_every_colour_in_light_dark_and_print():
    style = (_TEMPLATES / "page.css").read_text()
    for variable in set(THEME.values()):
        assert len(re.findall(rf"{variable}:", style)) == 3, variable
    assert colours(8) == [*MANY, *MANY[:2]]


def test_the_same_picture_is_the_same_text():
    assert drawn("one") == drawn("one")
