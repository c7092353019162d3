"""Surgical fine-tuning: what each block group reaches on each target, at the rate that validation prefers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from tl_jax.evaluation.estimate import Estimate
from tl_jax.finished import open_run
from tl_jax.lab.compare import Comparison, answers, corrected, own_test, predictions, rises
from tl_jax.lab.records import Record

NONE, ALL = "none", "all"
ARMS = (NONE, "first", "middle", "last", "head", ALL)


@dataclass(frozen=True)
class Choice:
    """What validation has chosen for an arm on a target: the rate, with the mean over seeds of the validation
    metric; ``at_edge``: it is the lowest or the highest of several. ``seconds`` a run."""

    lr: float
    validation: float
    trained: int
    seconds: float
    at_edge: bool


@dataclass(frozen=True)
class Target:
    """``kind``: "clean", "corrupted" or "flipped". ``compared``: `NONE` (the source as it was), the groups
    and `ALL`. ``choices``: of the arms that were trained."""

    name: str
    kind: str
    compared: Comparison
    choices: Mapping[str, Choice]


@dataclass(frozen=True)
class Surgery:
    """``measure`` judges on the test split, ``metric`` chose on validation."""

    targets: Sequence[Target]
    measure: str
    metric: str

    @property
    def differences(self) -> dict[tuple[str, str], Estimate]:
        """(Target, arm) → the arm less `ALL`, p corrected for the number of them all."""
        return corrected(
            {
                (target.name, arm): target.compared.difference(arm, ALL, self.measure)
                for target in self.targets
                for arm in target.compared.points
                if arm != ALL
            }
        )


def summarise(
    root: Path, sources: Sequence[Record], records: Sequence[Record], config: ConfigDict, measure: str = ""
) -> Surgery:
    """What the runs in ``root`` say: ``records`` of every target, group, rate and seed of ``sources``."""
    runs = [open_run(root / line["name"]) for line in sorted(sources, key=_seed)]
    metric, found = config.select.metric, []
    for name in dict.fromkeys(line["facts"]["target"] for line in records):
        own = [line for line in records if line["facts"]["target"] == name]
        chosen = {arm: choose(own, arm, metric) for arm in ARMS if any(_is(arm)(line) for line in own)}
        test = own_test(open_run(root / own[0]["name"]))
        arms = {NONE: [answers(run, test) for run in runs]}
        arms |= {arm: [predictions(root, line) for line in lines] for arm, (lines, _) in chosen.items()}
        compared = Comparison(arms, config.evaluation)
        choices = {arm: choice for arm, (_, choice) in chosen.items()}
        found.append(Target(name, own[0]["facts"]["kind"], compared, choices))
    return Surgery(found, found[0].compared.measure(measure), metric)


def choose(records: Sequence[Record], arm: str, metric: str) -> tuple[list[Record], Choice]:
    """An arm's runs with the rate that validation prefers, in the order of their seeds."""
    by_rate: dict[float, list[Record]] = {}
    for line in sorted(filter(_is(arm), records), key=_seed):
        by_rate.setdefault(line["facts"]["lr"], []).append(line)
    means = {lr: float(np.mean([line["best"]["value"] for line in lines])) for lr, lines in by_rate.items()}
    lr = (max if rises(metric) else min)(means, key=means.__getitem__)
    return by_rate[lr], Choice(
        lr=lr,
        validation=means[lr],
        trained=by_rate[lr][0]["trained"],
        seconds=float(np.mean([line["seconds"]["start"] for line in by_rate[lr]])),
        at_edge=len(means) > 1 and lr in (min(means), max(means)),
    )


def _is(arm: str) -> Callable[[Record], bool]:
    return lambda line: line["facts"]["group"] == arm


def _seed(record: Record) -> int:
    return record["seed"]
