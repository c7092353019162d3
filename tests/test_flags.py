"""The command line: one file, every key, all problems at once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from absl import flags as absl_flags

from tl_jax import config as configs
from tl_jax.completion import FREE, keys
from tl_jax.config import ConfigError
from tl_jax.flags import Parsed, parse, read

FILE = """
import ml_collections

def get_config(arg=""):
    c = ml_collections.ConfigDict()
    c.data = dict(source="folder", root="/data")
    c.model = dict(pretrained="microsoft/resnet-18")
    c.stages = [
        dict(name="head", duration="3 epochs", train="head", rules=[dict(path="neck/.*")]),
        dict(name=arg or "top", duration="5 epochs", train="last 4", lr=1e-4),
    ]
    return c
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "my.py"
    file.write_text(FILE)
    return str(file)


def go(path: str, *flags: str, **options: Any) -> Parsed:
    return read(["main.py", f"--config={path}", *flags], **options)


def problems(*argv: str, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(["main.py", *argv], **options)
    return caught.value.problems


def test_a_file_outside_the_repository(path: str) -> None:
    parsed = go(f"{path}:second", "--workdir=runs/a")
    assert parsed.workdir == "runs/a"
    assert [stage.name for stage in parsed.config.stages] == ["head", "second"]
    assert parsed.config.stages[1].schedule == "cosine"
    assert read(["main.py", "--config", path]).config == go(path).config


@pytest.mark.parametrize(
    ("suffix", "workdir"), [("", "runs/my"), (":vit", "runs/my-vit"), (":a/b c=1", "runs/my-a-b-c=1")]
)
def test_without_a_workdir_it_is_named_after_the_config(path: str, suffix: str, workdir: str) -> None:
    assert go(path + suffix).workdir == workdir


# A value that differs from the default, for keys where that is not obvious.
OTHER = {
    "task": "classification", "precision": "bfloat16", "log_every": "7 steps", "select.every": "7 steps",
    "checkpoint.every": "7 steps", "stages[].duration": "7 steps", "stages[].warmup": "2 steps",
    "cache.prefix": "off", "cache.dtype": "bfloat16",
    "stages[].train": "level 3", "stages[].optimizer": "sgd", "stages[].schedule": "linear",
    "stages[].batch_norm": "adapt", "stages[].rules[].batch_norm": "train", "select.metric": "auroc",
    "data.source": "dicom", "data.fold": "1/3", "data.on_group_overlap": "resplit",
    "data.on_bad_image": "skip",
    "data.fit": "pad", "data.classes": ("a", "b"), "preprocess.resample": "nearest", "model.gray": "sum",
    "augment.scale": (0.5, 1.0), "augment.ratio": (0.5, 2.0), "data.window": (40.0, 400.0),
    "loss.class_weights": (1.0, 2.0), "evaluation.threshold": "specificity>=0.9", "batch_size": 64,
    "preprocess.mean": (0.5,), "preprocess.std": (0.25,), "accumulate": 2, "mesh.data": 2,
    "mesh.fsdp": 2, "data.shift.corruption": "noise+blur", "data.shift.severity": 5,
    "data.shift.labels": "flip", "model.keep": "first 2", "model.pooling": "mean", "model.neck": "flatten",
    "model.head.name": "linear", "model.head.sizes": (8,), "model.head.act": "gelu",
    "model.head.output": "sigmoid", "data.columns.labels": ("a", "b"),
}  # fmt: skip
WITH = {
    "model.head.sizes": {"model.head.name": "mlp"},
    "model.head.dropout": {"model.head.name": "mlp", "model.head.sizes": (8,)},
    "model.head.output": {"model.head.name": "linear"},
    "data.columns.labels": {"task": "multi_label"},
    "data.columns.target": {"task": "translation"},
    "loss.huber": {"task": "regression", "select.metric": "rmse"},
}
"""Keys that mean something only with others."""


ALONE = [key for key in keys() if key != FREE and not key.startswith(("tasks", "sharing"))]


@pytest.mark.parametrize("key", ALONE)
def test_every_key_can_be_set_though_the_file_does_not_mention_it(path: str, key: str) -> None:
    default = keys()[key]
    simple = {bool: not default, int: 3, float: 0.25, str: "word"}
    value = OTHER[key] if key in OTHER else simple[type(default)]
    place = (
        key.replace("stages[]", "stages[1]")
        .replace("rules[]", "rules[0]")
        .replace("stages[1].rules", "stages[0].rules")
    )
    others = [f"--config.{other}={its}" for other, its in WITH.get(key, {}).items()]
    config = go(path, *others, f"--config.{place}={value}").config
    lines = configs.differences(go(path).config, config)
    found: Any = config
    for name, index in re.findall(r"(\w+)(?:\[(\d)\])?", place):
        found = found[name][int(index)] if index else found[name]
    assert found == value
    assert len(lines) == (key != "task") + len(others)


def test_keys_of_one_of_several_tasks(tmp_path) -> None:
    file = tmp_path / "several.py"
    file.write_text(
        "def get_config():\n"
        "    one = lambda name: dict(name=name, data=dict(root=name))\n"
        "    stages, model = [dict(train='head')], dict(pretrained='folder')\n"
        "    select = dict(metric='loss')\n"
        "    return dict(tasks=[one('a'), one('b')], stages=stages, model=model, select=select)\n"
    )
    sets = ["tasks[1].weight=0.5", "tasks[1].data.shift.severity=5", "tasks[0].head.name=linear"]
    sets += ["tasks[0].loss.class_weights=balanced", "sharing.blocks=2", "sharing.weights=uncertainty"]
    config = go(str(file), *(f"--config.{one}" for one in sets)).config
    assert (config.tasks[1].weight, config.tasks[1].data.shift.severity) == (0.5, 5)
    assert (config.tasks[0].head.name, config.tasks[0].loss.class_weights) == ("linear", "balanced")
    assert (config.sharing.blocks, config.sharing.weights) == (2, "uncertainty")
    wrong = ["tasks[2].weight=2", "tasks[0].wieght=2", "tasks[1].data.fit=squish", "data.root=elsewhere"]
    found = "\n".join(problems(f"--config={file}", *(f"--config.{one}" for one in wrong)))
    for words in (
        "tasks holds 2",
        "did you mean tasks[0].weight",
        '"squash"',
        "data: is set, and so are tasks",
    ):
        assert words in found, found


def test_ways_of_writing_a_value(path: str) -> None:
    config = go(
        path,
        "--config.stages[-1].lr", "3e-5",
        "--config.augment.scale=[0.5, 1]",
        "--config.data.classes=a", "--config.data.classes=b",
        "--config.model.offline",
        "--noconfig.stages[0].rules[0].train",
        "--config.loss.class_weights=balanced",
        "--config.evaluation.prevalence", "-1",
        "--config.seed=1", "--config.seed=2",
    ).config  # fmt: skip
    assert config.stages[1].lr == 3e-5
    assert config.augment.scale == (0.5, 1.0)
    assert config.data.classes == ("a", "b")
    assert config.model.offline is True
    assert config.stages[0].rules[0].train is False
    assert config.loss.class_weights == "balanced"
    assert config.seed == 2


def test_all_stages_or_rules_may_be_replaced_and_then_changed(path: str) -> None:
    flags = ["--config.stages=[{'name': 'one', 'lr': 0.5}]", "--config.stages[0].duration=9 steps"]
    flags.append("--config.stages[0].rules=[{'path': 'stem/.*', 'train': False}]")
    stage = go(path, *flags, "--config.stages[0].rules[0].lr_scale=2").config.stages[0]
    assert (stage.name, stage.lr, stage.duration, stage.optimizer) == ("one", 0.5, "9 steps", "adamw")
    assert (stage.rules[0].path, stage.rules[0].train, stage.rules[0].lr_scale) == ("stem/.*", False, 2.0)


def test_the_free_form_architecture_may_grow(path: str) -> None:
    flags = [
        "--config.model.arch.model_type=vit",
        "--config.model.arch.depths=[2, 2]",
        "--config.model.arch.sub.x",
        "3",
    ]
    config = go(path, *flags, "--config.model.pretrained=").config
    assert config.model.arch.to_dict() == {"model_type": "vit", "depths": (2, 2), "sub": {"x": 3}}
    assert config.model.pretrained == ""
    config = go(
        path, "--config.model.arch={'model_type': 'vit'}", "--config.model.arch.model_type=resnet"
    ).config
    assert config.model.arch.to_dict() == {"model_type": "resnet"}


def test_keys_of_several_types_may_change_their_type(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        FILE.replace(
            "return c",
            "c.data = dict(source=get_config, root='/x'); c.loss = dict(class_weights='balanced'); return c",
        )
    )
    assert callable(go(str(file)).config.data.source)
    config = go(str(file), "--config.data.source=folder", "--config.loss.class_weights=(1, 2)").config
    assert (config.data.source, config.loss.class_weights) == ("folder", (1.0, 2.0))


def test_every_problem_of_file_and_flags_in_one_message(path: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(FILE.replace("return c", "c.batchsize = 3; c.seed = 'x'; return c"))
    lines = problems(
        f"--config={file}", "--config.stages[9].lr=1", "--config.stages.0.lr=3", "--config.data.rot=3",
        "--config.batch_size=2.5", "--config.ema=abc", "--config.lr=3", "--config.model=3",
        "--config.augment.scale=0.5", "--config.augment.ratio[0]=1", "--config.precision=bfloat",
        "--config.data.name", "--config.evaluation.seed.x=1", "--config.log_every=soon", "--confg=3",
        "--data.root=x",
    )  # fmt: skip
    expected = [
        "batchsize: no such key; did you mean batch_size?",
        "seed: found 'x' (str); allowed: a whole number",
        "stages[9].lr: stages holds 2, counted from 0: [0] 'head', [1] 'top'",
        "stages.0.lr: stages is a list; write stages[0]",
        "data.rot: no such key; did you mean data.root?",
        "batch_size: found '2.5'; allowed: 1 ≤ value",
        "ema: found 'abc'; allowed: 0 ≤ value < 1",
        "lr: no such key; did you mean stages[0].lr?",
        "model: is a group; set one of its keys: model.arch",
        "augment.ratio[0]: augment.ratio is set as a whole, like --config.augment.ratio=(1.0,1.0)",
        "data.name: has no value",
        "evaluation.seed.x: evaluation.seed is a single value",
        "augment.scale: found (0.5,) (tuple); allowed: (low, high)",
        "log_every: found 'soon'",
        "precision: found 'bfloat'",
        "--confg: no such flag; did you mean --config?",
        "--data.root: no such flag; did you mean --config.data.root?",
    ]
    for part in expected:
        assert any(line.startswith(part) for line in lines), (part, lines)
    assert len(lines) == len(expected)


def test_a_flag_may_mend_what_the_file_leaves_open(tmp_path: Path) -> None:
    file = tmp_path / "open.py"
    file.write_text("def get_config():\n    return dict(model=dict(pretrained='x'), stages=[{}])\n")
    assert problems(f"--config={file}") == ['data.root: is empty; data.source="folder" reads from it']
    assert go(str(file), "--config.data.root=/x").config.data.root == "/x"


def test_a_tuple_by_repeating_its_flag(path: str) -> None:
    def classes(*values: str) -> tuple[str, ...]:
        return go(path, *(f"--config.data.classes={value}" for value in values)).config.data.classes

    assert classes("A b", "C, d", "it's") == ("A b", "C, d", "it's")
    assert classes("pos", "ö") == ("pos", "ö")
    assert classes("('A b','C d')") == ("A b", "C d")


def test_a_group_after_its_key_would_undo_it(path: str) -> None:
    lines = problems(f"--config={path}", "--config.stages[0].lr=1", "--config.stages=[{}]")
    assert lines == ["stages: comes after --config.stages[0].lr and would overwrite it; put it first"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "--config: is missing"),
        (["--config="], "--config: is missing"),
        (["--config"], "--config: is missing"),
        (["--config=a.py", "--config=b.py"], "--config: is given 2 times: a.py, b.py"),
        (["my.py"], "my.py: is no flag; did you mean --config=my.py?"),
        (["--workdir"], "Missing value for flag --workdir"),
    ],
)
def test_a_command_line_that_names_no_config(argv: list[str], words: str) -> None:
    assert any(words in line for line in problems(*argv))


def test_flags_of_a_commands_own(path: str) -> None:
    def define(values: absl_flags.FlagValues) -> None:
        absl_flags.DEFINE_integer("top", 3, "how many", flag_values=values)

    parsed = go(path, "--top=5", define=define)
    assert parsed.flags.top == 5
    assert "how many" not in problems(f"--config={path}", "--top=x", define=define)[0]
    assert problems(f"--config={path}", "word", define=define) == ["word: is no flag"]
    after = problems(f"--config={path}", "--", "--config.seed=3", define=define)
    assert after == ["--config.seed=3: is no flag"]


def test_commands_on_a_finished_run_take_no_config() -> None:
    parsed = read(["predict.py", "--workdir=runs/a"], takes_config=False)
    assert (parsed.workdir, len(parsed.config)) == ("runs/a", 0)
    assert problems("--config=x.py", takes_config=False)[0].startswith("--config: no such flag")
    assert problems(takes_config=False) == ["--workdir: is missing; give the folder of a finished run"]


def test_flags_count_as_parsed_for_grain(path: str) -> None:
    go(path)
    assert absl_flags.FLAGS.is_parsed()


def test_exit_codes(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["main.py", f"--config={path}", "--config.seed=x"])
    assert caught.value.code == 2
    assert "seed: found 'x'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        parse(["main.py", "--helpfull"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    for key in keys():
        assert key.replace("[]", "[0]") in printed


def test_the_real_process_answers_without_loading_jax(path: str, tmp_path: Path) -> None:
    code = (
        "import sys; from tl_jax import main\ntry: main.main(sys.argv)\nfinally: print('jax' in sys.modules)"
    )
    for flags, rc in (
        (["--help"], 0),
        ([f"--config={path}", "--config.data.rot=/x", f"--workdir={tmp_path}/run"], 2),
    ):
        command = [sys.executable, "-c", code, *flags]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == rc
        assert done.stdout.strip().endswith("False")
        assert "Traceback" not in done.stderr
    assert "data.rot: no such key; did you mean data.root?" in done.stderr
    assert not (tmp_path / "run").exists()
