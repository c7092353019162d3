"""How few labels are: what each fraction of the training groups holds, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ml_collections import ConfigDict

from tl_jax.compilation import use_cache
from tl_jax.completion import Problem
from tl_jax.data import splits
from tl_jax.job import prepare
from tl_jax.report.table import Column, Table


@dataclass(frozen=True)
class Labelled:
    """The training pictures of a config: ``labels`` (n,) and ``groups`` (n,) are names."""

    labels: np.ndarray
    groups: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def training(config: ConfigDict) -> Labelled:
    """All that the config trains on. Pictures are read for it, as copies of one are of one group; where
    decoded ones are cached, runs read those. Raises as `tl_jax.job.prepare`."""
    use_cache(config.compilation_cache)
    data = prepare(config, say=lambda line: None).data
    strata = tuple(sorted(set(data.strata.tolist())))
    return Labelled(
        data.strata, data.train.groups, data.classes if set(data.classes) == set(strata) else strata
    )


def kept(train: Labelled, fraction: float, seed: int) -> np.ndarray:
    """Rows (n,) bool that a run with this `data.train_fraction` and `data.train_seed` trains on."""
    if fraction >= 1:
        return np.ones(len(train), bool)
    return splits.few(train.groups, train.labels, fraction, seed)


def problems(train: Labelled, fractions: Sequence[float], seeds: Sequence[int]) -> Iterator[Problem]:
    """Fractions that cannot be told apart, as they are the same pictures for every seed."""
    seen: dict[tuple[bytes, ...], float] = {}
    for fraction in sorted(fractions, reverse=True):
        rows = tuple(kept(train, fraction, seed).tobytes() for seed in seeds)
        if rows in seen:
            n = int(kept(train, fraction, seeds[0]).sum())
            text = (
                f"found {fraction:g}, which keeps the same {n} of {len(train):,} pictures as {seen[rows]:g}, "
                "since one group of each class is always kept: leave one of them out"
            )
            yield Problem("--fractions", text)
        seen.setdefault(rows, fraction)


def table(train: Labelled, fractions: Sequence[float], seeds: Sequence[int]) -> Table:
    """Pictures of each class by fraction, means over the seeds. What is below one group is said below."""
    shown = train.classes if len(train.classes) <= 10 else ()
    columns = [Column("fraction", form="g"), Column("pictures", form=".4g")]
    columns += [Column(name, form=".4g") for name in shown]
    rows, notes = [], []
    for fraction in fractions:
        found = [train.labels[kept(train, fraction, seed)] for seed in seeds]
        each = [float(np.mean([(labels == name).sum() for labels in found])) for name in train.classes]
        rows.append([fraction, float(sum(each)), *(each if shown else ())])
        rare = [name for name in train.classes if fraction * _groups(train, name) < 1]
        if rare:
            notes.append(
                f"{fraction:g} of the groups is less than one of {', '.join(rare)}: one is kept all the same"
            )
    return Table(columns, rows, "labelled pictures to train on, means over the seeds", notes)


def _groups(train: Labelled, name: str) -> int:
    return len(set(train.groups[train.labels == name].tolist()))
