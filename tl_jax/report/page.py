"""One HTML page that asks for nothing: styles, script and pictures are inside, and the page itself forbids
every request.

Whatever stands in a template as ``{{ value }}`` is escaped, so that a file called ``<script>`` stays text.
Only what is `Markup` is taken as it is, and only `picture` makes that.
"""

from __future__ import annotations

import base64
import hashlib
import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_jax.evaluation.estimate import Estimate
from tl_jax.report import images
from tl_jax.report.table import Link

if TYPE_CHECKING:
    from jinja2 import Environment

    from tl_jax.report.table import Value

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """The page that one of ``templates/`` makes of some values."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    found = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = ((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    found.globals |= {"style": Markup(style), "script": Markup(script), "policy": policy(script)}
    found.filters |= {"order": order, "image": images.data}
    found.tests |= {
        "estimate": lambda value: isinstance(value, Estimate),
        "link": lambda value: isinstance(value, Link),
    }
    return found


def policy(script: str) -> str:
    """The Content-Security-Policy of a page: no request, and no script but this one. Style attributes are
    allowed, as pictures need them; they can load nothing either."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = (
        "default-src 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{digest}'",
    )
    return "; ".join((*rules, "base-uri 'none'", "form-action 'none'"))


def order(value: Value) -> str:
    """What a cell is sorted by: its number in full, or its words; "" goes last."""
    if isinstance(value, Estimate):
        value = value.value
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return str(value)
