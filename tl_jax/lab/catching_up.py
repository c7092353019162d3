"""How long a network from scratch takes to come to what a pretrained one comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tl_jax.lab import curves
from tl_jax.lab.compare import display_name
from tl_jax.lab.curves import Curve
from tl_jax.report.table import Column, Table, Value


@dataclass(frozen=True)
class Passage:
    """When a curve first comes to a value: in steps and in seconds of training, NaN where it never does."""

    steps: float
    seconds: float


@dataclass(frozen=True)
class CatchingUp:
    """Of each seed: ``target``, the best value on validation of the network with pretrained weights; when
    that one first comes to it (``transfer``), and when the one from scratch does."""

    target: Sequence[float]
    transfer: Sequence[Passage]
    scratch: Sequence[Passage]

    @property
    def arrived(self) -> int:
        """Of how many seeds scratch got there at all."""
        return sum(not np.isnan(one.seconds) for one in self.scratch)

    @property
    def longer(self) -> float:
        """How many times as long, in seconds, scratch took: median over seeds, NaN where the median seed
        does not arrive."""
        pairs = zip(self.transfer, self.scratch, strict=True)
        return median([slow.seconds / max(fast.seconds, 1e-9) for fast, slow in pairs])

    def sentence(self, metric: str) -> str:
        """For people."""
        n, took = len(self.scratch), median([one.seconds for one in self.transfer])
        target = f"what it reached on validation ({metric} {np.mean(self.target):.4f} after {took:.1f} s)"
        if not self.arrived:
            return f"Scratch did not come to {target} within the budget."
        of = "" if self.arrived == n else f"; {n - self.arrived} of {n} seeds never did"
        if np.isnan(self.longer):
            return f"Scratch came to {target} within the budget with {self.arrived} of {n} seeds only."
        return f"To come to {target} scratch took {self.longer:.1f} times as long{of}."


def of(transfer: Sequence[Curve], scratch: Sequence[Curve], *, rises: bool) -> CatchingUp:
    """From the curves of the same seeds; whether the measure ``rises`` where it gets better."""
    targets = [curves.best(one.values, rises=rises) for one in transfer]
    return CatchingUp(
        targets,
        [_passage(one, target, rises) for one, target in zip(transfer, targets, strict=True)],
        [_passage(one, target, rises) for one, target in zip(scratch, targets, strict=True)],
    )


def table(found: Mapping[tuple[float, str], CatchingUp], metric: str, budget: int) -> Table:
    """A row for each fraction of the labels and arm."""
    title = display_name(metric)
    columns = [
        Column("labels", form=".4g"),
        Column("arm"),
        Column("reached", f"{title} reached"),
        Column("steps", form=".1f"),
        Column("seconds", form=".1f"),
        Column("arrived", "scratch got there"),
        Column("scratch_steps", "in steps", ".1f"),
        Column("scratch_seconds", "seconds", ".1f"),
        Column("scratch_fastest", "fastest", ".1f"),
        Column("scratch_slowest", "slowest", ".1f"),
        Column("longer", "times as long", ".1f"),
    ]
    rows: list[list[Value]] = []
    for (fraction, arm), one in found.items():
        seconds = np.array([passage.seconds for passage in one.scratch])
        rows.append(
            [
                fraction,
                arm,
                float(np.mean(one.target)),
                median([passage.steps for passage in one.transfer]),
                median([passage.seconds for passage in one.transfer]),
                f"{one.arrived} of {len(one.scratch)}",
                median([passage.steps for passage in one.scratch]),
                median(seconds.tolist()),
                float(np.nanmin(seconds)) if one.arrived else None,
                float(seconds.max()),
                one.longer,
            ]
        )
    return Table(
        columns,
        rows,
        title=f"How long scratch takes to the best {title} on validation of each arm, seed by seed",
        notes=[
            "medians over seeds; a seed that does not get there counts as slower than all others; "
            f"–: not within the budget of {budget:,} steps.",
            "Seconds are of training: without validation, compiling and saving. Curves are straight lines "
            "between measurements.",
        ],
    )


def median(values: Sequence[float]) -> float:
    """Where NaN, which is no arrival, is longer than anything; NaN where it is the median."""
    middle = float(np.median(np.nan_to_num(values, nan=np.inf)))
    return middle if np.isfinite(middle) else float("nan")


def _passage(curve: Curve, target: float, rises: bool) -> Passage:
    at = (curve.steps, curve.seconds)
    return Passage(*(curves.reached(one, curve.values, target, rises=rises) for one in at))
