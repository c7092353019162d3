"""What the report of a run is made of: numbers from its folder and, where they are there, its pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tl_jax.report.table import Table
from tl_jax.tasks import Classification, Task


@dataclass(frozen=True)
class Scores:
    """What the chosen weights made of a split: ``ids`` and ``groups`` (n,) str, ``labels`` (n, …) and
    ``logits`` (n, K) of the task."""

    ids: np.ndarray
    groups: np.ndarray
    labels: np.ndarray
    logits: np.ndarray


@dataclass(frozen=True)
class Shown:
    """A training picture (h, w, c) uint8 as the network was shown it, and its label in words."""

    id: str
    label: str
    image: np.ndarray


@dataclass(frozen=True)
class Pictures:
    """``training``: some of the first batch. ``test`` gives test pictures by their rows, (n, h, w, c) uint8;
    ``heat`` their maps (n, h, w), 0…1, for classes (n,) int."""

    training: Sequence[Shown]
    test: Callable[[np.ndarray], np.ndarray]
    heat: Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Evidence:
    """``result`` is result.json, ``history`` the lines of metrics.jsonl, ``plan`` a table a stage,
    ``changed`` one line a key of the config that is not at its default. ``words`` gives test texts by their
    rows; ``written`` their ``source``, ``reference`` and ``hypothesis`` where texts were written, a word a
    row. Where both ``pictures`` and ``words`` are None, ``absent`` says why."""

    name: str
    result: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    plan: Sequence[Table]
    metric: str
    changed: Sequence[str]
    seed: int
    test: Scores
    val: Scores
    pictures: Pictures | None = None
    words: Callable[[np.ndarray], list[str]] | None = None
    written: Mapping[str, Sequence[str]] | None = None
    absent: str = ""
    task: Task = field(default_factory=Classification)

    @property
    def classes(self) -> list[str]:
        return list(self.result["classes"])

    @property
    def decision(self) -> Any:
        return self.task.decision(self.result["decision"])
