"""What is told of surgical fine-tuning: a table, a picture and a verdict on what was published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tl_jax.lab import pictures
from tl_jax.lab.compare import corrected, display_name, rises
from tl_jax.lab.summary import Summary
from tl_jax.lab.surgical import ALL, ARMS, Surgery, Target
from tl_jax.lab.versus import SURE
from tl_jax.report.table import Column, Table, Value

SHOWN = ("auroc", "accuracy", "nll")

PUBLISHED: Mapping[str, tuple[str, Sequence[str], Sequence[str]]] = {
    "corrupted": ("lower layers where the input is shifted", ("first",), ("last", "head")),
    "flipped": ("upper layers where the output is shifted", ("last", "head"), ("first",)),
}
"""Kind of target → what Lee et al. (2022) found to be best, its groups, and those of
the other end."""


def told(found: Surgery) -> Summary:
    """For people."""
    return Summary(
        name="surgical",
        title="Which part of a network should learn a shifted target?",
        verdict=verdict(found),
        tables=[table(found)],
        facts={"measure": found.measure, "metric": found.metric},
        draw=partial(draw, found),
    )


def table(found: Surgery) -> Table:
    """A row a target and arm."""
    first = found.targets[0].compared
    there = next(iter(first.points.values()))
    shown = [name for name in dict.fromkeys((found.measure, *SHOWN)) if name in there]
    columns = [Column("target"), Column("trains"), Column("trained", "parameters"), Column("lr", form="g")]
    columns += [Column("validation", f"validation {display_name(found.metric)}")]
    columns += [Column(name, display_name(name)) for name in shown]
    columns += [
        Column("less_all", "less all", "+.4f"),
        Column("p", form=".3f"),
        Column("seconds", form=".1f"),
    ]
    differences, rows = found.differences, list[list[Value]]()
    called = display_name(found.measure)
    for target in found.targets:
        for arm in target.compared.points:
            choice, less = target.choices.get(arm), differences.get((target.name, arm))
            of_choice = (choice.trained, choice.lr, choice.validation) if choice else (0, None, None)
            measures = (target.compared.arm(arm, name) for name in shown)
            end = (less, less.p if less else None, choice.seconds if choice else None)
            rows.append([target.name, arm, *of_choice, *measures, *end])
    notes = [
        f"{first.basis}; none: the source as it was",
        f"{called} less that of all, p corrected for their number (Holm): {len(differences)}",
    ]
    edges = [
        f"{target.name} {arm}"
        for target in found.targets
        for arm, choice in target.choices.items()
        if choice.at_edge
    ]
    if edges:
        notes.append(
            f"the lowest or highest rate that was tried was best for {', '.join(edges)}: try more there"
        )
    return Table(columns, rows, notes=notes)


def verdict(found: Surgery) -> str:
    """For each target, the group that validation prefers; and whether the published directions come out."""
    differences, called = found.differences, display_name(found.measure)
    lines = []
    for target in found.targets:
        groups = {arm: choice.validation for arm, choice in target.choices.items() if arm != ALL}
        best = (max if rises(found.metric) else min)(groups, key=groups.__getitem__)
        value, less = target.compared.arm(best, found.measure), differences[target.name, best]
        lines.append(
            f"{target.name}: of the groups, validation takes {best}, {called} {value.text()} on the test "
            f"split; less all {less.text('+.4f')}, p {less.p:.3f}."
        )
    pairs = [(target, pair) for target in found.targets if (pair := _ends(target, found.metric))]
    ahead = corrected(
        {target.name: target.compared.loss(other, own, found.measure) for target, (own, other) in pairs}
    )
    for target, (own, other) in pairs:
        one = ahead[target.name]
        came = (
            "it cannot be told"
            if one.p >= SURE
            else "so it is here"
            if one.value > 0
            else "here it is the opposite"
        )
        lines.append(
            f"Published: {PUBLISHED[target.kind][0]}. On {target.name}, {own} is ahead of {other} by "
            f"{one.text('+.4f')}, p {one.p:.3f}: {came}."
        )
    return "\n".join(lines)


def _ends(target: Target, metric: str) -> tuple[str, str] | None:
    """The published group and one of the other end, each the one that validation prefers; None where nothing
    is published of this kind, or an end was not trained."""
    _, *ends = PUBLISHED.get(target.kind, ("", (), ()))
    found = []
    for end in ends:
        values = {arm: target.choices[arm].validation for arm in end if arm in target.choices}
        if not values:
            return None
        found.append((max if rises(metric) else min)(values, key=values.__getitem__))
    return found[0], found[1]


def draw(found: Surgery, path: Path) -> None:
    """Bars of the measure, a cluster a target."""
    arms = [arm for arm in ARMS if arm in found.targets[0].compared.points]
    width = 0.8 / len(arms)
    with pictures.figure(path) as axes:
        for number, (arm, colour) in enumerate(zip(arms, pictures.colours(len(arms)), strict=True)):
            means = [target.compared.arm(arm, found.measure) for target in found.targets]
            at = [x + width * (number - (len(arms) - 1) / 2) for x in range(len(means))]
            heights = [one.value for one in means]
            axes.bar(at, heights, width * 0.9, yerr=pictures.reach(means), color=colour, capsize=2, label=arm)
        axes.set_xticks(range(len(found.targets)), [target.name for target in found.targets])
        axes.set_ylabel(f"test {display_name(found.measure)}")
        axes.set_title("what trains; means with 95 % intervals")
        axes.legend(frameon=False, ncols=len(arms), loc="upper center", bbox_to_anchor=(0.5, -0.1))
