"""Which runs of a grid one program could train together: those that train nothing but a head, all on the same
features, and differ only in their seed and in numbers that a compiled step takes as arguments.

That is told from configs alone, before a picture is read. What else must hold, `tl_jax.lab.together` finds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from tl_jax import config as configs
from tl_jax.data import augment
from tl_jax.freeze import FROZEN, FreezePlan
from tl_jax.lab import network
from tl_jax.lab.grid import Run
from tl_jax.workdir import Workdir

STAGE = ("lr", "schedule", "warmup", "final_lr", "layer_decay", "weight_decay", "clip")
"""Keys of a stage that may differ within a group."""

RULE = ("lr_scale", "weight_decay")
"""Keys of a rule that may."""

HEAD = frozenset({"head"})


@dataclass(frozen=True)
class Candidate:
    """A run that may be trained with others, and the plans of its stages."""

    run: Run
    plans: tuple[FreezePlan, ...]


def groups(runs: Sequence[Run], root: Path) -> list[list[Candidate]]:
    """Groups of two and more of ``runs``, in their order. Left out is what fits no other, what has left a
    checkpoint or a result below ``root`` already, and what cannot be planned, as running it will tell."""
    if jax.process_count() > 1:
        return []
    planner, found = network.Planner(), dict[str, list[Candidate]]()
    for run in runs:
        try:
            plans = planner(run.config)
        except ValueError:
            continue
        if _shares_features(run.config, plans) and not _has_begun(Workdir(root / run.name)):
            found.setdefault(_key(run.config, plans), []).append(Candidate(run, plans))
    return [group for group in found.values() if len(group) > 1]


def _shares_features(config: ConfigDict, plans: Sequence[FreezePlan]) -> bool:
    """Whether every stage trains the head alone, on features that are kept."""
    alike = not augment.changes(config.augment) or config.cache.views > 0
    return alike and not config.tasks and config.cache.prefix != "off" and all(map(trains_head_alone, plans))


def trains_head_alone(plan: FreezePlan) -> bool:
    """Whether all below the head rests, and no statistics move anywhere."""
    return plan.live == HEAD and all(mode == FROZEN for mode in plan.batch_norm.values())


def _has_begun(folder: Workdir) -> bool:
    return folder.result.exists() or (folder.last.is_dir() and any(folder.last.iterdir()))


def _key(config: ConfigDict, plans: Sequence[FreezePlan]) -> str:
    """The same for runs that may share a group: what is left of the config, and what of the numbers is
    structure, such as whether there is weight decay at all."""
    plain = json.loads(configs.to_json(config))
    seed, ema, l2_sp = plain.pop("seed"), plain.pop("ema"), plain["loss"].pop("l2_sp")
    for stage in plain["stages"]:
        for key in STAGE:
            del stage[key]
        for rule in stage["rules"]:
            for key in RULE:
                del rule[key]
    # From scratch, a seed makes the frozen network; kept views are drawn by it.
    fixed = not config.model.pretrained or augment.changes(config.augment)
    structure = [list(_structure(plan)) for plan in plans]
    return json.dumps([plain, seed if fixed else None, ema > 0, l2_sp > 0, structure], sort_keys=True)


def _structure(plan: FreezePlan) -> Iterator[Mapping[str, Any] | Sequence[str]]:
    """What a compiled step knows of a plan."""
    yield plan.labels
    yield [group.name for group in plan.groups]
    yield sorted(plan.decayed)
