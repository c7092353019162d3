"""The summary of a grid of learning rates and layer decays: a table, a picture and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from tl_jax.lab import pictures
from tl_jax.lab.compare import Comparison, display_name, predictions, rises
from tl_jax.lab.records import Record
from tl_jax.lab.summary import Summary
from tl_jax.report.table import Column, Table

Cell = tuple[float, float]
"""Learning rate and layer decay."""


def told(root: Path, records: Sequence[Record], config: ConfigDict) -> Summary:
    """The grid in ``root`` for people. A cell that lacks a seed is not chosen."""
    metric = config.select.metric
    values = cells(records)
    whole = max(map(len, values.values()))
    means = {cell: float(np.mean(found)) for cell, found in values.items() if len(found) == whole}
    chosen = (max if rises(metric) else min)(means, key=means.__getitem__)
    return Summary(
        name="rates",
        title="Which learning rate, and how much slower for lower layers?",
        verdict=_verdict(root, records, config, chosen, means),
        tables=[table(values, chosen, metric)],
        facts={"metric": metric, "chosen": dict(lr=chosen[0], decay=chosen[1])},
        draw=partial(draw, means, chosen, metric),
    )


def cells(records: Sequence[Record]) -> dict[Cell, list[float]]:
    """The best measurement on validation of each run."""
    found: dict[Cell, list[float]] = {}
    for one in records:
        cell = one["facts"]["lr"], one["facts"]["decay"]
        value = one["best"]["value"]
        found.setdefault(cell, []).append(float("nan") if value is None else value)
    return found


def table(values: Mapping[Cell, Sequence[float]], chosen: Cell, metric: str) -> Table:
    """A row a cell: mean, standard deviation over seeds, and each seed's value."""
    seeds = max(map(len, values.values()))
    columns = [Column("lr", "learning rate", "g"), Column("decay", "layer decay", "g")]
    columns += [Column("mean", metric), Column("sd"), Column("best", " ")]
    columns += [Column(f"run_{number}", f"run {number}") for number in range(1, seeds + 1)]
    rows = []
    for (lr, decay), found in sorted(values.items(), key=lambda item: (item[0][1], item[0][0])):
        spread = float(np.std(found, ddof=1)) if len(found) > 1 else None
        each = [*found, *[None] * (seeds - len(found))]
        rows.append([lr, decay, float(np.mean(found)), spread, "*" if (lr, decay) == chosen else "", *each])
    notes = [f"{metric} on validation, mean and standard deviation over seeds; *: the best"]
    return Table(columns, rows, notes=notes)


def draw(means: Mapping[Cell, float], chosen: Cell, metric: str, path: Path) -> None:
    """The metric against the rate, a line a decay."""
    decays = sorted({decay for _, decay in means})
    with pictures.figure(path) as axes:
        for decay, colour in zip(decays, pictures.colours(len(decays)), strict=True):
            line = sorted((lr, value) for (lr, other), value in means.items() if other == decay)
            axes.plot(*zip(*line, strict=True), "o-", color=colour, label=f"layer decay {decay:g}")
        axes.plot(chosen[0], means[chosen], "o", markersize=12, fillstyle="none", color=pictures.MARK)
        axes.set_xscale("log")
        axes.set_xlabel("learning rate")
        axes.set_ylabel(f"{metric} on validation")
        axes.legend(frameon=False)


def _verdict(
    root: Path, records: Sequence[Record], config: ConfigDict, chosen: Cell, means: Mapping[Cell, float]
) -> str:
    own = [one for one in records if (one["facts"]["lr"], one["facts"]["decay"]) == chosen]
    compared = Comparison({"chosen": [predictions(root, one) for one in own]}, config.evaluation)
    measure = compared.measure()
    found = compared.arm("chosen", measure)
    lrs = sorted({lr for lr, _ in means})
    edge = ""
    if len(lrs) > 1 and chosen[0] in (lrs[0], lrs[-1]):
        edge = f" It is the {'lowest' if chosen[0] == lrs[0] else 'highest'} that was tried: try more there."
    value = f"{config.select.metric} {means[chosen]:.4f} on validation"
    tested = f"{display_name(measure)} {found.text()} on the test split"
    return f"Take lr={chosen[0]:g}, layer_decay={chosen[1]:g}: {value}; {tested}, which chose nothing.{edge}"
