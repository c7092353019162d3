"""How much of a result is luck? A config with several seeds, or folds; against another one, in pairs.

    python -m experiments.seeds --config=FILE[:ARGUMENT] [--against=FILE[:ARGUMENT]] [--config.KEY=VALUE …]
        [--seeds=5] [--folds=0] [--measure=auroc] [--workdir=FOLDER] [--dry_run]

Measures are means over seeds on the same test examples. With ``--folds=5`` every seed is a cross-validation:
each picture is in the test split of one fold, and folds are pooled, calibrated by their own decision. Keys
that are set on the command line hold for both configs. Without folds a second table has what the seeds of a
config reach together: their answers averaged, as a deep ensemble (Lakshminarayanan et al. 2017).

FOLDER gets seeds.txt, seeds.csv and seeds.json.
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

    from tl_jax.lab.grid import Run, Variation


def define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_string("against", "", "another config, compared in pairs", flag_values=values)
    absl_flags.DEFINE_integer(
        "folds", 0, "cross-validation; 0: the splits as they are", 0, flag_values=values
    )
    absl_flags.DEFINE_string(
        "measure", "", "of the verdict (default: what the task is judged by)", flag_values=values
    )


def main(argv: list[str]) -> int:
    parsed = lab.parse(argv, define, suffix="-seeds")
    configs = {parsed.name: parsed.config}
    if parsed.flags.against:
        other = lab.another(argv, parsed.flags.against, define)
        if other.name in configs:
            text = f"found {parsed.flags.against!r}, which is called {other.name!r} as --config is"
            raise ConfigError([Problem("--against", text)], "the command line")
        configs[other.name] = other.config
    runs = grid(configs, parsed.flags.folds, lab.seeds(parsed))

    from tl_jax.lab import versus

    versus.refuse_other_pictures(configs)
    outcome = lab.execute(runs, parsed)
    if outcome is None:
        return 0
    if not outcome.failed:
        settings, measure = parsed.config.evaluation, parsed.flags.measure
        found = versus.told(Path(parsed.workdir), outcome.records, settings, measure)
        lab.tell(parsed, found, outcome.records)
    return lab.end(outcome)


def grid(configs: dict[str, ConfigDict], folds: int, seeds: range) -> list[Run]:
    """Every config with every seed, and every fold where there are folds. Raises `ConfigError` where a config
    names a fold of its own, or there is only one fold."""
    from tl_jax.lab import grid as grids

    if folds == 1:
        raise ConfigError([Problem("--folds", "found 1: give 0, or 2 and more")], "the command line")
    runs: list[Run] = []
    for name, config in configs.items():
        if folds and config.data.fold:
            text = f"found {config.data.fold!r}; --folds runs all of them: leave it empty"
            raise ConfigError([Problem("data.fold", text)], name)
        runs += grids.grid(config, _variations(name, folds), seeds)
    return runs


def _variations(name: str, folds: int) -> list[Variation]:
    from tl_jax.lab.grid import Variation

    if not folds:
        return [Variation(name, {}, {"arm": name})]
    return [
        Variation(f"{name}-fold-{i}", {"data.fold": f"{i}/{folds}"}, {"arm": name, "fold": i})
        for i in range(folds)
    ]


if __name__ == "__main__":
    command.run(main)
