"""Did transfer help, do nothing, or hurt? The summary of arms with pretrained weights against one without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from tl_jax.evaluation.estimate import Estimate
from tl_jax.evaluation.validation import HIGHER_IS_BETTER
from tl_jax.lab import catching_up, curves
from tl_jax.lab.arms import ARMS, SCRATCH
from tl_jax.lab.catching_up import CatchingUp
from tl_jax.lab.chosen import Choice, Chosen, best
from tl_jax.lab.compare import Comparison, corrected, display_name, predictions, rises
from tl_jax.lab.curves import Curve
from tl_jax.lab.records import Record
from tl_jax.lab.summary import Summary
from tl_jax.lab.versus import SURE
from tl_jax.report.table import Column, Table, Value

Key = tuple[float, str]
"""Fraction of the labels, and arm."""


@dataclass(frozen=True)
class Transfer:
    """What the runs say. ``arms``: by fraction and arm, in order. ``differences``: of each to scratch, p
    corrected for their number (Holm). ``decided``: fraction → the arm with pretrained weights that validation
    prefers, and its difference to scratch, p corrected for the number of fractions. ``curves`` are of
    ``metric``, one for each seed."""

    arms: Mapping[Key, Chosen]
    compared: Comparison
    measure: str
    metric: str
    differences: Mapping[Key, Estimate]
    decided: Mapping[float, tuple[str, Estimate]]
    curves: Mapping[Key, Sequence[Curve]]
    caught: Mapping[Key, CatchingUp]
    missing: Sequence[str]

    @property
    def fractions(self) -> list[float]:
        return sorted({fraction for fraction, _ in self.arms})


def found(root: Path, records: Sequence[Record], config: ConfigDict, measure: str = "") -> Transfer:
    """Of the finished runs in ``root``. Raises ValueError where they cannot be compared."""
    select = config.select.metric
    choice = Choice(records, select, lambda one: (one["facts"]["fraction"], one["facts"]["arm"]))
    arms = {key: choice.arms[key] for key in sorted(choice.arms, key=lambda k: (k[0], ARMS.index(k[1])))}
    if not arms:
        raise ValueError("no arm is finished with every seed, so that nothing can be compared yet")
    folds = {name(key): [predictions(root, one) for one in arm.records] for key, arm in arms.items()}
    compared = Comparison(folds, config.evaluation)
    measure = compared.measure(measure)
    against = {key: (key[0], SCRATCH) for key in arms if key[1] != SCRATCH and (key[0], SCRATCH) in arms}
    raw = {key: compared.difference(name(key), name(other), measure) for key, other in against.items()}
    preferred = {
        fraction: best([k for k in raw if k[0] == fraction], lambda k: arms[k].value, select)
        for fraction in sorted({key[0] for key in raw})
    }
    decided = corrected({fraction: raw[key] for fraction, key in preferred.items()})
    metric = measure if measure in HIGHER_IS_BETTER else select
    lines = {
        key: [curves.read(root / one["name"], metric) for one in arm.records] for key, arm in arms.items()
    }
    caught = {
        key: catching_up.of(lines[key], lines[other], rises=rises(metric)) for key, other in against.items()
    }
    return Transfer(
        arms=arms,
        compared=compared,
        measure=measure,
        metric=metric,
        differences=corrected(raw),
        decided={fraction: (preferred[fraction][1], one) for fraction, one in decided.items()},
        curves=lines,
        caught=caught,
        missing=choice.missing,
    )


def name(key: Key) -> str:
    """What an arm is called in a comparison."""
    return f"{key[0]:g}/{key[1]}"


def summary(of: Transfer) -> Summary:
    """The tables, the picture and the verdict."""
    from tl_jax.lab import transfer_picture

    return Summary(
        name="transfer",
        title="Transfer, or training from scratch",
        verdict=verdict(of),
        tables=[table(of), catching_up.table(of.caught, of.metric, _budget(of))],
        facts={"measure": of.measure, "decided": {f"{f:g}": outcome(of, f) for f in of.decided}},
        draw=lambda path: transfer_picture.draw(of, path),
    )


def table(of: Transfer) -> Table:
    """A row an arm."""
    measured = of.compared.points[name(next(iter(of.arms)))]
    shown = [one for one in dict.fromkeys((of.measure, "auroc", "accuracy", "nll")) if one in measured]
    judged = display_name(of.measure)
    columns = [
        Column("labels", form=".4g"),
        Column("pictures", form=".4g"),
        Column("arm"),
        Column("lr", form=".3g"),
        *(Column(one, display_name(one)) for one in shown),
        Column("difference", f"{judged} less scratch", "+.4f"),
        Column("p", form=".3f"),
        Column("steps"),
        Column("seconds", form=".1f"),
        Column("tflop", "TFLOP", ".2f"),
    ]
    rows: list[list[Value]] = []
    for key, arm in of.arms.items():
        difference = of.differences.get(key)
        estimates = [of.compared.arm(name(key), one) for one in shown]
        pictures = float(np.mean([one["facts"]["pictures"] for one in arm.records]))
        flops = [one["flops"] for one in arm.records]
        cost = None if None in flops else float(np.mean(flops)) / 1e12
        seconds = float(np.mean([one["seconds"]["train"] for one in arm.records]))
        compared = (difference, difference.p) if difference else (None, None)
        steps = arm.records[0]["steps"]
        rows.append([key[0], pictures, key[1], arm.lr, *estimates, *compared, steps, seconds, cost])
    return Table(columns, rows, notes=_notes(of))


def _notes(of: Transfer) -> list[str]:
    notes = [
        f"{of.compared.basis}; a seed draws the labelled examples, too, for all arms alike.",
        "Validation, which chooses checkpoints and learning rates, has all of its labels at every fraction.",
        f"p: corrected for the {len(of.differences)} differences of this table (Holm); in the verdict for "
        f"{len(of.decided)}, one a fraction, of arms that validation chose.",
        "Every run takes the same number of steps; where layers are frozen a step costs less: see seconds "
        "(of training alone) and TFLOP.",
    ]
    if all(arm.tried == 1 for arm in of.arms.values()):
        notes.append("Each arm has one learning rate; --lrs lets validation choose from several.")
    edge = [f"{arm} at {fraction:g}" for (fraction, arm), one in of.arms.items() if one.edge]
    if edge:
        notes.append(f"The rate chosen is the lowest or highest that was tried: {', '.join(edge)}.")
    if of.missing:
        notes.append(f"left out, as runs are missing: {', '.join(of.missing)}")
    return notes


def outcome(of: Transfer, fraction: float) -> str:
    """ "helped", "hurt", or "undecided" where no difference can be told."""
    _, difference = of.decided[fraction]
    if not difference.p < SURE:
        return "undecided"
    return "helped" if (difference.value > 0) == rises(of.measure) else "hurt"


def verdict(of: Transfer) -> str:
    """Whether transfer helped, with the interval, at each fraction."""
    if not of.decided:
        return "Nothing can be said: at no fraction is scratch finished beside another arm."
    words = {
        "helped": "Transfer helped at {}",
        "hurt": "Transfer hurt (negative transfer) at {}",
        "undecided": "No difference can be told at {}",
    }
    outcomes = {fraction: outcome(of, fraction) for fraction in of.decided}
    lines = [
        text.format(_listed([f for f, one in outcomes.items() if one == kind])) + " of the labels."
        for kind, text in words.items()
        if kind in outcomes.values()
    ]
    judged = display_name(of.measure)
    for fraction, (arm, difference) in of.decided.items():
        told = f"{arm} less scratch {judged} {difference.text('+.4f')}, p {difference.p:.3f}"
        time = of.caught[fraction, arm].sentence(display_name(of.metric))
        lines.append(f"At {100 * fraction:.4g} %: {told}. {time}")
    return "\n".join(lines)


def _listed(fractions: Sequence[float]) -> str:
    texts = [f"{100 * fraction:.4g} %" for fraction in fractions]
    return ", ".join(texts[:-1]) + " and " + texts[-1] if len(texts) > 1 else texts[0]


def _budget(of: Transfer) -> int:
    return max(one["steps"] for arm in of.arms.values() for one in arm.records)
