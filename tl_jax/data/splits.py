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
    groups: np.ndarray, labels: np.ndarray, given: np.ndarray, config: Any, *, noun: str = "picture"
) -> tuple[np.ndarray, list[str]]:
    """Splits (n,) str, "" for rows that are dropped, and notices of what was done.

    ``given`` (n,): the source's own splits, or "" in all rows. ``config`` is that of the data; ``noun``: what
    a row is. Raises SourceError.
    """
    groups, labels = np.asarray(groups, str), np.asarray(labels, str)
    notes: list[str] = []
    fractions = {name: float(config.fractions[name]) for name in ("val", "test")}
    if config.fold:
        number, folds = _parse_fold(config.fold)
        if (given != "").any():
            notes.append(f"data.fold={config.fold}: the given splits are set aside")
        return _fold(groups, labels, number, folds, fractions["val"], config.split_seed), notes
    open_ = given == ""
    if open_.all():
        return _cut_three(groups, labels, fractions, config.split_seed), notes
    if open_.any():
        raise SourceError(
            f"{counted(int(open_.sum()), noun)} of {len(open_):,} have no split, the others have one; "
            "name all or none, or set data.fold, which sets them aside"
        )

    splits = effective(given, config)
    lacking = {name: "is absent" for name in ("val", "test") if not (given == name).any()}
    shared = _shared(groups, splits)
    if shared:
        if config.on_group_overlap == "error":
            told = [f"{group} ({', '.join(where)})" for group, where in sorted(shared.items())]
            raise SourceError(
                f"{counted(len(shared), 'group')} in more than one of the given splits: "
                f"{some(told)}. Results on such splits are too good. {CHOICES}."
            )
        if config.on_group_overlap == "resplit":
            notes.append(f"given splits share {counted(len(shared), 'group')}: everything is cut anew")
            return _cut_three(groups, labels, fractions, config.split_seed), notes
        notes.append(_drop(groups, splits, shared, noun))
        splits = effective(splits, config)  # what is left of val may be too small
    if "val" not in lacking and not (splits == "val").any():
        size = int((given == "val").sum())
        lacking["val"] = f"has only {counted(size, noun)} (data.min_val={config.min_val})"
        # Never a smaller one than was given, however small the whole is.
        fractions["val"] = max(fractions["val"], size / max(1, int((splits == "train").sum())))
    return splits, notes + _complete(groups, labels, splits, fractions, lacking, config.split_seed, noun)


def effective(given: np.ndarray, config: Any) -> np.ndarray:
    """Given splits (n,) as they are used: a validation split below ``min_val`` is part of train."""
    splits = np.array(given, dtype="U5")
    if (splits == "val").sum() < config.min_val:
        splits[splits == "val"] = "train"
    return splits


def check(groups: np.ndarray, splits: np.ndarray, *, grouped: bool, noun: str = "picture") -> str:
    """Asserts that no group is in two splits; the sentence that says so."""
    shared = _shared(groups, splits)
    if shared:
        raise AssertionError(f"groups in two splits: {some(sorted(shared))}")
    numbers = ", ".join(f"{name} {len(set(groups[splits == name]))}" for name in SPLITS)
    word = (
        "groups"
        if grouped
        else f"{noun}s, copies apart (no groups are named: set data.group if patients have several)"
    )
    return f"no group is in two splits; {word}: {numbers}"


def few(groups: np.ndarray, labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Rows (n,) bool of a share of the groups of each class, with every class among them.

    Shares are nested: the 1 % are among the 5 %, whatever the order of the rows.
    """
    contents = _contents(groups, labels)
    order = sorted(contents, key=lambda name: _draw(name, f"{seed}/few"))
    # The first group of every class is in every share, or else shares would not be nested.
    kept = {next(group for group in order if label in contents[group]) for label in set(labels.tolist())}
    for members in _strata(contents, order).values():
        kept.update(members[: max(1, round(fraction * len(members)))])
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


def cut(groups: np.ndarray, labels: np.ndarray, shares: Sequence[float], seed: int | str) -> np.ndarray:
    """A part number (n,) for each row: groups dealt out so that each class is shared as ``shares`` say.

    Groups come class by class, the rarest first, in an order drawn from the seed. Each goes to a part
    that has nothing of its class yet, or else to the one that still lacks most of what the group holds;
    of equal ones to that which lacks most of everything. Where a group goes does not depend on its size:
    if it did, patients with many pictures would gather in the largest part. A group with several labels
    is of the rarest of them, and counts for all (as in iterative stratification, Sechidis et al. 2011).
    """
    contents = _contents(groups, labels)
    order = sorted(contents, key=lambda name: _draw(name, str(seed)))
    total: Counter[str] = Counter(labels.tolist())
    weights = [share / sum(shares) for share in shares]
    parts = [part for part, weight in enumerate(weights) if weight > 0]
    dealt: list[Counter[str]] = [Counter() for _ in shares]
    part_of: dict[str, int] = {}

    def wants(part: int, group: str) -> tuple[float, float]:
        lacks = sum(
            number / total[label] * (weights[part] - dealt[part][label] / total[label])
            for label, number in sorted(contents[group].items())
        )
        return round(lacks, 9), round(weights[part] - dealt[part].total() / total.total(), 9)

    for label, members in _strata(contents, order).items():
        for group in members:
            without = [part for part in parts if not dealt[part][label]]
            part = max(without or parts, key=lambda part: (*wants(part, group), -part))
            part_of[group] = part
            dealt[part] += contents[group]
    return np.array([part_of[group] for group in groups.tolist()], dtype=int)


def _contents(groups: np.ndarray, labels: np.ndarray) -> dict[str, Counter[str]]:
    """How many rows of each label a group holds."""
    contents: dict[str, Counter[str]] = defaultdict(Counter)
    for group, label in zip(groups.tolist(), labels.tolist(), strict=True):
        contents[group][label] += 1
    return contents


def _strata(contents: Mapping[str, Counter[str]], order: Sequence[str]) -> dict[str, list[str]]:
    """Groups by the rarest label they hold (the one in fewest groups), in the order given; rarest first."""
    holders: Counter[str] = Counter(label for group in contents.values() for label in group)
    strata: dict[str, list[str]] = defaultdict(list)
    for group in order:
        strata[min(contents[group], key=lambda label: (holders[label], label))].append(group)
    return dict(sorted(strata.items(), key=lambda item: (holders[item[0]], item[0])))


def _draw(name: str, seed: str) -> bytes:
    return hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()


def _shared(groups: np.ndarray, splits: np.ndarray) -> dict[str, list[str]]:
    """Groups in more than one split, and in which."""
    found: dict[str, set[str]] = defaultdict(set)
    for group, split in zip(groups.tolist(), splits.tolist(), strict=True):
        if split:
            found[group].add(split)
    return {group: sorted(where, key=SPLITS.index) for group, where in found.items() if len(where) > 1}


def _drop(groups: np.ndarray, splits: np.ndarray, shared: Mapping[str, list[str]], noun: str) -> str:
    """Takes shared groups out of all but the last of their splits, in place; the sentence that says so."""
    last = {group: where[-1] for group, where in shared.items()}
    lost = np.array([last.get(group, split) != split for group, split in zip(groups, splits, strict=True)])
    lost &= splits != ""
    dropped = Counter(splits[lost].tolist())
    splits[lost] = ""
    told = " and ".join(f"{counted(dropped[name], noun)} from {name}" for name in SPLITS if dropped[name])
    return f"given splits share {counted(len(shared), 'group')}: {told} dropped"


def _complete(
    groups: np.ndarray,
    labels: np.ndarray,
    splits: np.ndarray,
    fractions: Mapping[str, float],
    lacking: Mapping[str, str],
    seed: int,
    noun: str,
) -> list[str]:
    """Cuts from train what given splits lack, in place; says what, and why (``lacking``)."""
    if not lacking:
        return []
    rows = np.flatnonzero(splits == "train")
    shares = [1 - sum(fractions[name] for name in lacking), *(fractions[name] for name in lacking)]
    splits[rows] = np.array(["train", *lacking])[cut(groups[rows], labels[rows], shares, seed)]
    return [
        f"the given {name} split {why}: cut anew from train, now {counted(int((splits == name).sum()), noun)}"
        for name, why in lacking.items()
    ]


def _parse_fold(fold: str) -> tuple[int, int]:
    number, _, folds = fold.partition("/")
    if not (number.isdecimal() and folds.isdecimal() and int(number) < int(folds) and int(folds) > 1):
        raise SourceError(f"data.fold={fold!r}: it is i/k with i in 0…k-1 and k of 2 or more, such as 0/5")
    return int(number), int(folds)


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
    parts = cut(groups[rows], labels[rows], (1 - val, val), f"{seed}/val")
    splits[rows[parts == 1]] = "val"
    return splits
