"""What is wrong with a job is said before its data are read, for all stages at once."""

from __future__ import annotations

import pytest

from tests import tiny
from tl_jax.config import complete
from tl_jax.freeze import PlanError
from tl_jax.job import prepare
from tl_jax.pretrained import PretrainedError


def stages(*settings: dict) -> list[dict]:
    return [dict(duration="2 steps", train="head", **one) for one in settings]


def test_every_plan_that_cannot_be_made_is_told_before_anything_is_read(tmp_path) -> None:
    rule = dict(path="blocks/9/.*", lr_scale=2.0)
    config = tiny.config(
        tmp_path / "absent",
        stages=[*stages(dict(name="a"), dict(name="b", rules=[rule, rule])), dict(name="c", train="last 7")],
    )
    with pytest.raises(PlanError) as caught:
        prepare(complete(config))
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("stages[1] 'b': rules[0].path='blocks/9/.*' matches no parameter")
    assert lines[1].startswith("stages[1] 'b': rules[1].path")
    assert lines[2] == "stages[2] 'c': train='last 7': this network has 2 blocks, so K is 1…2"


def test_more_blocks_kept_than_there_are_is_told_before_anything_is_read(tmp_path) -> None:
    model = dict(pretrained="embedded", keep="first 99")
    with pytest.raises(PretrainedError, match="this network has 8 blocks, so K is 1…8"):
        prepare(complete(tiny.config(tmp_path / "absent", model=model)))


def test_what_is_drawn_anew_does_not_count_as_pretrained(tmp_path) -> None:
    model = dict(pretrained="embedded", keep="first 2")
    job = prepare(complete(tiny.config(tiny.make_folder(tmp_path), model=model)), lambda line: None)
    kept = {path for path in {**job.base_params, **job.base_stats} if job.model.depth(path) <= 2}
    assert job.pretrained_paths == kept
    assert job.touched(0) >= job.base_stats.keys() - kept, "a checkpoint holds them"


def test_a_warmup_longer_than_its_stage_in_another_unit(tmp_path) -> None:
    root = tiny.make_folder(tmp_path)
    config = tiny.config(root, stages=stages(dict(name="a"), dict(name="b", warmup="1 epochs")))
    with pytest.raises(ValueError, match=r"stages\[1\]\.warmup='1 epochs' is 3 steps here, longer"):
        prepare(complete(config))


def test_a_decay_that_adam_ignores_is_told(tmp_path) -> None:
    root, said = tiny.make_folder(tmp_path), []
    rules = [dict(path="head/.*", weight_decay=0.1)]
    several = stages(dict(name="a", optimizer="adam"), dict(name="b", optimizer="adam", rules=rules))
    prepare(complete(tiny.config(root, stages=several)), said.append)
    assert [line for line in said if "adam decays no weights" in line] == [
        "note: stage 'b': adam decays no weights, weight_decay does nothing; use adamw"
    ]


def test_devices_that_stay_idle_are_told(tmp_path) -> None:
    said: list[str] = []
    config = tiny.config(tiny.make_folder(tmp_path), batch_size=12, accumulate=2, mesh=dict(data=0))
    job = prepare(complete(config), said.append)
    assert job.mesh.size == 6
    assert "note: 6 of 8 devices are used, as no more divide 6 pictures" in said


def test_restore_best_in_the_first_stage_is_told(tmp_path) -> None:
    root = tiny.make_folder(tmp_path)
    told = []
    for restore in (True, False):
        said: list[str] = []
        prepare(complete(tiny.config(root, stages=stages(dict(name="a", restore_best=restore)))), said.append)
        told.append([line for line in said if "restore_best" in line])
    assert told == [["note: stage 'a' is the first, so restore_best does nothing"], []]


def test_class_weights_that_do_not_fit_are_told_before_the_plan(tmp_path) -> None:
    config = tiny.config(tiny.make_folder(tmp_path), loss=dict(class_weights=(1.0, 2.0, 3.0)))
    with pytest.raises(ValueError, match="3 numbers for 2 classes"):
        prepare(complete(config))
