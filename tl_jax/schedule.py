"""Learning rate against step, on the host, so that the compiled step takes it as a number.

A schedule inside the optimiser would bake its peak and length into the program; as an argument one
program serves a whole sweep.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tl_jax.freeze import FreezePlan
from tl_jax.step import Hyper


def factor(kind: str, step: int, *, steps: int, warmup: int = 0, final: float = 0.0) -> float:
    """Share of the stage's learning rate at ``step`` (0 … steps-1) of a stage of ``steps`` steps.

    Linear warm-up over ``warmup`` steps that already moves at step 0, then ``kind``: "constant",
    "linear" or "cosine" down to ``final`` (Loshchilov & Hutter 2017, eq. 5, without restarts).
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if kind == "constant":
        return 1.0
    progress = (step - warmup) / max(1, steps - warmup)
    shape = {"linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}[kind]
    return final + (1 - final) * shape


def hyper(config: Any, settings: Any, plan: FreezePlan, at: int, length: int, warmup: int) -> Hyper:
    """The numbers of step ``at`` of a stage."""
    share = factor(settings.schedule, at, steps=length, warmup=warmup, final=settings.final_lr)
    return Hyper(
        lr=np.array([settings.lr * share * group.lr_scale for group in plan.groups], np.float32),
        weight_decay=np.array([group.weight_decay for group in plan.groups], np.float32),
        clip=np.float32(settings.clip),
        l2_sp=np.float32(config.loss.l2_sp),
        # The average warms up, so that the first weights do not weigh on it for long.
        ema=np.float32(min(config.ema, (1 + at) / (10 + at))),
    )
