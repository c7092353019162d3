"""What is told of finished runs on corrupted pictures: tables and a verdict."""

from __future__ import annotations

from functools import partial

from tl_jax.data.sources.errors import counted
from tl_jax.evaluation.estimate import Estimate
from tl_jax.evaluation.novelty import MEASURE
from tl_jax.lab import robustness_picture
from tl_jax.lab.compare import Comparison, corrected, display_name
from tl_jax.lab.robustness import Robustness
from tl_jax.lab.summary import Summary
from tl_jax.lab.versus import SURE
from tl_jax.report.table import Column, Table, Value

SHOWN = ("accuracy", "auroc", "nll", "ece", MEASURE)


def told(found: Robustness) -> Summary:
    """For people."""
    return Summary(
        name="robustness",
        title="What is lost on other pictures?",
        verdict=verdict(found),
        tables=[_losses(found), *_errors(found), *_differences(found), _measures(found)],
        facts={"measure": found.measure, "reference": found.reference},
        draw=partial(robustness_picture.draw, found),
        also={"pictures": partial(robustness_picture.show, found)},
    )


def verdict(found: Robustness) -> str:
    """Which arm loses least, and how sure that is."""
    lost, called = found.lost, display_name(found.measure)
    order = sorted(lost.points, key=lambda arm: lost.points[arm][found.measure])
    each = ", ".join(f"{arm} {lost.arm(arm, found.measure).text()}" for arm in order)
    text = f"{called} lost, mean of {counted(len(found.versions), 'corrupted version')}: {each}."
    if len(order) == 1:
        return f"{text} {_noticed(found)}"
    least = order[0]
    sure = all(one.p < SURE for one in _ahead(lost, least, found.measure).values())
    text += f" {least} loses least: " if sure else " Which loses least cannot be told: "
    told = [_told(compared, least, found.measure) for compared in (lost, found.within, found.at())]
    text += f"{told[0]}. As pictures are, {told[1]}; corrupted, {told[2]}."
    errors = [
        f"{arm} {found.corruption_errors(arm)['mean'].text('.3f')}" for arm in order if arm != found.reference
    ]
    return (
        f"{text} Mean corruption error, where {found.reference} has 1: {', '.join(errors)}. {_noticed(found)}"
    )


def _noticed(found: Robustness) -> str:
    """Whether an arm can tell corrupted pictures from those as they are."""
    out = found.at()
    each = ", ".join(f"{arm} {out.arm(arm, MEASURE).text()}" for arm in out.points)
    return f"Energy tells corrupted pictures from the others with an AUROC of {each}; 0.5 is chance."


def _ahead(compared: Comparison, arm: str, measure: str) -> dict[str, Estimate]:
    """The arm less each other one, p corrected for their number."""
    others = [other for other in compared.points if other != arm]
    return corrected({other: compared.difference(arm, other, measure) for other in others})


def _told(compared: Comparison, arm: str, measure: str) -> str:
    return "; ".join(
        f"{arm} less {other} is {one.text('+.4f')}, p {one.p:.3f}"
        for other, one in _ahead(compared, arm, measure).items()
    )


def _losses(found: Robustness) -> Table:
    """A row an arm."""
    measure, lost, out = found.measure, found.lost, found.at()
    columns = [Column("arm"), Column("within", "as they are"), Column("out", "corrupted"), Column("lost")]
    rows: list[list[Value]] = [
        [arm, *(compared.arm(arm, measure) for compared in (found.within, out, lost))] for arm in lost.points
    ]
    notes = [f"{lost.basis}; corrupted: the mean of {counted(len(found.versions), 'version')}"]
    if found.missing:
        notes.append(f"left out, as not all arms have their seed: {', '.join(found.missing)}")
    return Table(columns, rows, title=display_name(measure), notes=notes)


def _errors(found: Robustness) -> list[Table]:
    """Two rows an arm: its errors with each corruption as a share of the reference's, which has none."""
    others = [arm for arm in found.within.points if arm != found.reference]
    if not others:
        return []
    columns = [Column("arm"), Column("errors")]
    columns += [Column(name, form=".3f") for name in (*found.corruptions, "mean")]
    rows: list[list[Value]] = []
    for arm in others:
        for relative, called in ((False, "all"), (True, "more than as they are")):
            errors = found.corruption_errors(arm, relative=relative)
            rows.append([arm, called, *errors.values()])
    notes = [
        f"errors of {found.reference} are 1; the mean of all is the mCE, that of the others the relative mCE "
        f"(Hendrycks and Dietterich 2019); –: {found.reference} makes none"
    ]
    return [Table(columns, rows, title="Corruption errors", notes=notes)]


def _rows(found: Robustness) -> list[tuple[str, int | None, Comparison]]:
    """What tables have a row of: each version, and the means."""
    rows: list[tuple[str, int | None, Comparison]] = [("as they are", None, found.within)]
    rows += [(corruption, severity, one) for (corruption, severity), one in found.versions.items()]
    if len({corruption for corruption, _ in found.versions}) > 1:
        rows += [("mean of corruptions", severity, found.at(severity)) for severity in found.severities]
    if len(found.versions) > 1:
        rows.append(("mean of all", None, found.at()))
    return rows


def _differences(found: Robustness) -> list[Table]:
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


def _measures(found: Robustness) -> Table:
    """A row a version and arm."""
    there = next(iter(next(iter(found.versions.values())).points.values()))
    shown = [name for name in dict.fromkeys((found.measure, *SHOWN)) if name in there]
    columns = [Column("pictures"), Column("severity"), Column("arm")]
    columns += [Column(name, display_name(name)) for name in shown]
    rows: list[list[Value]] = [
        [
            pictures,
            severity,
            arm,
            *(compared.arm(arm, name) if name in compared.points[arm] else None for name in shown),
        ]
        for pictures, severity, compared in _rows(found)
        for arm in compared.points
    ]
    note = f"{display_name(MEASURE)}: of the energy of logits, between these pictures and those as they are"
    return Table(columns, rows, notes=[note])
