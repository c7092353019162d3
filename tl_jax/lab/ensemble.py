"""Seeds of one plan asked together (deep ensembles: Lakshminarayanan et al. 2017), and what that gains.

An average over runs is itself a predictor: it is calibrated, and given its threshold, on the validation split
as a single run is. How much better it is than one run says how much of their errors is luck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tl_jax.lab.compare import Comparison
from tl_jax.pooled import Fold
from tl_jax.report.table import Column, Table, Value


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


def together(
    tests: Mapping[str, Sequence[Fold]], validations: Mapping[str, Sequence[Fold]], settings: Any
) -> dict[str, list[Fold]]:
    """Arms for a `Comparison` beside those of ``tests``: of each of these its seeds asked together, once for
    every seed. Empty where there is one seed, or nothing to average."""
    found: dict[str, list[Fold]] = {}
    for arm, runs in tests.items():
        if len(runs) < 2 or (one := asked_together(runs, validations[arm], settings)) is None:
            return {}
        found[called(arm)] = [one] * len(runs)
    return found


def called(arm: str) -> str:
    """The arm that is the seeds of ``arm`` asked together."""
    return f"{arm}, together"


def table(compared: Comparison, arms: Sequence[str]) -> Table:
    """A row a measure: what the seeds of each of ``arms`` reach together, and how much more than one by
    one."""
    columns = [Column("measure")]
    for arm in arms:
        columns += [Column(arm, called(arm)), Column(f"{arm}_gain", "less one by one", "+.4f")]
    rows = []
    for measure in compared.points[arms[0]]:
        row: list[Value] = [measure]
        for arm in arms:
            row += [compared.arm(called(arm), measure), compared.difference(called(arm), arm, measure)]
        rows.append(row)
    note = f"{compared.seeds} seeds of an arm asked together: one answer, their average; 95 % intervals"
    return Table(columns, rows, title="All seeds together", notes=[note])
