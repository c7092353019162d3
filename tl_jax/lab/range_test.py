"""The learning-rate range test (Smith 2017, "Cyclical learning rates for training neural networks", section
3.3): the rate grows from step to step until the loss diverges; where it fell tells which rates learn.

What the losses suggest is as in fastai's `lr_find`. Nothing here knows what a step is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SMOOTHING = 0.98
"""Weight of what was before in the moving average of losses."""

DIVERGED = 4.0
"""The test ends where the average is so many times its lowest, and above where it began."""

FELL = 0.05
"""Share of the loss by which the average must fall, or nothing was learnt: less is noise."""

LEAST = 10
"""Finite losses without which there is nothing to read."""


@dataclass(frozen=True)
class Curve:
    """``rates`` (n,), the ``losses`` (n,) before the steps with them, and their average ``smoothed`` (n,).
    ``diverged``: the rate at which the test ended early, None where it did not."""

    rates: Floats
    losses: Floats
    smoothed: Floats
    diverged: float | None


def rates(low: float, high: float, steps: int) -> Floats:
    """Rates (steps,) that grow from ``low`` to ``high`` by the same factor every time."""
    return np.geomspace(low, high, steps)


def sweep(step: Callable[[int, float], float], tried: Floats) -> Curve:
    """Calls ``step(i, rate)`` for each rate in turn; it takes a step and returns the loss before that.

    The average of the losses corrects its start as Adam does (Kingma & Ba 2015, algorithm 1). Raises
    FloatingPointError where the loss is not finite before any step has been taken, or so soon that there is
    nothing to read.
    """
    losses: list[float] = []
    smoothed: list[float] = []
    average, diverged = 0.0, None
    for i, rate in enumerate(tried.tolist()):
        loss = step(i, rate)
        if not np.isfinite(loss):
            _refuse_early(i, rate, loss)
            diverged = rate
            break
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        losses.append(loss)
        smoothed.append(average / (1 - SMOOTHING ** (i + 1)))
        if i >= LEAST and smoothed[-1] > max(DIVERGED * min(smoothed), smoothed[0]):
            diverged = rate
            break
    return Curve(tried[: len(losses)], np.array(losses), np.array(smoothed), diverged)


def _refuse_early(i: int, rate: float, loss: float) -> None:
    if i == 0:
        raise FloatingPointError(
            f"the loss is {loss} before the first step, so that no learning rate is to blame: look at the "
            "pictures, the weights and the precision"
        )
    if i < LEAST:
        raise FloatingPointError(
            f"the loss is {loss} after {i} steps, the last with a rate of {rate:g}: that is too soon to read "
            "anything. Begin lower (--find_from), or take float32 if this is not the precision"
        )


def suggestions(curve: Curve) -> dict[str, float]:
    """Rates by the name of their rule; none where the loss did not fall.

    ``valley``: the middle of the longest falling stretch of the average, rises in between left out.
    ``steepest``: where the average falls fastest against the logarithm of the rate. ``minimum/10``: a tenth
    of the rate at its lowest. The first tenth of the steps and the last five are not looked at, where there
    are enough of them.
    """
    n = len(curve.rates)
    end = n - 5 if n - 5 - n // 10 >= LEAST else n
    tried, losses = curve.rates[n // 10 : end], curve.smoothed[n // 10 : end]
    if losses.min() > (1 - FELL) * losses[0]:
        return {}
    slopes = np.diff(losses) / np.diff(np.log(tried))
    return {
        "valley": float(tried[_valley(losses)]),
        "steepest": float(tried[np.argmin(slopes)]),
        "minimum/10": float(tried[np.argmin(losses)] / 10),
    }


def _valley(losses: Floats) -> int:
    """The middle of the longest strictly falling subsequence, taken to lie right before its end."""
    longest = np.ones(len(losses), int)
    for i in range(1, len(losses)):
        longest[i] = 1 + max(longest[:i][losses[:i] > losses[i]], default=0)
    end = int(np.argmax(longest))
    return end - int(longest[end]) // 2
