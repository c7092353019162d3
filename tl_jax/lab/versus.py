"""The summary of one config over seeds, or of two in pairs: a table and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from tl_jax.config import to_json
from tl_jax.job import prepare
from tl_jax.lab import ensemble
from tl_jax.lab.compare import Comparison, arms, display_name, predictions, rises
from tl_jax.lab.records import Record
from tl_jax.lab.summary import Summary
from tl_jax.pooled import Fold
from tl_jax.report.table import Column, Table, Value

SURE = 0.05
"""Below this p the verdict speaks of a difference."""


def refuse_other_pictures(configs: Mapping[str, ConfigDict]) -> None:
    """Raises ValueError, before anything is trained, where two configs have not the same test pictures."""
    if len({to_json(config.data) for config in configs.values()}) < 2:
        return
    tests = {
        name: prepare(config, say=lambda line: None).data.test.ids.tolist()
        for name, config in configs.items()
    }
    (one, first), (other, second) = tests.items()
    if first != second:
        raise ValueError(
            f"{one} and {other} cannot be compared in pairs: their test splits hold {len(first)} and "
            f"{len(second)} pictures, {len(set(first) & set(second))} of them the same. Give both the same "
            "data.root, data.group and data.split_seed"
        )


def told(root: Path, records: Sequence[Record], settings: Any, measure: str = "") -> Summary:
    """The runs in ``root`` for people. Raises ValueError where they cannot be compared."""
    alone = arms(records, partial(predictions, root))
    together: dict[str, list[Fold]] = {}
    if not any("fold" in one["facts"] for one in records):
        together = ensemble.together(alone, arms(records, partial(predictions, root, split="val")), settings)
    compared, names = Comparison({**alone, **together}, settings), list(alone)
    return Summary(
        name="seeds",
        title="How much of a result is luck?",
        verdict=_verdict(compared, names, compared.measure(measure)),
        tables=[_table(compared, names), *([ensemble.table(compared, names)] if together else [])],
    )


def _table(compared: Comparison, names: Sequence[str]) -> Table:
    """A row a measure: each arm's mean and standard deviation over seeds, and the difference of two arms."""
    columns = [Column("measure")]
    for name in names:
        columns += [Column(name), Column(f"{name}_sd", "sd")]
    if len(names) == 2:
        title = f"{names[1]} less {names[0]}"
        columns += [Column("difference", title, "+.4f"), Column("p", form=".3f")]
    rows = []
    for measure in compared.points[names[0]]:
        row: list[Value] = [measure]
        for name in names:
            each = compared.each[name][measure]
            row += [compared.arm(name, measure), float(np.std(each, ddof=1)) if len(each) > 1 else None]
        if len(names) == 2:
            difference = compared.difference(names[1], names[0], measure)
            row += [difference, difference.p]
        rows.append(row)
    return Table(columns, rows, notes=[f"{compared.basis}; sd over seeds"])


def _verdict(compared: Comparison, names: Sequence[str], measure: str) -> str:
    called = display_name(measure)
    if len(names) == 1:
        return f"{names[0]}: {called} {compared.arm(names[0], measure).text()}."
    first, second = names
    found = compared.difference(second, first, measure)
    told = f"{second} less {first} is {found.text('+.4f')}, p {found.p:.3f}"
    if not found.p < SURE:
        return f"No difference in {called} can be told: {told}."
    better = second if (found.value > 0) == rises(measure) else first
    return f"{better} is better in {called}: {told}."
