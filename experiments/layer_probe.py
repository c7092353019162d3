"""Which network, and which of its layers, to take? One forward pass of each, and no training.

    python -m experiments.layer_probe --config=FILE[:ARGUMENT] [--config.KEY=VALUE …]
        [--backbones=NAME,NAME,…] [--workdir=FOLDER]

Every layer's features (means over the map) get a linear probe, whose decay validation chooses, and the scores
LogME and H-score; a network that comes with a head of its own gets LEEP. Stages of the config are not
looked at. ``--backbones`` compares several weights (as ``model.pretrained``).

FOLDER gets layers.txt, layers.csv, layers.json and layers.png.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags as absl_flags

from tl_jax import command, flags
from tl_jax.lab import command as lab


def define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_list(
        "backbones", [], "hub names or folders of weights (default: the config's own)", flag_values=values
    )


def main(argv: list[str]) -> int:
    parsed = flags.parse(argv, define=define, suffix="-layers")

    from tl_jax.compilation import use_cache
    from tl_jax.lab import layer_scores, layer_tables
    from tl_jax.lab.grid import patched
    from tl_jax.workdir import Workdir

    use_cache(parsed.config.compilation_cache)
    root = Path(parsed.workdir)
    own = parsed.config.model.pretrained or "from scratch"
    wanted = {name: patched(parsed.config, {"model.pretrained": name}) for name in parsed.flags.backbones}
    with Workdir(root).locked():
        networks = []
        for name, config in (wanted or {own: parsed.config}).items():
            networks.append(layer_scores.of(config, name))
            print(f"{networks[-1].name} is scored", flush=True)
        lab.tell(parsed, layer_tables.told(networks))
    return 0


if __name__ == "__main__":
    command.run(main)
