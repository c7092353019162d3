"""Which learning rate an arm is judged by: the one that validation prefers, so that tests stay honest."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from tl_jax.lab.compare import rises
from tl_jax.lab.records import Record

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Chosen:
    """``records``: one for each seed, in their order. ``value``: the best measurement of ``select.metric`` on
    validation, mean over the seeds. ``tried``: how many rates it was chosen from; ``edge``: whether it is the
    lowest or the highest of several."""

    lr: float
    records: Sequence[Record]
    value: float
    tried: int
    edge: bool


class Choice(Generic[Key]):
    """Arms by ``key`` of their records, each with the rate (``facts["lr"]``) that ``metric`` chose.
    ``missing`` names the variations that lack a seed: those are left out."""

    def __init__(self, records: Sequence[Record], metric: str, key: Callable[[Record], Key]) -> None:
        found: dict[Key, dict[float, list[Record]]] = {}
        for one in sorted(records, key=lambda record: record["seed"]):
            found.setdefault(key(one), {}).setdefault(one["facts"]["lr"], []).append(one)
        whole = {record["seed"] for record in records}
        self.arms: dict[Key, Chosen] = {}
        self.missing: list[str] = []
        for name, rates in found.items():
            means = {lr: _mean(runs) for lr, runs in rates.items() if {run["seed"] for run in runs} == whole}
            self.missing += [rates[lr][0]["variation"] for lr in rates if lr not in means]
            if not means:
                continue
            lr = best(means, means.__getitem__, metric)
            edge = len(means) > 2 and lr in (min(means), max(means))
            self.arms[name] = Chosen(lr, rates[lr], means[lr], len(means), edge)


def best(candidates: Iterable[Key], value: Callable[[Key], float], metric: str) -> Key:
    """The candidate with the best value; one that is undefined is taken where there is no other."""
    worst = -np.inf if rises(metric) else np.inf
    found = {one: worst if np.isnan(value(one)) else value(one) for one in candidates}
    return (max if rises(metric) else min)(found, key=found.__getitem__)


def _mean(runs: Sequence[Record]) -> float:
    values = [run["best"]["value"] for run in runs]
    return float("nan") if None in values else float(np.mean(values))
