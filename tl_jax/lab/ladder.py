"""The summary of a freeze ladder: a table, a picture and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tl_jax.evaluation.estimate import Estimate
from tl_jax.lab import ladder_picture
from tl_jax.lab.compare import Comparison, corrected, display_name, predictions, rises
from tl_jax.lab.records import Record
from tl_jax.lab.summary import Summary
from tl_jax.report.table import Column, Table


@dataclass(frozen=True)
class Rung:
    """One cut. ``measures``: name → mean over seeds with its interval. Of the one that cuts are judged by:
    ``each`` seed's value; ``step``, that less the next higher cut's, with p corrected for the number of such
    pairs; ``loss`` to the best cut."""

    cut: int
    train: str
    trained: int
    seconds: float
    peak_bytes: float | None
    flops: float | None
    measures: Mapping[str, Estimate]
    each: Sequence[float]
    step: Estimate | None
    loss: Estimate


@dataclass(frozen=True)
class Ladder:
    """``rungs`` from the deepest cut (everything trains) to the highest (the head alone)."""

    rungs: Sequence[Rung]
    measure: str
    margin: float
    seeds: int
    basis: str
    missing: Sequence[str] = ()

    @property
    def best(self) -> Rung:
        """With the best mean."""
        key = [rung.measures[self.measure].value for rung in self.rungs]
        return self.rungs[int(np.argmax(key) if rises(self.measure) else np.argmin(key))]

    @property
    def chosen(self) -> Rung:
        """The highest that is not worse than the best by more than the margin, as far as the interval
        knows."""
        enough = [rung for rung in self.rungs if rung is self.best or rung.loss.high <= self.margin]
        return max(enough, key=lambda rung: rung.cut)


def told(found: Ladder) -> Summary:
    """The ladder for people."""
    return Summary(
        name="ladder",
        title="Which layers should stay frozen?",
        verdict=verdict(found),
        tables=[table(found)],
        facts=asdict(found),
        draw=partial(ladder_picture.draw, found),
    )


def summarise(root: Path, records: Sequence[Record], settings: Any, *, measure: str, margin: float) -> Ladder:
    """What the runs of a ladder say. Cuts of which a seed is missing are left out, and named."""
    by_cut: dict[int, list[Record]] = {}
    for record in records:
        by_cut.setdefault(record["facts"]["cut"], []).append(record)
    whole = max(len(runs) for runs in by_cut.values())
    missing = [f"cut {cut}" for cut, runs in by_cut.items() if len(runs) < whole]
    by_cut = {cut: by_cut[cut] for cut in sorted(by_cut) if len(by_cut[cut]) == whole}
    arms = {str(cut): [predictions(root, one) for one in runs] for cut, runs in by_cut.items()}
    compared = Comparison(arms, settings)
    measure, names = compared.measure(measure), compared.points[next(iter(arms))]
    best = compared.best(measure)
    neighbours = zip(arms, list(arms)[1:], strict=False)
    steps = corrected({low: compared.difference(low, high, measure) for low, high in neighbours})
    shown = [name for name in dict.fromkeys((measure, "auroc", "accuracy", "nll", "ece")) if name in names]
    rungs = [
        Rung(
            cut=cut,
            train=runs[0]["facts"]["train"],
            trained=runs[0]["trained"],
            seconds=float(np.mean([one["seconds"]["start"] for one in runs])),
            peak_bytes=_mean([one["peak_bytes"] for one in runs]),
            flops=_mean([one["flops"] for one in runs]),
            measures={name: compared.arm(str(cut), name) for name in shown},
            each=[one["test"][measure]["value"] for one in runs],
            step=steps.get(str(cut)),
            loss=compared.loss(str(cut), best, measure),
        )
        for cut, runs in by_cut.items()
    ]
    return Ladder(rungs, measure, margin, whole, compared.basis, missing)


def table(found: Ladder) -> Table:
    """A row a rung."""
    shown, judged = list(found.rungs[0].measures), display_name(found.measure)
    columns = [Column("frozen"), Column("trains"), Column("trained", "parameters")]
    columns += [Column(name, display_name(name)) for name in shown]
    columns += [
        Column("seconds", form=".1f"),
        Column("peak_bytes", "memory, MB", form=",.0f"),
        Column("flops", "TFLOP", form=",.1f"),
        Column("step", "less the next", form="+.4f"),
        Column("p", form=".3f"),
    ]
    rows = [
        [
            *(rung.cut, rung.train, rung.trained),
            *(rung.measures[name] for name in shown),
            rung.seconds,
            rung.peak_bytes / 1e6 if rung.peak_bytes else None,
            rung.flops / 1e12 if rung.flops else None,
            rung.step,
            rung.step.p if rung.step else None,
        ]
        for rung in found.rungs
    ]
    notes = [
        f"{found.basis};",
        f"{judged} less that of the next line, p corrected for their number (Holm): {len(found.rungs) - 1}",
    ]
    if found.missing:
        notes.append(f"left out, as runs are missing: {', '.join(found.missing)}")
    return Table(columns, rows, notes=notes)


def verdict(found: Ladder) -> str:
    """Which plan to take."""
    best, chosen, name = found.best, found.chosen, display_name(found.measure)
    value = best.measures[found.measure].value
    if chosen is best:
        cheaper = any(rung.cut > best.cut for rung in found.rungs)
        why = f"no cheaper one is surely within {found.margin:g} of it" if cheaper else "none is cheaper"
        return f"Train {best.train!r} ({_frozen(best)}): it is the best ({name} {value:.4f}), and {why}."
    return (
        f"Train {chosen.train!r} ({_frozen(chosen)}): the cheapest plan that is not worse than the best by "
        f"more than {found.margin:g}. To {best.train!r} ({name} {value:.4f}) it loses "
        f"{chosen.loss.value:.4f} ({chosen.loss.low:.4f} to {chosen.loss.high:.4f}) "
        f"and takes {_share(chosen, best)}."
    )


def _share(chosen: Rung, best: Rung) -> str:
    time = f"{chosen.seconds / best.seconds:.0%} of the time"
    if chosen.flops is None or best.flops is None:
        return time
    return f"{chosen.flops / best.flops:.0%} of the operations of its steps, {time}"


def _frozen(rung: Rung) -> str:
    return f"{rung.cut} blocks frozen" if rung.cut else "nothing frozen"


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None
