"""Tasks: what is learned. One task a file; a config names one in `TASKS` or brings its own."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from tl_jax import named
from tl_jax.tasks.classification import Classification
from tl_jax.tasks.multi_label import MultiLabel
from tl_jax.tasks.regression import Regression
from tl_jax.tasks.task import Task
from tl_jax.tasks.translation import Translation

__all__ = [
    "TASKS",
    "Classification",
    "MultiLabel",
    "Regression",
    "Task",
    "Translation",
    "classes_only",
    "find",
]

TASKS: dict[str, Task] = {
    task.kind: task for task in (Classification(), MultiLabel(), Regression(), Translation())
}
"""Names a config may use. A config may also give a class, or a function that returns a `Task`."""


def find(setting: Any) -> Task:
    """The task a config names.

    ``setting``: a name in `TASKS`, a class or function that returns a `Task`, or its name as a workdir's
    config.json keeps it, ``module:function``. Raises ValueError naming the known ones, and the nearest; or
    saying why the function is not to be had.
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


def classes_only(task: Task, what: str) -> None:
    """Raises ValueError where ``what`` needs classes and the task has none."""
    if task.kind != "classification":
        raise ValueError(f"{what} looks at classes, and the task here is {task.kind!r}: it has none")


def _called(function: Callable[[], Any], name: str) -> Task:
    task = function()
    if not isinstance(task, Task):
        raise ValueError(f"task={name} returned {type(task).__name__}, not a tl_jax.tasks.Task")
    return task
