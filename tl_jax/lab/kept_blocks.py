"""How transferable are the first k blocks? The summary of networks that keep them, frozen or fine-tuned.

After Yosinski et al., "How transferable are features in deep neural networks?" (NeurIPS 2014): the first k
layers come from another task, the others are drawn anew; all are trained on the target, with the kept ones
frozen (their AnB) or fine-tuned (AnB+). There, frozen features serve the target the worse the more of them
are kept, since higher ones are special to their own task and neighbours lose what they had learned to do
together; fine-tuned they recover.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from tl_jax.evaluation.estimate import Estimate
from tl_jax.lab import pictures
from tl_jax.lab.chosen import Choice, Chosen
from tl_jax.lab.compare import Comparison, corrected, display_name, predictions, rises
from tl_jax.lab.records import Record
from tl_jax.lab.summary import Summary
from tl_jax.lab.versus import SURE
from tl_jax.report.table import Column, Table, Value

NOTHING, FROZEN, TUNED = "nothing", "frozen", "fine-tuned"
"""What becomes of the kept blocks; with nothing kept, training is from scratch."""

WITH_DEPTH = ("gets worse with every block more", "gets better with every block more", "has no sure trend")
WITH_TUNING = ("hurts", "recovers it", "makes no difference that can be told")
"""What is said of a difference: for the worse, for the better, not sure."""

Key = tuple[int, str]
"""Blocks that are kept besides the stem (-1: not even that), and how."""


@dataclass(frozen=True)
class Transferability:
    """``recovery``: blocks kept → fine-tuned less frozen, p corrected for their number (Holm). ``trends``: of
    frozen and of fine-tuned networks, what one block more changes: the slope of a line through all cuts, None
    where there are not two."""

    arms: Mapping[Key, Chosen]
    compared: Comparison
    measure: str
    recovery: Mapping[int, Estimate]
    trends: Mapping[str, Estimate | None]
    missing: Sequence[str]

    @property
    def cuts(self) -> list[int]:
        return sorted({cut for cut, how in self.arms if how != NOTHING})

    def arm(self, key: Key, measure: str = "") -> Estimate | None:
        """None for one that is not there."""
        return self.compared.arm(name(key), measure or self.measure) if key in self.arms else None


def found(root: Path, records: Sequence[Record], config: ConfigDict, measure: str = "") -> Transferability:
    """Of the finished runs in ``root``. Raises ValueError where they cannot be compared."""
    select = config.select.metric
    choice = Choice(records, select, lambda one: (int(one["facts"]["kept"]), str(one["facts"]["how"])))
    arms = choice.arms
    if not arms:
        raise ValueError("no cut is finished with every seed, so that nothing can be compared yet")
    folds = {name(key): [predictions(root, one) for one in arm.records] for key, arm in arms.items()}
    compared = Comparison(folds, config.evaluation)
    return compare(arms, compared, compared.measure(measure), choice.missing)


def compare(
    arms: Mapping[Key, Chosen], compared: Comparison, measure: str, missing: Sequence[str]
) -> Transferability:
    """From the comparison of these networks, by `name`."""
    order = (NOTHING, FROZEN, TUNED)
    arms = {key: arms[key] for key in sorted(arms, key=lambda k: (k[0], order.index(k[1])))}
    both = [cut for cut, how in arms if how == FROZEN and (cut, TUNED) in arms]
    raw = {cut: compared.difference(name((cut, TUNED)), name((cut, FROZEN)), measure) for cut in both}
    trends = {how: _trend(compared, arms, how, measure) for how in (FROZEN, TUNED)}
    return Transferability(arms, compared, measure, corrected(raw), trends, missing)


def name(key: Key) -> str:
    """What a network is called in a comparison."""
    return f"{key[0]} {key[1]}"


def _trend(compared: Comparison, arms: Mapping[Key, Chosen], how: str, measure: str) -> Estimate | None:
    cuts = [cut for cut, other in arms if other == how]
    if len(cuts) < 2:
        return None
    aside = np.array(cuts) - np.mean(cuts)
    weights = aside / (aside**2).sum()
    return compared.combination(
        [(name((cut, how)), float(weight)) for cut, weight in zip(cuts, weights, strict=True)], measure
    )


def summary(of: Transferability) -> Summary:
    """The tables, the picture and the verdict."""
    return Summary(
        name="transferability",
        title="How transferable are the first blocks?",
        verdict=verdict(of),
        tables=[table(of), details(of)],
        facts={"measure": of.measure, "trends": of.trends},
        draw=lambda path: draw(of, path),
    )


def table(of: Transferability) -> Table:
    """A row a cut."""
    judged = display_name(of.measure)
    columns = [
        Column("kept"),
        Column("frozen", f"{judged}, frozen"),
        Column("fine_tuned", "fine-tuned"),
        Column("difference", "fine-tuned less frozen", "+.4f"),
        Column("p", form=".3f"),
    ]
    rows: list[list[Value]] = []
    if (scratch := of.arm((-1, NOTHING))) is not None:
        rows.append([NOTHING, None, scratch, None, None])
    for cut in of.cuts:
        difference = of.recovery.get(cut)
        compared = (difference, difference.p) if difference else (None, None)
        rows.append([_kept(cut), of.arm((cut, FROZEN)), of.arm((cut, TUNED)), *compared])
    notes = [
        f"{of.compared.basis}; p corrected for their number (Holm): {len(of.recovery)}",
        f"what is not kept is drawn anew, the neck too, and trains from the start; {NOTHING}: from scratch",
    ]
    if of.missing:
        notes.append(f"left out, as runs are missing: {', '.join(of.missing)}")
    return Table(columns, rows, notes=notes)


def details(of: Transferability) -> Table:
    """A row a network: every measure, and what it cost."""
    measured = next(iter(of.compared.points.values()))
    shown = [one for one in dict.fromkeys((of.measure, "auroc", "accuracy", "nll")) if one in measured]
    columns = [
        Column("kept"),
        Column("how"),
        Column("lr", form=".3g"),
        *(Column(one, display_name(one)) for one in shown),
        Column("trained", "trained parameters"),
        Column("seconds", form=".1f"),
        Column("tflop", "TFLOP", ".2f"),
    ]
    rows: list[list[Value]] = []
    for key, arm in of.arms.items():
        flops = [one["flops"] for one in arm.records]
        rows.append(
            [
                _kept(key[0]),
                key[1],
                arm.lr,
                *(of.arm(key, one) for one in shown),
                arm.records[0]["trained"],
                float(np.mean([one["seconds"]["train"] for one in arm.records])),
                None if None in flops else float(np.mean(flops)) / 1e12,
            ]
        )
    return Table(columns, rows)


def verdict(of: Transferability) -> str:
    """Whether the published direction came out: frozen features fall with depth, and recover when tuned."""
    falls, deepest = of.trends[FROZEN], of.recovery.get(of.cuts[-1]) if of.cuts else None
    if falls is None or deepest is None:
        return "Nothing can be said about depth: that takes two cuts or more, frozen and fine-tuned."
    judged = display_name(of.measure)
    sign = 1 if rises(of.measure) else -1
    way, back = _way(falls, sign, WITH_DEPTH), _way(deepest, sign, WITH_TUNING)
    tuned = of.trends[TUNED]
    lines = [
        f"Frozen, the network {way}: {judged} {falls.text('+.4f')} a block, p {falls.p:.3f}.",
        f"With {_kept(of.cuts[-1])} kept, fine-tuning {back}: {judged} {deepest.text('+.4f')}, "
        f"p {deepest.p:.3f}.",
    ]
    if tuned is not None:
        lines.append(f"Fine-tuned, {judged} changes by {tuned.text('+.4f')} a block, p {tuned.p:.3f}.")
    held = [falls.p < SURE and sign * falls.value < 0, deepest.p < SURE and sign * deepest.value > 0]
    came = {0: "did not come out", 1: "came out in part", 2: "came out"}[sum(held)]
    lines.append(
        "The published direction (Yosinski et al. 2014: frozen features transfer worse with depth, and "
        f"recover with fine-tuning) {came}."
    )
    return "\n".join(lines)


def _way(one: Estimate, sign: int, words: tuple[str, str, str]) -> str:
    worse, better, unsure = words
    if not one.p < SURE:
        return unsure
    return better if sign * one.value > 0 else worse


def _kept(cut: int) -> str:
    if cut < 0:
        return NOTHING
    return "stem" if cut == 0 else f"first {cut}"


def draw(of: Transferability, path: Path) -> None:
    """Writes the picture: what is measured against the blocks that are kept."""
    judged = display_name(of.measure)
    with pictures.figure(path, rows=2, heights=(3, 2)) as (above, below):
        for number, (how, colour) in enumerate(((FROZEN, pictures.DARK), (TUNED, pictures.MARK))):
            line = [(cut, one) for cut in of.cuts if (one := of.arm((cut, how)))]
            _line(above, line, colour, label=f"kept blocks {how}", aside=0.06 * (2 * number - 1))
        if (scratch := of.arm((-1, NOTHING))) is not None:
            above.axhline(scratch.value, color="#6b6b6b", linestyle=":", linewidth=1, label="from scratch")
            above.axhspan(scratch.low, scratch.high, color="#6b6b6b", alpha=0.08, linewidth=0)
        above.set_ylabel(f"test {judged}")
        above.set_title(of.compared.basis)
        above.legend(frameon=False)
        _line(below, list(of.recovery.items()), pictures.DARK)
        below.axhline(0, color="#6b6b6b", linewidth=0.8)
        below.set_ylabel("fine-tuned less frozen")
        below.set_xlabel("blocks kept (0: the stem alone); those above are drawn anew")
        below.set_xticks(of.cuts)


def _line(
    axes: Any, points: Sequence[tuple[int, Estimate]], colour: str, *, label: str = "", aside: float = 0
) -> None:
    values = [one for _, one in points]
    ends = [[one.value - one.low for one in values], [one.high - one.value for one in values]]
    at = [cut + aside for cut, _ in points]
    axes.errorbar(at, [one.value for one in values], ends, fmt="o-", color=colour, capsize=3, label=label)
