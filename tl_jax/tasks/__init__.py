"""Tasks: what is learned. One task a file; a config names one in `TASKS` or brings its own."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from tl_jax import named
from tl_jax.tasks import classification


@dataclass(frozen=True)
class Task:
    """What a step needs to know about a task.

    ``outputs(classes)``: how many numbers the head gives; ``targets(labels, classes, smoothing)``:
    labels (B,) int → (B, …) float32, mixable by mixup; ``loss(outputs, targets, weights)``: → scalar,
    the mean over the batch, with a weight a class; ``logits(outputs)``: → (B, classes), whose softmax
    is the probability, for evaluation.
    """

    outputs: Callable[[int], int]
    targets: Callable[[jax.Array, int, float], jax.Array]
    loss: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
    logits: Callable[[jax.Array], jax.Array]


TASKS = {
    "classification": Task(
        outputs=lambda classes: classes,
        targets=classification.targets,
        loss=classification.loss,
        logits=lambda outputs: outputs,
    )
}
"""Names a config may use. A config may also give a function that returns a `Task`."""


def find(setting: Any) -> Task:
    """The task a config names.

    ``setting``: a name in `TASKS`, a function that returns a `Task`, or such a function's name as a
    workdir's config.json keeps it, ``module:function``. Raises ValueError naming the known ones, and the
    nearest; or saying why the function is not to be had.
    """
    if callable(setting):
        return _called(setting, getattr(setting, "__qualname__", repr(setting)))
    if setting in TASKS:
        return TASKS[setting]
    if named.is_name(setting):
        return _called(named.imported(setting, "task"), setting)
    near = difflib.get_close_matches(str(setting), TASKS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"task={setting!r} is not known; known: {', '.join(TASKS)}{hint}")


def _called(function: Callable[[], Any], name: str) -> Task:
    task = function()
    if not isinstance(task, Task):
        raise ValueError(f"task={name} returned {type(task).__name__}, not a tl_jax.tasks.Task")
    return task
