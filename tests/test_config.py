"""Completion, checks, JSON and differences."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict, config_dict

from tl_jax import config as configs
from tl_jax import defaults, schema
from tl_jax.completion import FREE, ITEMS, LISTS, LOOSE, keys, pattern
from tl_jax.config import ConfigError, complete, differences, from_json, to_json, validate


# Word for word what other people's files look like.
# fmt: off
def get_config(arg=""):
    c = ml_collections.ConfigDict()
    c.seed = 0
    c.batch_size = 32
    c.data = dict(source="folder", root="/data/chest_xray", group=r"person\d+|IM-\d+", image_size=224)
    c.model = dict(pretrained="microsoft/resnet-50")           # a hub id or a folder; "" starts from scratch with model.arch  # noqa: E501
    c.stages = [
        dict(name="head", duration="3 epochs", train="head", lr=1e-3),
        dict(name="top", duration="5 epochs", train="last 4", lr=1e-4, layer_decay=0.8),
    ]
    return c
# fmt: on


def partial(**changes: Any) -> dict[str, Any]:
    return {**get_config().to_dict(), **changes}


def problems(**changes: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        complete(partial(**changes))
    return caught.value.problems


def test_the_example_config_is_completed_and_valid() -> None:
    config = complete(get_config())
    validate(config)
    assert config.stages[1].lr == 1e-4
    assert config.stages[1].optimizer == defaults.stage()["optimizer"]
    assert config.data.group == r"person\d+|IM-\d+"
    assert config.data.fractions.val == defaults.data()["fractions"]["val"]
    assert config.augment.to_dict() == defaults.augment()


def test_nothing_of_the_partial_config_changes() -> None:
    given_config = get_config()
    before = given_config.to_json()
    complete(given_config)
    assert given_config.to_json() == before


def test_nested_dicts_are_merged_key_by_key() -> None:
    config = complete(partial(data=dict(root="/x", fractions=dict(val=0.3))))
    assert config.data.fractions.to_dict() == {"val": 0.3, "test": 0.15}
    rule = dict(path="head/.*", lr_scale=10)
    config = complete(partial(stages=[dict(rules=[rule])]))
    assert config.stages[0].rules[0].to_dict() == {**defaults.rule(), "path": "head/.*", "lr_scale": 10.0}


def test_a_typing_mistake_in_code_is_caught_too() -> None:
    config = complete(get_config())
    with pytest.raises(AttributeError, match="lr"):
        config.stages[0].lrr = 1.0
    with pytest.raises(AttributeError):
        config.batchsize = 3


def test_stages_are_named_by_their_place() -> None:
    config = complete(partial(stages=[{}, dict(name="b"), {}]))
    assert [stage.name for stage in config.stages] == ["stage 1", "b", "stage 3"]


def test_a_free_form_architecture_is_kept_as_it_is() -> None:
    arch = {
        "model_type": "resnet",
        "depths": [2, 2],
        "id2label": {0: "no"},
        "classifier": None,
        "x": {"y": [{}]},
    }
    config = complete(partial(model=dict(arch=arch)))
    assert config.model.arch.depths == (2, 2)
    assert config.model.arch.id2label.to_dict() == {"0": "no"}  # as in config.json
    assert config.model.arch.classifier is None
    assert config.model.arch.to_dict()["x"] == {"y": ({},)}


VALUES = st.one_of(
    st.booleans(), st.integers(-5, 50), st.floats(0, 1), st.none(), st.text(max_size=5), st.just("2 epochs"),
    st.lists(st.floats(0.1, 1), max_size=3),
)  # fmt: skip
GROUPS = st.fixed_dictionaries(
    {},
    optional={
        "seed": VALUES,
        "ema": VALUES,
        "log_every": VALUES,
        "nonsense": VALUES,
        "data": st.dictionaries(
            st.sampled_from(["root", "classes", "fractions", "window", "group", "no"]), VALUES
        ),
        "stages": st.lists(
            st.dictionaries(st.sampled_from(["lr", "duration", "rules", "name", "no"]), VALUES)
        ),
        "augment": st.one_of(VALUES, st.fixed_dictionaries({"scale": VALUES, "flip": VALUES})),
    },
)


@settings(deadline=None)
@given(GROUPS)
def test_any_config_is_completed_or_refused_and_completion_is_idempotent(changes: dict[str, Any]) -> None:
    original = copy.deepcopy(changes)
    found = []
    try:
        config = complete(partial(**changes))
    except ConfigError as error:
        found = error.problems
        config = None
    assert changes == original
    assert (config is None) == bool(found)
    assert all(": " in line for line in found)
    if config is None:
        return
    assert complete(config) == config
    assert differences(from_json(to_json(config)), config) == []
    flat = {pattern(path) for path, _ in schema.leaves(config)}
    assert flat <= keys().keys() | LISTS.keys()


def test_every_problem_is_in_one_message() -> None:
    lines = problems(
        batchsize=3,
        seed=True,
        ema=None,
        log_every=20,
        precision="bfloat",
        image_size=224,
        data=dict(root="/x", rot=1, classes="cat", fractions=dict(val=0.6, test=0.5), group="(", fold="5/5"),
        augment=dict(scale=(0.5, 1.5), rotate="ten"),
        stages=[
            dict(name="a", lr=-1, duration="3 epocs"),
            dict(name="a", train="last4", rules=[dict(path="[")]),
            3,
        ],
        evaluation=dict(threshold="sensitivity>=1.5"),
        select=dict(metric="auc"),
        loss=3,
    )
    text = "\n".join(lines)
    for part in [
        "batchsize: no such key; did you mean batch_size?",
        "image_size: no such key; did you mean data.image_size?",
        "data.rot: no such key; did you mean data.root?",
        "seed: found True (bool); allowed: a whole number",
        "ema: found None",
        'log_every: found 20 (int); allowed: a str such as "20 steps"',
        "did you mean 'bfloat16'?",
        "data.classes: found 'cat' (str); allowed: a tuple",
        "data.fractions: val 0.6 and test 0.5 leave nothing",
        "data.group: found '('",
        "it does not compile",
        "data.fold: found '5/5'",
        "augment.scale: found (0.5, 1.5)",
        "augment.rotate: found 'ten' (str); allowed: a number",
        "stages[0].lr: found -1.0 (float); allowed: 0 < value",
        "did you mean 3 epochs?",
        "stages[1].name: found 'a'",
        "stages[1].train: found 'last4'",
        "stages[1].rules[0].path: found '['",
        "stages[2]: found 3 (int); allowed: a dict",
        "evaluation.threshold",
        "did you mean 'auroc'?",
        "loss: found 3 (int); allowed: a dict of label_smoothing",
    ]:
        assert part in text, f"{part!r} is not in:\n{text}"
    assert len(lines) == 22


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(stages=[]), "stages: there are none"),
        (dict(stages=dict(head={})), "a list of dicts"),
        (dict(stages=[dict(duration="20%")]), "stages: all stages are percentages"),
        (dict(stages=[dict(duration="9 steps", warmup="10 steps")]), "stages[0].warmup"),
        (dict(stages=[dict(train="last 0")]), "stages[0].train"),
        (dict(stages=[dict(rules=[{}])]), "stages[0].rules[0].path"),
        (dict(stages=[dict(learning_rat=3)]), "stages[0].learning_rat: no such key; the keys here are b1"),
        (dict(data={}), "data.root: is empty"),
        (dict(data=dict(source="csv")), "data.manifest: is empty"),
        (dict(data=dict(source="tfds")), "data.name: is empty"),
        (dict(data=dict(source="dicom")), "data.root: is empty"),
        (dict(data=dict(source="foldr", root="/x")), "did you mean 'folder'?"),
        (dict(data=dict(root="/x", canvas=100, image_size=200)), "data.canvas"),
        (dict(data=dict(root="/x", classes=["a"])), "data.classes"),
        (
            dict(data=dict(root="/x", classes=["a", "b"]), evaluation=dict(positive="c")),
            "evaluation.positive",
        ),
        (dict(data=dict(root="/x", classes=["a", "b"]), loss=dict(class_weights=[1])), "loss.class_weights"),
        (dict(data=dict(root="/x", window=[1, 0])), "data.window"),
        (dict(model={}), 'model.arch has no "model_type"'),
        (
            dict(model=dict(pretrained="x", keep="last 2")),
            "model.keep: found 'last 2' (str); allowed: \"all\"",
        ),
        (dict(model=dict(arch=dict(model_type="vit"), keep="stem")), "there are no weights to keep"),
        (dict(model=dict(pretrained="x", arch=[])), "model.arch: found [] (list)"),
        (dict(accumulate=5), "accumulate: found 5, which does not divide"),
        (dict(accumulate=2, mesh=dict(data=3)), "mesh.data: found 3"),
        (dict(mesh=dict(fsdp=3)), "mesh.fsdp: found 3; they do not divide a step's 32 pictures"),
        (dict(mesh=dict(data=8, fsdp=8)), "mesh.fsdp: found 8, which with mesh.data=8 makes 64 devices"),
        (dict(preprocess=dict(mean=[0.5], std=[0.1, 0.1, 0.1])), "preprocess.std: has 3"),
        (dict(preprocess=dict(std=[0.0])), "preprocess.std"),
        (dict(loss=dict(class_weights="balance")), "did you mean 'balanced'?"),
        (dict(ema=float("nan")), "ema: found nan"),
        (dict(ema=10**400), "ema: found 1000"),
        (dict(batch_size=2.0), "batch_size: found 2.0 (float)"),
        (dict(augment=dict(flip=1)), "augment.flip: found 1 (int); allowed: True or False"),
        (dict(seed=config_dict.required_placeholder(int)), "seed: "),
        (dict(task=3), "a string, or a function"),
    ],
)
def test_what_cannot_be_meant(changes: dict[str, Any], words: str) -> None:
    found = problems(**changes)
    assert any(words in line for line in found), found
    assert len(found) == 1, found


def test_what_is_as_good_as_the_exact_type() -> None:
    config = complete(
        partial(
            ema=0,
            seed=np.int64(3),
            data=dict(root=Path("/x"), classes=["a", "b"]),
            loss=dict(class_weights=("balanced",)),
            augment=dict(scale=[0.5, 1], rotate=np.float32(10)),
        )
    )
    assert (type(config.ema), type(config.seed), config.data.root) == (float, int, "/x")
    assert config.data.classes == ("a", "b")
    assert config.loss.class_weights == "balanced"
    assert config.augment.scale == (0.5, 1.0)
    assert type(config.augment.rotate) is float


def test_a_value_that_changed_after_completion_is_checked() -> None:
    config = complete(get_config())
    config.stages[0].train = "lst 4"
    with pytest.raises(ConfigError, match=r"stages\[0\]\.train"):
        validate(config)


REQUIRED = ("stages[].rules[].path", "tasks[].name")


def test_the_tables_name_only_keys_that_exist() -> None:
    there = keys()
    for table in (schema.CHECKS, ITEMS, LOOSE):
        assert set(table) <= there.keys()
    assert FREE in there
    assert set(ITEMS) == {pattern(key) for key, value in there.items() if isinstance(value, tuple)}


# A rule's path and a task's name have no default that would do.
@pytest.mark.parametrize("key", [key for key in schema.CHECKS if key not in REQUIRED])
def test_defaults_are_allowed(key: str) -> None:
    assert schema.CHECKS[key].problem(keys()[key]) is None


def test_names_agree_with_the_code_they_stand_for() -> None:
    from tl_jax import tasks

    assert set(schema.TASKS) == set(tasks.TASKS)


@pytest.mark.parametrize("text", ["youden", "f1", "sensitivity>=0.95", "specificity >= .9", "sensitivity>=1"])
def test_thresholds_that_pass_are_understood(text: str) -> None:
    from tl_jax.evaluation.decision import parse_criterion

    assert complete(partial(evaluation=dict(threshold=text))).evaluation.threshold == text
    assert callable(parse_criterion(text))


def source(settings: Any) -> None:
    """Stands for a user's data source."""


def test_json_keeps_everything_and_is_stable() -> None:
    config = complete(partial(data=dict(source=source), model=dict(arch={"model_type": "vit", 3: None})))
    text = to_json(config)
    assert text == to_json(complete(config))
    assert f'"source": "{__name__}:source"' in text
    assert from_json(text).data.source == f"{__name__}:source"
    assert to_json(from_json(text)) == text
    assert differences(from_json(text), config) == []


def test_stored_configs_of_older_versions_are_completed_and_of_newer_ones_refused() -> None:
    text = to_json(complete(get_config()))
    assert from_json(text.replace('"ema": 0.0,\n', "")).ema == 0.0
    with pytest.raises(ConfigError, match="another version"):
        from_json(text.replace('"ema"', '"emma"'))


def test_differences_name_keys_old_and_new() -> None:
    old = complete(get_config())
    new = complete(
        partial(
            seed=1,
            stages=[dict(old.stages[0], lr=0.5), old.stages[1], dict(name="all")],
            model=dict(pretrained="microsoft/resnet-50", arch=dict(depths=[1])),
        )
    )
    assert differences(old, new) == [
        "model.arch.depths: absent → [1]",
        "seed: 0 → 1",
        "stages[0].lr: 0.001 → 0.5",
        "stages[2]: absent → 'all'",
    ]
    assert "stages[2]: 'all' → absent" in differences(new, old)
    assert differences(old, complete(get_config())) == []
    assert differences({"a": [{"b": 1}]}, {"a": 3}) == ["a: [{'b': 1}] → 3"]


def test_the_face_says_what_it_offers() -> None:
    for name in configs.__all__:
        assert inspect.getdoc(getattr(configs, name))
    assert isinstance(complete(get_config()), ConfigDict)
