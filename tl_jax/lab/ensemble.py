"""Seeds of one plan asked together (deep ensembles: Lakshminarayanan et al. 2017), and what that gains.

An average over runs is itself a predictor: it is calibrated, and given its threshold, on the validation split
as a single run is. How much better it is than one run says how much of their errors is luck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tl_jax.lab.compare import Comparison
from tl_jax.lab.records import Record
from tl_jax.pooled import Fold, read_fold
from tl_jax.report.table import Column, Table, Value
from tl_jax.workdir import Workdir


def asked_together(tests: Sequence[Fold], validations: Sequence[Fold], settings: Any) -> Fold | None:
    """One run that answers as all of them do on average; None for a task whose answers have no average.

    ``tests`` and ``validations``: their predictions of both splits (`tl_jax.pooled.read_fold`);
    ``settings`` is ``config.evaluation``. Raises ValueError where runs have not seen the same examples.
    """
    task = tests[0].task
    for of_split in (tests, validations):
        if any(one.ids != of_split[0].ids for one in of_split):
            raise ValueError("runs with other examples cannot be asked together")
    test, validation = (
        task.together(np.stack([one.logits for one in of_split])) for of_split in (tests, validations)
    )
    if test is None or validation is None:
        return None
    decision = task.decide(
        validation, validations[0].labels, names=tests[0].result["classes"], settings=settings
    )
    return replace(tests[0], name="together", decision=decision, logits=test, header=(), rows=())


def table(root: Path, records: Sequence[Record], settings: Any) -> Table | None:
    """A row a measure: what each arm's seeds in ``root`` reach together, and how much more than one by one.
    None where there is one seed, or folds, or nothing to average."""
    by_arm: dict[str, list[Record]] = {}
    for one in records:
        by_arm.setdefault(one["facts"]["arm"], []).append(one)
    if any("fold" in one["facts"] for one in records) or min(map(len, by_arm.values())) < 2:
        return None
    compared: dict[str, Comparison] = {}
    for arm, runs in by_arm.items():
        workdirs = [Workdir(root / one["name"]) for one in runs]
        tests, validations = (
            [read_fold(one["name"], workdir, split) for one, workdir in zip(runs, workdirs, strict=True)]
            for split in ("test", "val")
        )
        if (all_of_them := asked_together(tests, validations, settings)) is None:
            return None
        compared[arm] = Comparison({"alone": tests, "together": [all_of_them] * len(tests)}, settings)
    return _table(compared)


def _table(compared: Mapping[str, Comparison]) -> Table:
    columns = [Column("measure")]
    for arm in compared:
        columns += [Column(arm, f"{arm}, together"), Column(f"{arm}_gain", "less one by one", "+.4f")]
    first = next(iter(compared.values()))
    rows = []
    for measure in first.points["together"]:
        row: list[Value] = [measure]
        for one in compared.values():
            row += [one.arm("together", measure), one.difference("together", "alone", measure)]
        rows.append(row)
    note = f"{first.seeds} seeds of an arm asked together: one answer, the average of theirs; 95 % intervals"
    return Table(columns, rows, title="All seeds together", notes=[note])
