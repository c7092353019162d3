"""How runs differ, and how sure that is: over test patients and seeds at once, in pairs.

All runs of a comparison have seen the same test pictures. A replicate draws patients with replacement, and
seeds with replacement, and measures every arm on the same draws: what patients and seeds have in common
falls out of the differences (a two-way bootstrap: Owen 2007, "The pigeonhole bootstrap"). With few
seeds the part that is due to them is estimated poorly, and somewhat too small, by (n - 1) / n.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tl_jax.data import Split
from tl_jax.data.sources.errors import counted
from tl_jax.evaluation.bootstrap import Resampling, percentiles
from tl_jax.evaluation.estimate import Estimate
from tl_jax.evaluation.intervals import Statistics
from tl_jax.evaluation.metrics import Floats
from tl_jax.evaluation.validation import HIGHER_IS_BETTER
from tl_jax.finished import Finished
from tl_jax.lab.records import Record
from tl_jax.pooled import Fold, joined, read_fold
from tl_jax.workdir import Workdir

_NAMES = {"auroc": "AUROC", "bleu": "BLEU", "nll": "NLL", "ece": "ECE", "ood_auroc": "OOD AUROC"}
_LOWER = ("nll", "brier", "ece", "rmse", "mae")
_NEITHER = ("bias", "coverage", "length_ratio")

Key = TypeVar("Key", bound=Hashable)


class Comparison:
    """Of several arms, each the runs of one variation in the order of the same seeds.

    ``arms``: name → test predictions of its runs (`tl_jax.pooled.read_fold`); ``settings`` is
    ``config.evaluation``. ``points`` and ``each``: arm → measure → the mean over its runs, and each run's.
    ``beside``: name → for each of its runs, weights (n, R) of the pictures → further measures, each (R,).
    Raises ValueError where runs have not seen the same pictures, or arms have different numbers of runs.
    """

    def __init__(
        self,
        arms: Mapping[str, Sequence[Fold]],
        settings: Any,
        *,
        beside: Mapping[str, Sequence[Callable[[Floats], Mapping[str, Floats]]]] | None = None,
    ) -> None:
        _check(arms)
        if not settings.bootstrap:
            raise ValueError("evaluation.bootstrap=0: runs are compared by resamples; 1000 are enough")
        first = next(iter(arms.values()))[0]
        self.judged = first.task.judged
        self.pictures = first.ids
        resampling = Resampling(np.array(first.groups), replicates=settings.bootstrap, seed=settings.seed)
        self.seeds, self.groups = len(next(iter(arms.values()))), resampling.groups
        drawn = np.random.default_rng((settings.seed, 1)).integers(
            0, self.seeds, (settings.bootstrap, self.seeds)
        )
        self.points: dict[str, dict[str, float]] = {}
        self.each: dict[str, dict[str, list[float]]] = {}
        self.replicates: dict[str, dict[str, Floats]] = {}
        for name, runs in arms.items():
            more = beside[name] if beside else [None] * len(runs)
            of_runs = [partial(_measured, *one) for one in zip(map(_statistics, runs), more, strict=True)]
            alone = [run(np.ones((len(first.ids), 1))) for run in of_runs]
            again = [_joined([run(weights) for weights in resampling]) for run in of_runs]
            self.each[name] = {m: [float(one[m][0]) for one in alone] for m in alone[0]}
            self.points[name] = {m: float(np.mean(values)) for m, values in self.each[name].items()}
            rows = np.arange(settings.bootstrap)[:, None]
            self.replicates[name] = {
                m: np.stack([one[m] for one in again], axis=1)[rows, drawn].mean(axis=1) for m in again[0]
            }

    @property
    def basis(self) -> str:
        """What means and intervals rest on, in words: examples, or groups of them, such as patients."""
        drawn = "test examples" if self.groups == len(self.pictures) else "groups of test examples"
        seeds = counted(self.seeds, "seed")
        return f"means of {seeds} on {self.groups:,} {drawn}, 95 % intervals over both"

    def measure(self, wanted: str = "") -> str:
        """What arms are judged by: ``wanted``, by default what the task is judged by (AUROC, RMSE) where that
        is defined, else accuracy, else the first measure that is. Raises ValueError for one that the runs
        have not, and for one of which neither more nor less is better, such as a bias."""
        measured = next(iter(self.points.values()))
        judging = [name for name in measured if name not in _NEITHER]
        there = [name for name in judging if not np.isnan(measured[name])]
        best = [name for name in (self.judged, "accuracy") if name in there]
        wanted = wanted or next(iter((*best, *there)), self.judged)
        if wanted not in measured:
            raise ValueError(f"--measure={wanted}: the runs have measured {', '.join(measured)}")
        if wanted not in judging:
            raise ValueError(
                f"--measure={wanted}: neither more nor less of it is better, so no arm can be called better "
                f"by it; judge by one of {', '.join(judging)}: tables show {wanted} beside it"
            )
        return wanted

    def arm(self, name: str, measure: str) -> Estimate:
        """The mean over seeds."""
        return estimate(self.points[name][measure], self.replicates[name][measure])

    def difference(self, a: str, b: str, measure: str) -> Estimate:
        """``a`` less ``b``."""
        return self.combination([(a, 1.0), (b, -1.0)], measure)

    def combination(self, weights: Sequence[tuple[str, float]], measure: str) -> Estimate:
        """The sum of arms, each times its weight."""
        points = [weight * self.points[name][measure] for name, weight in weights]
        replicates = [weight * self.replicates[name][measure] for name, weight in weights]
        return estimate(float(np.sum(points)), np.sum(replicates, axis=0))

    def loss(self, a: str, best: str, measure: str) -> Estimate:
        """By how much ``a`` is worse than ``best``: positive is worse, whichever way the measure goes."""
        return self.difference(best, a, measure) if rises(measure) else self.difference(a, best, measure)

    def best(self, measure: str) -> str:
        """The arm with the best mean."""
        order = sorted(self.points, key=lambda name: self.points[name][measure])
        return order[-1] if rises(measure) else order[0]


def combined(parts: Sequence[tuple[float, Comparison]]) -> Comparison:
    """The weighted sum of what comparisons measure, of the same arms on versions of the same pictures. Their
    replicates have drawn the same patients and seeds, so that the sum's intervals know what the parts have in
    common. Raises ValueError where they are of other arms or pictures."""
    first = parts[0][1]
    if any(one.points.keys() != first.points.keys() or one.pictures != first.pictures for _, one in parts):
        raise ValueError("comparisons of other arms or pictures cannot be combined")
    found = copy.copy(first)
    found.points = {
        arm: {m: sum(w * one.points[arm][m] for w, one in parts) for m in values}
        for arm, values in first.points.items()
    }
    found.each = {
        arm: {
            m: np.sum([w * np.array(one.each[arm][m]) for w, one in parts], axis=0).tolist() for m in values
        }
        for arm, values in first.each.items()
    }
    found.replicates = {
        arm: {m: np.sum([w * one.replicates[arm][m] for w, one in parts], axis=0) for m in values}
        for arm, values in first.replicates.items()
    }
    return found


def arms(records: Sequence[Record], told: Callable[[Record], Fold]) -> dict[str, list[Fold]]:
    """Arm (a fact of the variation, by default its name) → what ``told`` says its runs predict, one for each
    seed, folds joined."""
    found: dict[str, dict[int, list[Fold]]] = {}
    for one in records:
        arm = found.setdefault(one["facts"].get("arm", one["variation"]), {})
        arm.setdefault(one["seed"], []).append(told(one))
    return {
        arm: [folds[0] if len(folds) == 1 else joined(folds) for _, folds in sorted(seeds.items())]
        for arm, seeds in found.items()
    }


def answers(run: Finished, pictures: Split) -> Fold:
    """What a finished run says of labelled pictures, with its own decision, as `predictions` gives it."""
    return Fold(
        name=str(run.workdir.root),
        task=run.task,
        result=run.result,
        decision=run.decision,
        ids=tuple(pictures.ids.tolist()),
        groups=tuple(pictures.groups.tolist()),
        labels=pictures.labels.astype(np.float64 if pictures.labels.ndim > 1 else np.int64),
        logits=run.logits(pictures).astype(np.float64),
        header=(),
        rows=(),
    )


def own_test(run: Finished) -> Split:
    """The test pictures of a finished run, read again. Raises ValueError where its data are not what they
    were."""
    return run.own_data().test


def predictions(root: Path, record: Record, split: str = "test") -> Fold:
    """The predictions of a split by a finished run of the grid in ``root``."""
    return read_fold(record["name"], Workdir(root / record["name"]), split)


def display_name(measure: str) -> str:
    """How a measure is called where people read it."""
    return _NAMES.get(measure, measure)


def rises(measure: str) -> bool:
    """Whether more of it is better; what `Comparison.measure` refuses is neither."""
    return HIGHER_IS_BETTER.get(measure, not measure.startswith(_LOWER))


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm 1979): the chance of one false claim among all stays what
    each claimed alone."""
    order = np.argsort(p)
    corrected = np.empty(len(p))
    highest = 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[at]))
        corrected[at] = highest
    return corrected.tolist()


def corrected(raw: Mapping[Key, Estimate]) -> dict[Key, Estimate]:
    """The same estimates, p corrected for their number by `holm`."""
    ps = holm([one.p for one in raw.values()])
    return {key: replace(one, p=p) for (key, one), p in zip(raw.items(), ps, strict=True)}


def estimate(value: float, replicates: Floats) -> Estimate:
    """A value with the 95 % interval of its replicates (R,), and the p of its being 0."""
    low, high, _ = percentiles(replicates[:, None])
    defined = replicates[~np.isnan(replicates)]
    beyond = min((defined <= 0).sum(), (defined >= 0).sum())
    return Estimate(value, float(low[0]), float(high[0]), min(1.0, 2 * (beyond + 1) / (len(defined) + 1)))


def _statistics(run: Fold) -> Statistics:
    return run.task.statistics(run.logits, run.labels, run.decision)


def _measured(
    statistics: Statistics, beside: Callable[[Floats], Mapping[str, Floats]] | None, weights: Floats
) -> dict[str, Floats]:
    return {**statistics(weights)[0], **(beside(weights) if beside else {})}


def _joined(chunks: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _check(arms: Mapping[str, Sequence[Fold]]) -> None:
    counts = {name: len(runs) for name, runs in arms.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"arms are compared seed by seed, so each needs as many runs; here are {counts}")
    first = next(iter(arms.values()))[0]
    others = sorted(
        name
        for name, runs in arms.items()
        if any((run.ids, run.groups) != (first.ids, first.groups) for run in runs)
    )
    if others:
        raise ValueError(f"runs with other test pictures cannot be compared in pairs: {', '.join(others)}")
