"""Does sharing help? Several tasks on one network against a network for each, at the same budget.

    python -m experiments.sharing --config=configs/multitask.py --config.tasks[0].data.root=FOLDER …
        [--blocks=-1,8] [--seeds=5] [--measure=auroc] [--workdir=FOLDER] [--dry_run]

An arm shares the stem and so many blocks (``--blocks``; by default as the config says). Against them stands
each task alone: the same steps, and at each step as many of its examples as it has in the mixed batch, so
that it sees its data exactly as often. Differences are over test patients and seeds at once, in pairs.

FOLDER gets sharing.txt, sharing.csv, sharing.json and report.html; each run has a folder for each of its
tasks.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags as absl_flags

from tl_jax import command
from tl_jax.completion import ConfigError, Problem
from tl_jax.lab import command as lab

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_list("blocks", [], "how many blocks arms share; -1: all but heads", flag_values=values)
    absl_flags.DEFINE_string("measure", "", "of the verdict (default: each task's own)", flag_values=values)


def main(argv: list[str]) -> int:
    parsed = lab.parse(argv, define, suffix="-sharing")
    blocks = wanted(parsed.config, parsed.flags.blocks)

    from tl_jax.compilation import use_cache
    from tl_jax.lab import grid, sharing

    use_cache(parsed.config.compilation_cache)
    variations = sharing.variations(parsed.config, blocks)
    runs = grid.grid(parsed.config, variations, lab.seeds(parsed))
    if parsed.flags.dry_run:
        print(sharing.plan(runs))
        return 0
    outcome = lab.execute(runs, parsed)
    assert outcome is not None
    if not outcome.failed:
        found = sharing.told(Path(parsed.workdir), outcome.records, parsed.config, parsed.flags.measure)
        lab.tell(parsed, found, outcome.records)
    return lab.end(outcome)


def wanted(config: ConfigDict, flag: list[str]) -> list[int]:
    """The numbers of shared blocks. Raises `ConfigError` where the config has no two tasks, or one is no
    number."""
    problems = []
    if len(config.tasks) < 2:
        text = f"holds {len(config.tasks)}: there must be two tasks at least to share anything"
        problems.append(Problem("tasks", text))
    if bad := [text for text in flag if not text.lstrip("-").isdecimal() or int(text) < -1]:
        problems.append(Problem("--blocks", f"found {', '.join(bad)}; they are whole numbers from -1 on"))
    if problems:
        raise ConfigError(problems, "the command line")
    return [int(text) for text in dict.fromkeys(flag)] or [config.sharing.blocks]


if __name__ == "__main__":
    command.run(main)
