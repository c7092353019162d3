"""A config's task is a name, a function, or a function's stored name."""

from __future__ import annotations

import pytest

from tl_jax import tasks
from tl_jax.config import complete, from_json, to_json

PARTIAL = dict(
    data=dict(root="pictures"), model=dict(arch=dict(model_type="resnet")), stages=[dict(train="head")]
)


def mine() -> tasks.Task:
    return tasks.TASKS["classification"]


def test_a_function_in_a_config_is_found_again_by_its_stored_name() -> None:
    config = complete({**PARTIAL, "task": mine})
    assert tasks.find(config.task) is mine()
    stored = from_json(to_json(config))
    assert stored.task == f"{__name__}:mine"
    assert tasks.find(stored.task) is mine()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("classificaton", "did you mean 'classification'"),
        ("config_my:task", "module of its own"),
        (f"{__name__}:absent", "cannot be imported"),
        (dict, "returned dict, not a tl_jax.tasks.Task"),
    ],
)
def test_what_is_no_task_is_told(setting, words) -> None:
    with pytest.raises(ValueError, match=words):
        tasks.find(setting)
