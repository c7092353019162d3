"""The summary of a grid of learning rates and layer decays: a table, a picture and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from tl_jax.lab import pictures
from tl_jax.lab.compare import Comparison, predictions, rises
from tl_jax.lab.records import Record
from tl_jax.text_table import aligned
from tl_jax.workdir import write_json, write_text

Cell = tuple[float, float]
"""Learning rate and layer decay."""


def write(root: Path, records: Sequence[Record], config: ConfigDict) -> str:
    """Writes rates.txt, rates.json and rates.png into ``root``; the text. A cell that lacks a seed is
    not chosen."""
    metric = config.select.metric
    values = cells(records)
    whole = max(map(len, values.values()))
    means = {cell: float(np.mean(found)) for cell, found in values.items() if len(found) == whole}
    chosen = (max if rises(metric) else min)(means, key=means.__getitem__)
    text = "\n".join([table(values, chosen, metric), "", _verdict(root, records, config, chosen, means)])
    write_text(root / "rates.txt", text + "\n")
    plain = [dict(lr=lr, decay=decay, values=found) for (lr, decay), found in values.items()]
    best = dict(lr=chosen[0], decay=chosen[1])
    write_json(root / "rates.json", {"metric": metric, "cells": plain, "chosen": best})
    draw(means, chosen, metric, root / "rates.png")
    return f"{text}\n\npicture: {root / 'rates.png'}"


def cells(records: Sequence[Record]) -> dict[Cell, list[float]]:
    """The best measurement on validation of each run."""
    found: dict[Cell, list[float]] = {}
    for one in records:
        cell = one["facts"]["lr"], one["facts"]["decay"]
        value = one["best"]["value"]
        found.setdefault(cell, []).append(float("nan") if value is None else value)
    return found


def table(values: Mapping[Cell, Sequence[float]], chosen: Cell, metric: str) -> str:
    """A row a rate, a column a decay: mean and standard deviation over seeds."""
    lrs, decays = (sorted({cell[i] for cell in values}) for i in (0, 1))
    rows = [["learning rate", *(f"decay {decay:g}" for decay in decays)]]
    for lr in lrs:
        row = [f"{lr:g}"]
        for decay in decays:
            found = values.get((lr, decay), ())
            spread = f" ± {np.std(found, ddof=1):.4f}" if len(found) > 1 else ""
            mark = " *" if (lr, decay) == chosen else ""
            row.append(f"{np.mean(found):.4f}{spread}{mark}" if len(found) else "–")
        rows.append(row)
    lines = aligned(rows, left=1)
    return "\n".join([*lines, f"  {metric} on validation, mean ± standard deviation over seeds; *: the best"])


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
    tested = f"{measure} {found.value:.4f} ({found.low:.4f} to {found.high:.4f}) on the test split"
    return f"Take lr={chosen[0]:g}, layer_decay={chosen[1]:g}: {value}; {tested}, which chose nothing.{edge}"
