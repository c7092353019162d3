"""What an experiment asks about networks before anything is run: no picture is read and no weight."""

from __future__ import annotations

from collections.abc import Sequence

from ml_collections import ConfigDict

from tl_jax import config as configs
from tl_jax import pretrained
from tl_jax.backbones.anatomy import Backbone
from tl_jax.freeze import FreezePlan
from tl_jax.job import make_plans
from tl_jax.lab.grid import Run


def outline(config: ConfigDict) -> Backbone:
    """The network of a config, with shapes in the place of arrays."""
    model = config.model
    facts = pretrained.inspect(
        model.pretrained, arch=model.arch.to_dict(), cache_dir=model.cache_dir or None, offline=model.offline
    )
    return pretrained.outline(facts, top=pretrained.top.entries(model.neck, model.head))


def blocks(config: ConfigDict) -> int:
    """How many blocks it has."""
    return len(outline(config).blocks)


class Planner:
    """Plans of all stages of a config, made once for those that share a network and stages."""

    def __init__(self) -> None:
        self._outlines: dict[str, Backbone] = {}
        self._plans: dict[tuple[str, str], tuple[FreezePlan, ...]] = {}

    def __call__(self, config: ConfigDict) -> tuple[FreezePlan, ...]:
        """Raises ValueError where there is no such network, or stages do not fit it."""
        model, stages = (configs.to_json({"": config[key]}) for key in ("model", "stages"))
        if model not in self._outlines:
            self._outlines[model] = outline(config)
            pretrained.renewed.check(self._outlines[model], config.model.keep)
        if (model, stages) not in self._plans:
            self._plans[model, stages] = make_plans(self._outlines[model], config.stages)
        return self._plans[model, stages]


def refuse_misfits(grid: Sequence[Run]) -> None:
    """Raises ValueError with every variation whose stages, or `model.keep`, do not fit its network."""
    planner, problems = Planner(), []
    for name, config in {run.variation.name: run.config for run in grid}.items():
        try:
            planner(config)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise ValueError("\n".join(problems))
