"""The one error of this room."""

from __future__ import annotations


class PretrainedError(ValueError):
    """Weights that cannot be had or do not fit; the message says what, where, and what to do."""


def listed(head: str, problems: list[str], advice: str = "") -> PretrainedError:
    """One error that lists every problem, then what to do."""
    lines = [head, *(f"  - {problem}" for problem in problems), *([advice] if advice else [])]
    return PretrainedError("\n".join(lines))
