"""Which row trains, which validates, which tests: by group, always.

A group (a patient) is in one split only; `check` proves it at the end of every path. Cuts are pure
functions of (groups, labels, split_seed), whatever the order of the rows and whatever the run's seed.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tl_jax.data.sources.errors import SourceError, counted, some
from tl_jax.data.table import SPLITS

CHOICES = (
    "data.on_group_overlap='drop_from_train' drops them from train (and those of val and test from val); "
    "'resplit' cuts everything anew"
)


def assign(
    groups: np.ndarray, labels: np.ndarray, given: np.ndarray, config: Any
) -> tuple[np.ndarray, list[str]]:
    """Splits (n,) str, "" for rows that are dropped, and notices of what was done.

    ``given`` (n,): the source's own splits, "" where there are none. Raises SourceError.
    """
    groups, labels = np.asarray(groups, str), np.asarray(labels, str)
    notes: list[str] = []
    fractions = {name: float(config.fractions[name]) for name in ("val", "test")}
    if config.fold:
        number, folds = (int(part) for part in config.fold.split("/"))
        if (given != "").any():
            notes.append(f"data.fold={config.fold}: the given splits are set aside")
        return _fold(groups, labels, number, folds, fractions["val"], config.split_seed), notes
    if (given == "").any():
        return _cut_three(groups, labels, fractions, config.split_seed), notes

    splits = np.asarray(given, dtype="U5").copy()
    shared = _shared(groups, splits)
    if shared:
        if config.on_group_overlap == "error":
            raise SourceError(
                f"{counted(len(shared), 'group')} in more than one of the given splits: "
                f"{some(sorted(shared))}. Results on such splits are too good. {CHOICES}."
            )
        if config.on_group_overlap == "resplit":
            notes.append(f"given splits share {counted(len(shared), 'group')}: everything is cut anew")
            return _cut_three(groups, labels, fractions, config.split_seed), notes
        notes.append(_drop(groups, splits, shared))
    notes += _complete(groups, labels, splits, fractions, config)
    return splits, notes


def check(groups: np.ndarray, splits: np.ndarray, *, grouped: bool) -> str:
    """Asserts that no group is in two splits; the sentence that says so."""
    shared = _shared(groups, splits)
    if shared:
        raise AssertionError(f"groups in two splits: {some(sorted(shared))}")
    numbers = ", ".join(f"{name} {len(set(groups[splits == name]))}" for name in SPLITS)
    word = "groups" if grouped else "pictures (no groups are named: set data.group if patients have several)"
    return f"no group is in two splits; {word}: {numbers}"


def few(groups: np.ndarray, labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Rows (n,) bool of a share of the groups of each class, at least one of each.

    Shares are nested: the 1 % are among the 5 %, whatever the order of the rows.
    """
    kept: set[str] = set()
    for members in _strata(groups, labels, seed).values():
        target, taken = fraction * sum(size for _, size in members), 0
        for group, size in members:
            if taken and taken >= target - 1e-9:
                break
            kept.add(group)
            taken += size
    return np.isin(groups, list(kept))


def merge_groups(groups: np.ndarray, together: Sequence[Sequence[int]]) -> np.ndarray:
    """Groups joined where rows must stay together: for pictures that are there more than once."""
    parent = {group: group for group in groups.tolist()}

    def root(group: str) -> str:
        while parent[group] != group:
            group = parent[group]
        return group

    for rows in together:
        roots = sorted({root(str(groups[row])) for row in rows})
        parent.update(dict.fromkeys(roots, roots[0]))
    return np.array([root(group) for group in groups.tolist()], dtype=str)


def cut(groups: np.ndarray, labels: np.ndarray, shares: Sequence[float], seed: int) -> np.ndarray:
    """A part number (n,) for each row: groups dealt out so that each class is shared as ``shares`` say.

    Groups of a class come in an order drawn from the seed; each goes to the part that is furthest
    behind its share. A group with several labels counts for its most frequent one.
    """
    part_of: dict[str, int] = {}
    weights = np.asarray(shares, float) / sum(shares)
    for members in _strata(groups, labels, seed).values():
        given = np.zeros(len(weights))
        for group, size in members:
            behind = weights * (given.sum() + size) - given
            part = int(np.argmax(np.where(weights > 0, behind, -np.inf)))
            part_of[group] = part
            given[part] += size
    return np.array([part_of[group] for group in groups.tolist()], dtype=int)


def _strata(groups: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, list[tuple[str, int]]]:
    """Groups and their sizes by label, in an order that depends on their names and the seed alone."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for group, label in zip(groups.tolist(), labels.tolist(), strict=True):
        counts[group][label] += 1
    strata: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for group in sorted(counts, key=lambda name: _draw(name, seed)):
        label = min(counts[group], key=lambda name: (-counts[group][name], name))
        strata[label].append((group, counts[group].total()))
    return dict(sorted(strata.items()))


def _draw(name: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()


def _shared(groups: np.ndarray, splits: np.ndarray) -> set[str]:
    """Groups in more than one split."""
    found: dict[str, set[str]] = defaultdict(set)
    for group, split in zip(groups.tolist(), splits.tolist(), strict=True):
        if split:
            found[group].add(split)
    return {group for group, where in found.items() if len(where) > 1}


def _drop(groups: np.ndarray, splits: np.ndarray, shared: set[str]) -> str:
    """Takes shared groups out of train, then out of val; in place."""
    dropped = Counter()
    for name, others in (("train", ("val", "test")), ("val", ("test",))):
        elsewhere = set(groups[np.isin(splits, others)].tolist()) & shared
        rows = (splits == name) & np.isin(groups, list(elsewhere))
        dropped[name] = int(rows.sum())
        splits[rows] = ""
    told = " and ".join(f"{counted(n, 'picture')} from {name}" for name, n in dropped.items() if n)
    return f"given splits share {counted(len(shared), 'group')}: {told} dropped"


def _complete(
    groups: np.ndarray, labels: np.ndarray, splits: np.ndarray, fractions: Mapping[str, float], config: Any
) -> list[str]:
    """Cuts from train what given splits lack: a test split, a validation split of a fair size."""
    notes = []
    for name in ("test", "val"):
        size = int((splits == name).sum())
        small = name == "val" and 0 < size < config.min_val
        if size and not small:
            continue
        if small:
            splits[splits == "val"] = "train"
        rows = np.flatnonzero(splits == "train")
        share = fractions[name]
        parts = cut(groups[rows], labels[rows], (1 - share, share), config.split_seed)
        splits[rows[parts == 1]] = name
        why = f"has only {counted(size, 'picture')} (data.min_val={config.min_val})" if small else "is absent"
        notes.append(
            f"the given {name} split {why}: cut anew from train, "
            f"now {counted(int((splits == name).sum()), 'picture')}"
        )
    return notes


def _cut_three(
    groups: np.ndarray, labels: np.ndarray, fractions: Mapping[str, float], seed: int
) -> np.ndarray:
    shares = (1 - fractions["val"] - fractions["test"], fractions["val"], fractions["test"])
    return np.array(SPLITS)[cut(groups, labels, shares, seed)]


def _fold(
    groups: np.ndarray, labels: np.ndarray, number: int, folds: int, val: float, seed: int
) -> np.ndarray:
    distinct = len(set(groups.tolist()))
    if distinct < folds:
        raise SourceError(f"data.fold={number}/{folds}: there are only {counted(distinct, 'group')}")
    test = cut(groups, labels, (1.0,) * folds, seed) == number
    splits = np.where(test, "test", "train").astype("U5")
    rows = np.flatnonzero(~test)
    # Another order than that of the folds, or the validation groups would be those of the next fold.
    parts = cut(groups[rows], labels[rows], (1 - val, val), seed + 1)
    splits[rows[parts == 1]] = "val"
    return splits
