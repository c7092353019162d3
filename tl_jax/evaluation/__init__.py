"""Honest numbers: metrics, intervals over patients, calibration, thresholds.

`fit_decision` looks at validation; `measure` then measures any split with that decision.
"""

from tl_jax.evaluation.decision import Decision, decide, fit_decision, parse_criterion, probabilities
from tl_jax.evaluation.measure import measure
from tl_jax.evaluation.table import format_table
from tl_jax.evaluation.validation import HIGHER_IS_BETTER, is_better, quick

__all__ = [
    "HIGHER_IS_BETTER",
    "Decision",
    "decide",
    "fit_decision",
    "format_table",
    "is_better",
    "measure",
    "parse_criterion",
    "probabilities",
    "quick",
]
