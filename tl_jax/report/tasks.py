"""The page about a run of several tasks: each in a row, and the way to its own report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from tl_jax.evaluation.estimate import Estimate
from tl_jax.evaluation.table import several
from tl_jax.report import page
from tl_jax.report.colours import INK, colours
from tl_jax.report.picture import Picture, panel
from tl_jax.report.table import Column, Link, Table
from tl_jax.workdir import Workdir

_SHOWN = ("auroc", "accuracy", "rmse", "r2", "nll")


def html(folder: Workdir, result: Mapping[str, Any]) -> str:
    """The whole page as text."""
    lines = folder.metrics.read_text(encoding="utf-8").splitlines() if folder.metrics.exists() else []
    history = [json.loads(line) for line in lines]
    blocks, of = result["sharing"]["blocks"], result["sharing"]["of"]
    shared = "the whole backbone" if blocks < 0 else f"the stem and {blocks} of {of} blocks"
    return page.render(
        "experiment.html",
        title=folder.root.resolve().name,
        verdict=_verdict(result, shared),
        tables=[_table(result)],
        pictures=[Markup(one.svg) for one in _pictures(result, history)],
        runs=None,
        failed=(),
        codes={},
        facts=[
            ("shared", shared),
            ("parameters", f"{result['parameters']:,}"),
            ("seed", str(result["seed"])),
            ("steps", f"{result['steps']:,}, weights of step {result['best']['step']:,}"),
            ("command", result["command"]),
            ("config digest", result["config"]),
            ("versions", ", ".join(f"{name} {number}" for name, number in result["versions"].items())),
        ],
    )


def _verdict(result: Mapping[str, Any], shared: str) -> str:
    told = []
    for name, own in result["tasks"].items():
        judged = next(m for m in _SHOWN if own["test"].get(m, {}).get("value") is not None)
        told.append(f"{name} {several(judged)} {Estimate.of(own['test'][judged]).text('.3f')}")
    return f"{len(told)} tasks that share {shared}, on their test splits: {'; '.join(told)}."


def _table(result: Mapping[str, Any]) -> Table:
    shown = [m for m in _SHOWN if any(m in own["test"] for own in result["tasks"].values())]
    columns = [Column("task"), Column("n", "test"), *(Column(m, several(m)) for m in shown)]
    columns.append(Column("weight", "weight of its loss", ".3g"))
    rows = [
        [
            Link(name, f"{quote(name)}/report.html"),
            own["test"]["n"],
            *(Estimate.of(own["test"][m]) if m in own["test"] else None for m in shown),
            result["weights"][name],
        ]
        for name, own in result["tasks"].items()
    ]
    return Table(columns, rows, "Each task on its test split; its name leads to its own report")


def _pictures(result: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> list[Picture]:
    found = [_lines(result, history, "val/{}/loss", "loss", "Validation loss of each task")]
    if any(name.startswith("weight/") for line in history for name in line):
        found.append(_lines(result, history, "weight/{}", "weight", "Learned weight of each task's loss"))
    return found


def _lines(
    result: Mapping[str, Any], history: Sequence[Mapping[str, Any]], key: str, label: str, title: str
) -> Picture:
    best = result["best"]["step"]
    caption = f"The dashed line marks step {best:,}, whose weights were chosen."
    picture = Picture(label, title, f"{title} against steps, a line a task.", caption)
    with panel(picture) as axes:
        for name, colour in zip(result["tasks"], colours(len(result["tasks"])), strict=True):
            column = key.format(name)
            points = [(line["step"], line[column]) for line in history if line.get(column) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), color=colour, label=name, marker="o", markersize=3)
        axes.axvline(best, color=INK, linewidth=1, linestyle="--")
        axes.set_xlabel("step")
        axes.set_ylabel(label)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    return picture
