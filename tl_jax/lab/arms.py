"""The arms of a transfer experiment: one network and one budget, with pretrained weights and without.

Every arm is a patch of the same config. They differ in the weights they begin with, in what they train, and
in their learning rates; the network, its preprocessing, the pictures, the batch size, the loss and the
number of optimiser steps are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from tl_jax import duration
from tl_jax.completion import plain_copy
from tl_jax.lab.grid import Variation

SCRATCH = "scratch"
ARMS: tuple[str, ...] = (SCRATCH, "linear_probe", "full", "lp_ft", "own")
"""From scratch; the head alone; everything; head, then everything (Kumar et al. 2022); the config's plan."""

LOWER = 0.3
"""LP-FT's second half learns at this times the rate of full fine-tuning."""
HIGHER = 10.0
"""A head alone learns at this times that rate, where the config has no stage that says its own."""
MEASUREMENTS = 20
"""On validation, of each run."""


@dataclass(frozen=True)
class Budget:
    """``steps`` of every run. Epochs of the config are epochs of ``pictures``, all that are labelled,
    whatever fraction of them a run trains on."""

    steps: int
    pictures: int
    batch_size: int

    def count(self, text: str, total: int | None = None) -> int:
        """A duration of the config in steps."""
        return duration.steps(text, n=self.pictures, batch_size=self.batch_size, total=total)


def budget(config: ConfigDict, pictures: int, wanted: str = "") -> Budget:
    """The budget ``wanted``, a duration, by default what the config's own stages take."""
    own = sum(_lengths(config, pictures))
    found = Budget(own, pictures, config.batch_size)
    return Budget(found.count(wanted), pictures, config.batch_size) if wanted else found


def rates(config: ConfigDict) -> dict[str, float]:
    """The learning rate of each arm's last stage, where nobody gives others.

    That of full fine-tuning, of the config's last stage, is scratch's too; a head alone has the rate of the
    first stage that trains a head alone. Where the last one does, the rate for everything is a tenth of it.
    """
    last = config.stages[-1].lr
    whole = last / HIGHER if config.stages[-1].train == "head" else last
    head = _head_rate(config)
    return {SCRATCH: whole, "linear_probe": head, "full": whole, "lp_ft": LOWER * whole, "own": last}


def stages(config: ConfigDict, arm: str, lr: float, limit: Budget) -> list[dict[str, Any]]:
    """The stages of an arm, ``limit.steps`` in all; ``lr`` is that of the last one. Optimiser, schedule,
    warm-up and decays are those of the config's last stage. Raises ValueError where there are more stages
    than steps."""
    if arm == "own":
        return _own(config, lr, limit)
    whole = dict(train="all", lr=lr)
    if arm == SCRATCH:  # nothing is below that is worth keeping: every block learns at the same rate
        return [_stage(config, limit, limit.steps, name=arm, **whole, layer_decay=1.0)]
    if arm == "full":
        return [_stage(config, limit, limit.steps, name=arm, **whole)]
    if arm == "linear_probe":
        return [_stage(config, limit, limit.steps, name=arm, train="head", lr=lr)]
    _refuse_short(limit, 2)
    half = limit.steps // 2
    head = _stage(config, limit, half, name="head", train="head", lr=_head_rate(config))
    return [head, _stage(config, limit, limit.steps - half, name="all", **whole)]


def variation(
    config: ConfigDict, arm: str, lr: float, limit: Budget, *, fraction: float, seed: int, pictures: int
) -> Variation:
    """One arm on a fraction of the labels, ``pictures`` of them, drawn by ``seed``. Raises as `stages`."""
    patch = {
        **common(config, limit),
        "data.train_fraction": fraction,
        "data.train_seed": seed if fraction < 1 else -1,
        "model.keep": "none" if arm == SCRATCH else "all",
        "stages": stages(config, arm, lr, limit),
    }
    facts = {"arm": arm, "fraction": fraction, "lr": lr, "pictures": pictures}
    return Variation(f"labels-{100 * fraction:.4g}-{arm}-lr-{lr:.3g}", patch, facts)


def common(config: ConfigDict, limit: Budget) -> dict[str, Any]:
    """What keeps budgets equal: lengths are counted in steps, and no run ends early."""
    return {
        "select.every": f"{max(1, round(limit.steps / MEASUREMENTS))} steps",
        "checkpoint.every": f"{max(1, limit.steps // 4)} steps",
        "log_every": f"{limit.count(config.log_every)} steps",
        "early_stopping.patience": 0,
    }


def single(config: ConfigDict, limit: Budget, **changes: Any) -> dict[str, Any]:
    """The config's last stage as the only one, with all of the budget; all blocks learn at the same rate."""
    return _stage(config, limit, limit.steps, layer_decay=1.0, **changes)


def _stage(config: ConfigDict, limit: Budget, steps: int, **changes: Any) -> dict[str, Any]:
    """The config's last stage, of another length, without its rules."""
    last, lengths = config.stages[-1], _lengths(config, limit.pictures)
    warmup = round(steps * limit.count(last.warmup, lengths[-1]) / lengths[-1])
    plain = dict(rules=(), batch_norm="auto", restore_best=False)
    return {
        **plain_copy(last),
        **plain,
        "duration": f"{steps} steps",
        "warmup": f"{min(warmup, steps)} steps",
        **changes,
    }


def _own(config: ConfigDict, lr: float, limit: Budget) -> list[dict[str, Any]]:
    """The config's stages, made longer or shorter alike."""
    _refuse_short(limit, len(config.stages))
    lengths = _lengths(config, limit.pictures)
    scaled = _scaled(lengths, limit.steps)
    found = []
    for stage, length, steps in zip(config.stages, lengths, scaled, strict=True):
        warmup = round(steps * limit.count(stage.warmup, length) / length)
        lengths_in_steps = {"duration": f"{steps} steps", "warmup": f"{min(warmup, steps)} steps"}
        found.append({**plain_copy(stage), **lengths_in_steps})
    found[-1]["lr"] = lr
    return found


def _scaled(lengths: Sequence[int], total: int) -> list[int]:
    """Whole numbers from 1 on, of this sum, as near to the ratios of ``lengths`` as that goes."""
    ends, sum_, before = [], 0, 0
    for number, length in enumerate(lengths):
        sum_ += length
        later = len(lengths) - number - 1
        before = min(max(round(total * sum_ / sum(lengths)), before + 1), total - later)
        ends.append(before)
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _lengths(config: ConfigDict, pictures: int) -> Sequence[int]:
    texts = [stage.duration for stage in config.stages]
    return duration.stage_steps(texts, n=pictures, batch_size=config.batch_size)


def _head_rate(config: ConfigDict) -> float:
    own: Mapping[str, float] = {stage.train: stage.lr for stage in reversed(config.stages)}
    return own.get("head", HIGHER * config.stages[-1].lr)


def _refuse_short(limit: Budget, stages: int) -> None:
    if limit.steps < stages:
        raise ValueError(f"a budget of {limit.steps} steps is too short for {stages} stages")
