"""The page about an experiment: what it found, and the way to each of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from tl_jax.evaluation.estimate import Estimate
from tl_jax.evaluation.table import TITLES, several
from tl_jax.report import page
from tl_jax.report.table import Column, Link, Table, Value

_SHOWN = ("auroc", "accuracy", "rmse", "nll")
_FILE = "report.html"


def html(
    *,
    title: str,
    verdict: str,
    tables: Sequence[Table],
    pictures: Sequence[Markup] = (),
    records: Sequence[Mapping[str, Any]] = (),
    failed: Sequence[tuple[str, str]] = (),
    linked: frozenset[str] = frozenset(),
    facts: Sequence[tuple[str, str]] = (),
) -> str:
    """The whole page as text.

    ``records``: lines of runs.jsonl; ``linked``: names of those runs that have a report of their own;
    ``failed``: names of runs that did not end, and why; ``facts``: what else to tell of where the numbers
    come from.
    """
    codes = {str(record["code"]): 0 for record in records if "code" in record}
    for record in records:
        if "code" in record:
            codes[record["code"]] += 1
    return page.render(
        "experiment.html",
        title=title,
        verdict=verdict,
        tables=tables,
        pictures=pictures,
        runs=runs(records, linked) if records else None,
        failed=failed,
        codes=codes,
        facts=[*facts, *(("code of the runs", code) for code in codes if len(codes) == 1)],
    )


def runs(records: Sequence[Mapping[str, Any]], linked: frozenset[str]) -> Table:
    """One row a finished run; with the code that made it where that is not the same for all."""
    there = dict.fromkeys(name for record in records for name in record["test"])
    shown = [name for one in _SHOWN for name in there if name.rpartition("/")[2] == one]
    several = len({record.get("code") for record in records}) > 1
    columns = [Column("run"), Column("seed")]
    columns += [Column(name, f"test {_title(name)}") for name in shown]
    columns += [Column("seconds", form=".1f"), *([Column("code")] if several else [])]
    rows: list[list[Value]] = []
    for record in records:
        name = record["name"]
        own: Value = Link(name, f"{quote(name)}/{_FILE}") if name in linked else name
        measured = [Estimate.of(record["test"][one]) if one in record["test"] else None for one in shown]
        seconds = record.get("seconds", {}).get("start")
        code = [record.get("code")] if several else []
        rows.append([own, record["seed"], *measured, seconds, *code])
    return Table(columns, rows)


def _title(name: str) -> str:
    """Of a measure, or of that of one of several tasks."""
    task, _, measure = name.rpartition("/")
    return f"{task} {TITLES.get(measure, several(measure))}".strip()
