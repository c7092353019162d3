"""Which leaves tasks share: one dictionary for all of them, and the view that each task has of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from tl_jax.backbones.anatomy import part_of
from tl_jax.freeze import FreezePlan, Group

T = TypeVar("T")

PREFIX = "tasks/"
BALANCE = "balance"
"""The group of what weighs losses, where that is learned."""


@dataclass(frozen=True)
class Union:
    """Of the tasks called ``names``. The stem and the first ``blocks`` blocks are shared; -1: everything but
    heads. ``learned``: each task has a log-variance that weighs its loss.

    A leaf that is shared keeps its path; one that is a task's own is called ``tasks/NAME/PATH``. Running
    statistics are always a task's own: those of X-rays mean nothing to skin (Li et al. 2018, AdaBN).
    """

    names: tuple[str, ...]
    blocks: int
    learned: bool = False

    def is_shared(self, path: str) -> bool:
        """Whether a parameter of the network is one for all tasks."""
        part = part_of(path)
        if part.startswith("blocks/"):
            return self.blocks < 0 or int(part.partition("/")[2]) < self.blocks
        return part == "stem" or (part == "neck" and self.blocks < 0)

    def own(self, name: str, path: str) -> str:
        """What a task's own leaf is called."""
        return f"{PREFIX}{name}/{path}"

    def place(self, name: str, path: str) -> str:
        """What a parameter of a task's network is called among all."""
        return path if self.is_shared(path) else self.own(name, path)

    def balance(self, name: str) -> str:
        """What a task's log-variance is called."""
        return self.own(name, BALANCE)

    def params(self, each: Mapping[str, Mapping[str, T]]) -> dict[str, T]:
        """All parameters of the networks of ``each`` task. Of what is shared the first task's are taken."""
        found: dict[str, T] = {}
        for name, leaves in each.items():
            for path, leaf in leaves.items():
                found.setdefault(self.place(name, path), leaf)
        return found

    def stats(self, each: Mapping[str, Mapping[str, T]]) -> dict[str, T]:
        """All running statistics."""
        return {self.own(name, path): leaf for name, leaves in each.items() for path, leaf in leaves.items()}

    def view(self, name: str, leaves: Mapping[str, T]) -> dict[str, T]:
        """The leaves of one task's network, as it calls them."""
        mine, found = f"{PREFIX}{name}/", {}
        for path, leaf in leaves.items():
            if path.startswith(mine):
                found[path.removeprefix(mine)] = leaf
            elif not path.startswith(PREFIX):
                found[path] = leaf
        found.pop(BALANCE, None)
        return found

    def plan(self, plans: Mapping[str, FreezePlan]) -> FreezePlan:
        """The plan of all leaves, of each task's plan of one stage. Where an own part of one task learns in a
        group that others have not, such as a hidden layer, the group is among them too."""
        groups = dict.fromkeys(group for plan in plans.values() for group in plan.groups)
        labels = self.params({name: plan.labels for name, plan in plans.items()})
        decayed = {self.place(name, path) for name, plan in plans.items() for path in plan.decayed}
        first = next(iter(plans.values()))
        if self.learned:
            groups[Group(BALANCE, 1.0, 0.0)] = None
            labels |= dict.fromkeys(map(self.balance, self.names), BALANCE)
        return replace(
            first,
            groups=tuple(groups),
            labels=labels,
            decayed=frozenset(decayed),
            batch_norm=self.stats({name: plan.batch_norm for name, plan in plans.items()}),
        )


def plain(path: str) -> str:
    """A path as the network calls it, whose task's ever it is."""
    return path.split("/", 2)[2] if path.startswith(PREFIX) else path


def shares(proportions: Sequence[float], rows: int, unit: int = 1) -> list[int]:
    """How many of ``rows`` examples of a batch each task has: multiples of ``unit``, at least one of them,
    in the ``proportions`` as nearly as that goes (largest remainders). Raises ValueError where rows do not
    do."""
    units, total = rows // unit, sum(proportions)
    if units < len(proportions):
        raise ValueError(
            f"batch_size={rows} has no room for {len(proportions)} tasks in micro-batches of {unit}: raise it"
        )
    wanted = [units * share / total for share in proportions]
    found = [max(1, int(one)) for one in wanted]
    while sum(found) != units:
        step = 1 if sum(found) < units else -1
        able = [i for i, n in enumerate(found) if step > 0 or n > 1]
        chosen = max(able, key=lambda i: step * (wanted[i] - found[i]))
        found[chosen] += step
    return [unit * n for n in found]
