"""What an experiment runs: variations of a base config, each with every seed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ml_collections import ConfigDict

from tl_jax import config as configs
from tl_jax.completion import ConfigError, Problem, plain_copy

_NAME = re.compile(r"[\w.=+-]+")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


@dataclass(frozen=True)
class Variation:
    """A base config with some keys changed.

    ``name`` stands in tables and names the folder: letters, digits and ``_.=+-``. ``patch``: key of the
    completed config, such as ``"stages[1].lr"``, → value. ``facts`` are what the experiment's summary wants
    to know of it again, as JSON takes it.
    """

    name: str
    patch: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One training run of a grid. ``config`` is complete."""

    variation: Variation
    seed: int
    config: ConfigDict

    @property
    def name(self) -> str:
        """Its name in the grid, and its folder below the experiment's."""
        return f"{self.variation.name}/seed-{self.seed}"

    @property
    def digest(self) -> str:
        """Of the config, 16 hexadecimal digits."""
        return configs.digest(self.config)


def grid(base: ConfigDict, variations: Sequence[Variation], seeds: Sequence[int]) -> list[Run]:
    """Every variation with every seed, seeds of one variation after each other.

    Raises `ConfigError` with every problem of every variation, and ValueError where names clash.
    """
    names = [variation.name for variation in variations]
    wrong = sorted({name for name in names if not _NAME.fullmatch(name) or names.count(name) > 1})
    if wrong:
        raise ValueError(f"variations need names of their own, of letters, digits and _.=+-: {wrong}")
    runs: list[Run] = []
    problems: list[Problem] = []
    for variation in variations:
        try:
            config = patched(base, variation.patch)
        except ConfigError as error:
            told = (one.partition(": ") for one in error.problems)
            problems += [Problem(f"{variation.name}, {path}", text) for path, _, text in told]
            continue
        for seed in seeds:
            own = config.copy_and_resolve_references()
            own.seed = seed
            runs.append(Run(variation, seed, own))
    if problems:
        raise ConfigError(problems, "the variations of this config")
    return runs


def patched(base: ConfigDict, patch: Mapping[str, Any]) -> ConfigDict:
    """The completed config with these keys changed. Raises `ConfigError` where that makes no config, KeyError
    for a key that is not there."""
    changed = plain_copy(base)
    for path, value in patch.items():
        *outer, last = (name or int(number) for name, number in _STEP.findall(path))
        place = changed
        for step in outer:
            place = place[step]
        if not isinstance(last, int) and last not in place:
            raise KeyError(f"a config has no key {path!r}")
        place[last] = value
    return configs.complete(changed)
