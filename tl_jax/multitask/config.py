"""The config of one task, out of a config of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from tl_jax.completion import plain_copy
from tl_jax.schema import METRICS

LOSS = "loss"
"""What the weights of several tasks are chosen by: the weighted mean of their losses on validation."""

OF_A_TASK = ("task", "data", "augment", "loss", "evaluation")
"""Keys that each task has of its own, beside its head."""


def single(config: ConfigDict, number: int, **changes: Any) -> dict[str, Any]:
    """The config of task ``number`` as a run of it alone would have it, to be completed; ``changes`` are of
    its top level."""
    found, own = plain_copy(config), config.tasks[number]
    found |= {key: plain_copy(own[key]) for key in OF_A_TASK}
    found["model"] = {**found["model"], "head": plain_copy(own.head)}
    named = METRICS.get(own.task) if isinstance(own.task, str) else None
    found["select"] = {**found["select"], "metric": named[0] if named else "nll"}
    found["tasks"], found["sharing"] = (), {}
    return {**found, **changes}


def in_steps(
    stages: Sequence[Mapping[str, Any]], lengths: Sequence[int], warmups: Sequence[int]
) -> list[dict]:
    """The stages with durations and warm-ups in steps, which mean the same whatever an epoch is."""
    return [
        {**plain_copy(stage), "duration": f"{steps} steps", "warmup": f"{warmup} steps"}
        for stage, steps, warmup in zip(stages, lengths, warmups, strict=True)
    ]
