"""What an experiment asks about networks before anything is run: no picture is read and no weight."""

from __future__ import annotations

from collections.abc import Sequence

from ml_collections import ConfigDict

from tl_jax import pretrained
from tl_jax.backbones.anatomy import Backbone
from tl_jax.job import make_plans
from tl_jax.lab.grid import Run


def outline(config: ConfigDict) -> Backbone:
    """The network of a config, with shapes in the place of arrays."""
    model = config.model
    facts = pretrained.inspect(
        model.pretrained, arch=model.arch.to_dict(), cache_dir=model.cache_dir or None, offline=model.offline
    )
    return pretrained.outline(facts)


def blocks(config: ConfigDict) -> int:
    """How many blocks it has."""
    return len(outline(config).blocks)


def refuse_misfits(grid: Sequence[Run]) -> None:
    """Raises ValueError with every variation whose stages, or `model.keep`, do not fit its network."""
    problems = []
    for name, config in {run.variation.name: run.config for run in grid}.items():
        try:
            model = outline(config)
            pretrained.renewed.check(model, config.model.keep)
            make_plans(model, config.stages)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise ValueError("\n".join(problems))
