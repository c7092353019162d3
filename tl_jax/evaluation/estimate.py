"""A number with its interval, and how it is told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNKNOWN = "–"
"""What stands in a table where there is no number."""


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; ``p`` is two-sided, of "it is 0". What is not known is NaN."""

    value: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan

    @classmethod
    def of(cls, measure: Mapping[str, Any]) -> Estimate:
        """One of the measures in a result.json: ``{"value", "low", "high"}``, null where undefined."""
        return cls(*(math.nan if measure[key] is None else measure[key] for key in ("value", "low", "high")))

    def text(self, form: str = ".4f") -> str:
        """ "0.9123 (0.8800–0.9400)"; with the word "to" where signs would make a dash hard to read."""
        if not math.isfinite(self.value):
            return UNKNOWN
        if not math.isfinite(self.low):
            return f"{self.value:{form}}"
        return f"{self.value:{form}} ({self.interval(form)})"

    @property
    def point(self) -> Estimate:
        """The number alone."""
        return Estimate(self.value)

    def interval(self, form: str = ".4f") -> str:
        """ "0.8800–0.9400", or "" where there is none."""
        if not math.isfinite(self.low):
            return ""
        between = " to " if "+" in form or self.low < 0 else "–"
        return f"{self.low:{form}}{between}{self.high:{form}}"
