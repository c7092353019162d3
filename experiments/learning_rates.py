"""Which learning rate, and how much slower for lower layers? A grid of both, with every seed.

    python -m experiments.learning_rates --config=FILE[:ARGUMENT] [--config.KEY=VALUE …] [--seeds=3]
        [--lrs=1e-4,3e-4,1e-3] [--decays=1.0,0.8] [--workdir=FOLDER] [--dry_run]

The last stage of the config gets each rate and each layer decay; stages before it stay as they are. What is
best is chosen by validation (``select.metric``), so the test numbers of the choice are honest.

FOLDER gets rates.txt, rates.json and rates.png.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags as absl_flags

from tl_jax import command
from tl_jax.lab import command as lab

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml_collections import ConfigDict

    from tl_jax.lab.grid import Variation


def define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_list("lrs", [], "default: five around the config's own", flag_values=values)
    absl_flags.DEFINE_list("decays", [], "layer decays (default: the config's own)", flag_values=values)


def main(argv: list[str]) -> int:
    parsed = lab.parse(argv, define, suffix="-rates", seeds=3)

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
