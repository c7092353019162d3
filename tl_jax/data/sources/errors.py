"""The one error of the sources, which lists everything that is wrong with a data set at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

SHOWN = 10
"""How many of a long list a message names; the rest is counted."""


class SourceError(ValueError):
    """A data set that cannot be used as it stands; the message says what, where, and what to do."""


def listed(head: str, problems: Iterable[str], advice: str = "") -> SourceError:
    """One error that lists every problem, then what to do."""
    lines = [head, *(f"  - {problem}" for problem in problems), *([advice] if advice else [])]
    return SourceError("\n".join(lines))


def some(names: Sequence[object], shown: int = SHOWN) -> str:
    """``a, b, c and 7 more``: the first ``shown`` names and the count of the rest."""
    rest = len(names) - shown
    return ", ".join(str(name) for name in names[:shown]) + (f" and {rest:,} more" if rest > 0 else "")


def nearest(name: str, candidates: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the candidate most like ``name``, capitals aside, or nothing."""
    known = {str(candidate).lower(): candidate for candidate in candidates}
    near = difflib.get_close_matches(str(name).lower(), known, n=1)
    return f"; did you mean {known[near[0]]!r}?" if near else ""


def counted(n: int, one: str, many: str = "") -> str:
    """``1 file``, ``2 files``, ``1,000 files``."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
