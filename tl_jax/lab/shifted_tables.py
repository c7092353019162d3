"""What is told of finished runs on corrupted pictures: tables, a picture and a verdict."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tl_jax.data.sources.errors import counted
from tl_jax.evaluation.estimate import Estimate
from tl_jax.lab import pictures
from tl_jax.lab.compare import Comparison, corrected, display_name
from tl_jax.lab.shifted import Shifted
from tl_jax.lab.summary import Summary
from tl_jax.lab.versus import SURE
from tl_jax.report.table import Column, Table, Value

SHOWN = ("accuracy", "auroc", "nll", "ece")


def told(found: Shifted) -> Summary:
    """For people."""
    return Summary(
        name="shifted",
        title="What is lost on other pictures?",
        verdict=verdict(found),
        tables=[_losses(found), *_differences(found), _measures(found)],
        facts={"measure": found.measure},
        draw=partial(draw, found),
    )


def verdict(found: Shifted) -> str:
    """Which arm loses least, and how sure that is."""
    lost, called = found.lost, display_name(found.measure)
    order = sorted(lost.points, key=lambda arm: lost.points[arm][found.measure])
    each = ", ".join(f"{arm} {lost.arm(arm, found.measure).text()}" for arm in order)
    text = f"{called} lost, mean of {counted(len(found.versions), 'corrupted version')}: {each}."
    if len(order) == 1:
        return text
    least = order[0]
    sure = all(one.p < SURE for one in _ahead(lost, least, found.measure).values())
    text += f" {least} loses least: " if sure else " Which loses least cannot be told: "
    told = [_told(compared, least, found.measure) for compared in (lost, found.within, found.at())]
    return f"{text}{told[0]}. As pictures are, {told[1]}; corrupted, {told[2]}."


def _ahead(compared: Comparison, arm: str, measure: str) -> dict[str, Estimate]:
    """The arm less each other one, p corrected for their number."""
    others = [other for other in compared.points if other != arm]
    return corrected({other: compared.difference(arm, other, measure) for other in others})


def _told(compared: Comparison, arm: str, measure: str) -> str:
    return "; ".join(
        f"{arm} less {other} is {one.text('+.4f')}, p {one.p:.3f}"
        for other, one in _ahead(compared, arm, measure).items()
    )


def _losses(found: Shifted) -> Table:
    """A row an arm."""
    measure, lost, out = found.measure, found.lost, found.at()
    columns = [Column("arm"), Column("within", "as they are"), Column("out", "corrupted"), Column("lost")]
    rows: list[list[Value]] = [
        [arm, *(compared.arm(arm, measure) for compared in (found.within, out, lost))] for arm in lost.points
    ]
    notes = [
        f"means of {counted(lost.seeds, 'seed')} on {lost.patients} patients, in brackets 95 % intervals "
        f"over both; corrupted: the mean of {counted(len(found.versions), 'version')}"
    ]
    if found.missing:
        notes.append(f"left out, as not all arms have their seed: {', '.join(found.missing)}")
    return Table(columns, rows, title=display_name(measure), notes=notes)


def _rows(found: Shifted) -> list[tuple[str, int | None, Comparison]]:
    """What tables have a row of: each version, and the means."""
    rows: list[tuple[str, int | None, Comparison]] = [("as they are", None, found.within)]
    rows += [(corruption, severity, one) for (corruption, severity), one in found.versions.items()]
    if len({corruption for corruption, _ in found.versions}) > 1:
        rows += [("mean of corruptions", severity, found.at(severity)) for severity in found.severities]
    if len(found.versions) > 1:
        rows.append(("mean of all", None, found.at()))
    return rows


def _differences(found: Shifted) -> list[Table]:
    """A row a version: by how much each other arm is ahead of the first. None where there is one arm."""
    first, *others = found.within.points
    if not others:
        return []
    every = _rows(found)
    differences = corrected(
        {
            (number, arm): one.difference(arm, first, found.measure)
            for number, (_, _, one) in enumerate(every)
            for arm in others
        }
    )
    columns = [Column("pictures"), Column("severity")]
    for arm in others:
        columns += [Column(arm, f"{arm} less {first}", "+.4f"), Column(f"{arm}_p", "p", ".3f")]
    rows: list[list[Value]] = [
        [pictures, severity, *(cell for arm in others for cell in _with_p(differences[number, arm]))]
        for number, (pictures, severity, _) in enumerate(every)
    ]
    note = f"p corrected for their number (Holm): {len(rows) * len(others)}"
    return [Table(columns, rows, title=display_name(found.measure), notes=[note])]


def _with_p(one: Estimate) -> tuple[Estimate, float]:
    return one, one.p


def _measures(found: Shifted) -> Table:
    """A row a version and arm."""
    there = next(iter(found.within.points.values()))
    shown = [name for name in dict.fromkeys((found.measure, *SHOWN)) if name in there]
    columns = [Column("pictures"), Column("severity"), Column("arm")]
    columns += [Column(name, display_name(name)) for name in shown]
    rows: list[list[Value]] = [
        [pictures, severity, arm, *(compared.arm(arm, name) for name in shown)]
        for pictures, severity, compared in _rows(found)
        for arm in compared.points
    ]
    return Table(columns, rows)


def draw(found: Shifted, path: Path) -> None:
    """The measure against the severity, the mean of the corruptions; a line an arm."""
    at = [0, *found.severities]
    every = [found.within, *(found.at(severity) for severity in found.severities)]
    names = list(found.within.points)
    with pictures.figure(path) as axes:
        for number, (arm, colour) in enumerate(zip(names, pictures.colours(len(names)), strict=True)):
            means = [compared.arm(arm, found.measure) for compared in every]
            aside = [x + 0.06 * (number - (len(names) - 1) / 2) for x in at]
            reach = pictures.reach(means)
            axes.errorbar(
                aside, [one.value for one in means], reach, fmt="o-", color=colour, capsize=3, label=arm
            )
        axes.set_xticks(at, ["none", *map(str, found.severities)])
        axes.set_xlabel("severity, mean of the corruptions")
        axes.set_ylabel(f"test {display_name(found.measure)}")
        axes.set_title("means over seeds with 95 % intervals")
        axes.legend(frameon=False)
