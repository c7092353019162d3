"""Which layers should stay frozen? Everything above a cut is trained, for every cut, with every seed.

    python -m experiments.freeze_ladder --config=FILE[:ARGUMENT] [--config.KEY=VALUE …] [--seeds=5]
        [--cuts=0,4,8,12] [--measure=auroc] [--margin=0.01] [--workdir=FOLDER] [--dry_run]

A cut of k keeps the stem and the first k blocks frozen; 0 trains everything, and as many as there are blocks
the head alone. Only the last stage of the config is cut so; stages before it stay as they are. Finished runs
are not repeated, so that more cuts and seeds can be added to a folder.

FOLDER gets ladder.txt, ladder.csv, ladder.json and ladder.png.
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

    from tl_jax.lab.grid import Variation


def define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_list("cuts", [], "numbers of frozen blocks (default: all)", flag_values=values)
    absl_flags.DEFINE_string(
        "measure", "", "what cuts are judged by (default: auroc, or accuracy)", flag_values=values
    )
    absl_flags.DEFINE_float("margin", 0.01, "what may be lost to the best cut", 0.0, flag_values=values)


def main(argv: list[str]) -> int:
    parsed = lab.parse(argv, define, suffix="-ladder")

    from tl_jax.lab import grid, ladder

    variations = cuts(parsed.config, parsed.flags.cuts)
    runs = grid.grid(parsed.config, variations, lab.seeds(parsed))
    outcome = lab.execute(runs, parsed)
    if outcome is None:
        return 0
    if outcome.records:
        found = ladder.summarise(
            Path(parsed.workdir),
            outcome.records,
            parsed.config.evaluation,
            measure=parsed.flags.measure,
            margin=parsed.flags.margin,
        )
        lab.tell(parsed, ladder.told(found), outcome.records)
    return lab.end(outcome)


def cuts(config: ConfigDict, wanted: Sequence[str]) -> list[Variation]:
    """A variation for each cut. Raises `ConfigError` for one that the network does not have."""
    from tl_jax.lab.grid import Variation
    from tl_jax.lab.network import blocks

    n = blocks(config)
    wrong = [text for text in wanted if not text.isdigit() or int(text) > n]
    if wrong:
        allowed = f"the network has {n} blocks: give numbers from 0 to {n}, such as --cuts=0,{n // 2},{n}"
        raise ConfigError([Problem("--cuts", f"found {', '.join(wrong)}; {allowed}")], "the command line")
    last = len(config.stages) - 1
    found = []
    for cut in sorted({int(text) for text in wanted} or range(n + 1)):
        train = "all" if cut == 0 else "head" if cut == n else f"last {n - cut}"
        found.append(
            Variation(f"cut-{cut:02}", {f"stages[{last}].train": train}, {"cut": cut, "train": train})
        )
    return found


if __name__ == "__main__":
    command.run(main)
