"""Which learning rate, and how much slower for lower layers? A grid of both, with every seed.

    python -m experiments.learning_rates --config=FILE[:ARGUMENT] [--config.KEY=VALUE …] [--seeds=3]
        [--lrs=1e-4,3e-4,1e-3] [--decays=1.0,0.8] [--workdir=FOLDER] [--dry_run]
    python -m experiments.learning_rates --config=FILE[:ARGUMENT] --find
        [--find_from=1e-7] [--find_to=10] [--find_steps=100]

The last stage of the config gets each rate and each layer decay; stages before it stay as they are. What is
best is chosen by validation (``select.metric``), so the test numbers of the choice are honest.

With ``--find`` no grid is run but a learning-rate range test (Smith 2017) of that stage: a hundred steps in
which the rate grows until the loss diverges. Stages before it are trained first, in FOLDER/find.

FOLDER gets rates.txt, rates.csv, rates.json and rates.png; or the same of find.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags as absl_flags

from tl_jax import command
from tl_jax.completion import ConfigError, Problem
from tl_jax.lab import command as lab

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml_collections import ConfigDict

    from tl_jax import flags
    from tl_jax.lab.grid import Variation


def define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_list("lrs", [], "default: five around the config's own", flag_values=values)
    absl_flags.DEFINE_list("decays", [], "layer decays (default: the config's own)", flag_values=values)
    absl_flags.DEFINE_bool("find", False, "a range test in the place of the grid", flag_values=values)
    absl_flags.DEFINE_float("find_from", 1e-7, "lowest rate of the range test", 1e-30, flag_values=values)
    absl_flags.DEFINE_float("find_to", 10.0, "highest rate of the range test", flag_values=values)
    absl_flags.DEFINE_integer("find_steps", 100, "steps of the range test", 20, flag_values=values)


def main(argv: list[str]) -> int:
    parsed = lab.parse(argv, define, suffix="-rates", seeds=3)

    if parsed.flags.find:
        return _find(parsed)

    from tl_jax.lab import grid, rates

    stage = parsed.config.stages[-1]
    lrs = lab.numbers("--lrs", parsed.flags.lrs) or [stage.lr * 10 ** (k / 2) for k in range(-2, 3)]
    decays = lab.numbers("--decays", parsed.flags.decays) or [stage.layer_decay]
    runs = grid.grid(parsed.config, variations(parsed.config, lrs, decays), lab.seeds(parsed))
    outcome = lab.execute(runs, parsed)
    if outcome is None:
        return 0
    if outcome.records:
        found = rates.told(Path(parsed.workdir), outcome.records, parsed.config)
        lab.tell(parsed, found, outcome.records)
    return lab.end(outcome)


def _find(parsed: flags.Parsed) -> int:
    """The range test; one run of the config's own seed."""
    given, problems = parsed.flags, []
    problems += [
        Problem(f"--{name}", "a range test has no grid: leave it out, or leave out --find")
        for name in ("lrs", "decays", "dry_run")
        if given[name].value
    ]
    if given.find_to <= given.find_from:
        text = f"found {given.find_to:g}, which is not above --find_from={given.find_from:g}"
        problems.append(Problem("--find_to", text))
    if problems:
        raise ConfigError(problems, "the command line")

    from tl_jax.lab import find, range_test

    root, tried = Path(parsed.workdir), range_test.rates(given.find_from, given.find_to, given.find_steps)
    lab.tell(parsed, find.told(find.run(parsed.config, root / "find", tried), parsed.config))
    return 0


def variations(config: ConfigDict, lrs: Sequence[float], decays: Sequence[float]) -> list[Variation]:
    """One for each pair. Where several rates are equal to three digits, they are one."""
    from tl_jax.lab.grid import Variation

    last = len(config.stages) - 1
    found = {}
    for decay in decays:
        for lr in lrs:
            name = f"lr-{lr:.3g}-decay-{decay:.3g}"
            patch = {f"stages[{last}].lr": float(f"{lr:.3g}"), f"stages[{last}].layer_decay": decay}
            found[name] = Variation(name, patch, {"lr": float(f"{lr:.3g}"), "decay": decay})
    return list(found.values())


if __name__ == "__main__":
    command.run(main)
