"""What the keys of a config must agree on among themselves.

Facts of the data and of the weights are not known yet; where a config must agree with those, the part
that reads them checks it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from tl_jax import defaults, duration
from tl_jax.completion import Problem, merge
from tl_jax.completion import plain_copy as to_plain
from tl_jax.multitask.config import LOSS, OF_A_TASK, single
from tl_jax.schema import METRICS


def problems(config: ConfigDict) -> Iterator[Problem]:
    """What does not fit together in a completed config, even where single values are wrong."""
    yield from _stages(config)
    yield from _model(config)
    yield from _batch(config)
    if config.tasks:
        yield from _tasks(config)
        return
    yield from _of_one(config)
    if to_plain(config.sharing) != defaults.sharing():
        yield Problem("sharing", "is set, but there are no tasks that could share anything")


def _of_one(config: ConfigDict) -> Iterator[Problem]:
    """What a task by itself needs."""
    yield from _data(config)
    yield from _head(config)
    yield from _task(config)


def _tasks(config: ConfigDict) -> Iterator[Problem]:
    if config.select.metric != LOSS:
        text = f'found {config.select.metric!r}; weights of several tasks are chosen by "{LOSS}", their mean'
        yield Problem("select.metric", text)
    standard = merge({})[0]
    for key in (*OF_A_TASK, "model.head"):
        if to_plain(_get(config, key)) != to_plain(_get(standard, key)) and key != "loss":
            yield Problem(key, "is set, and so are tasks, each of which has its own: set it there")
    seen: set[str] = set()
    for i, one in enumerate(config.tasks):
        if one.name in seen:
            yield Problem(f"tasks[{i}].name", f"found {one.name!r}, which another task is called already")
        seen.add(one.name)
        if one.task == "translation":
            text = "found 'translation': a language model has no head to put beside others; run it by itself"
            yield Problem(f"tasks[{i}].task", text)
        if one.loss.l2_sp:
            yield Problem(f"tasks[{i}].loss.l2_sp", "is for all tasks together: set loss.l2_sp")
        own, wrong = merge(single(config, i))
        for problem in (*wrong, *_of_one(own)):
            path = re.sub(r"^model[.]head", "head", problem.path)
            yield Problem(f"tasks[{i}].{path}", problem.text)


def _get(config: ConfigDict, key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


def _task(config: ConfigDict) -> Iterator[Problem]:
    task, metric, data = config.task, config.select.metric, config.data
    if not isinstance(task, str) or task not in METRICS:
        return
    if metric not in METRICS[task]:
        near = difflib.get_close_matches(metric, METRICS[task], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        allowed = " | ".join(f'"{name}"' for name in METRICS[task])
        yield Problem(
            "select.metric", f"found {metric!r}; task={task!r} measures, and allowed are: {allowed}{hint}"
        )
    several = task != "classification"
    if several and data.classes:
        text = f"found {data.classes!r}, but task={task!r} has no classes: name data.columns.labels"
        yield Problem("data.classes", text)
    if several and data.shift.labels:
        yield Problem("data.shift.labels", f"found {data.shift.labels!r}, which is for classes, not {task!r}")
    learned = {"classification": "label", "translation": "target"}.get(task, "labels")
    if learned != "label" and data.source == "csv" and not data.columns[learned]:
        what = "column" if learned == "target" else "columns"
        yield Problem(
            f"data.columns.{learned}", f"is empty; task={task!r} learns from the {what} that it names"
        )
    for other in {"labels", "target"} - {learned}:
        if data.columns[other]:
            text = f"found {data.columns[other]!r}; task={task!r} learns from data.columns.{learned}"
            yield Problem(f"data.columns.{other}", text)
    if task != "regression" and config.loss.huber:
        yield Problem("loss.huber", f"found {config.loss.huber!r}, which is for task='regression'")


def _stages(config: ConfigDict) -> Iterator[Problem]:
    stages = config.stages
    if not stages:
        text = 'there are none; give at least one, such as dict(duration="3 epochs", train="head")'
        yield Problem("stages", text)
    seen: dict[str, int] = {}
    for i, stage in enumerate(stages):
        if stage.name in seen:
            text = (
                f"found {stage.name!r}, which stages[{seen[stage.name]}] is called already; names must differ"
            )
            yield Problem(f"stages[{i}].name", text)
        seen.setdefault(stage.name, i)
        if duration.exceeds(stage.warmup, stage.duration, batch_size=config.batch_size):
            text = f"found {stage.warmup!r}, longer than the stage ({stage.duration!r})"
            yield Problem(f"stages[{i}].warmup", text)
    if text := duration.check_stages([stage.duration for stage in stages]):
        yield Problem("stages", text)


def _data(config: ConfigDict) -> Iterator[Problem]:
    data = config.data
    if data.fractions.val + data.fractions.test >= 1:
        text = f"val {data.fractions.val:g} and test {data.fractions.test:g} leave nothing to train on"
        yield Problem("data.fractions", text)
    source = data.source if isinstance(data.source, str) else ""
    needed = {"folder": "root", "csv": "manifest", "tfds": "name"}.get(source)
    if needed and not data[needed]:
        yield Problem(f"data.{needed}", f'is empty; data.source="{source}" reads from it')
    if source == "dicom" and not (data.root or data.manifest):
        yield Problem("data.root", 'is empty, and so is data.manifest; data.source="dicom" reads from one')
    if 0 < data.canvas < data.image_size:
        yield Problem("data.canvas", f"found {data.canvas}, smaller than data.image_size={data.image_size}")
    if data.classes:
        names, weights, positive = data.classes, config.loss.class_weights, config.evaluation.positive
        if positive and positive not in names:
            yield Problem("evaluation.positive", f"found {positive!r}; data.classes holds {', '.join(names)}")
        if not isinstance(weights, str) and weights and len(weights) != len(names):
            yield Problem("loss.class_weights", f"has {len(weights)} numbers for {len(names)} classes")


def _model(config: ConfigDict) -> Iterator[Problem]:
    if not config.model.pretrained and not config.model.arch.get("model_type"):
        text = 'is empty, and model.arch has no "model_type"; name weights to start from, or an architecture'
        yield Problem("model.pretrained", text)
    elif not config.model.pretrained and config.model.keep != "all":
        text = f"found {config.model.keep!r}, but model.pretrained is empty: there are no weights to keep"
        yield Problem("model.keep", text)
    mean, std = config.preprocess.mean, config.preprocess.std
    if mean and std and len(mean) != len(std):
        yield Problem("preprocess.std", f"has {len(std)} numbers where preprocess.mean has {len(mean)}")


def _head(config: ConfigDict) -> Iterator[Problem]:
    head = config.model.head
    if head.name == "mlp" and not head.sizes:
        yield Problem("model.head.sizes", 'is empty; model.head.name="mlp" needs the width of a hidden layer')
    if head.name != "mlp" and (head.sizes or head.dropout):
        key, value = ("sizes", head.sizes) if head.sizes else ("dropout", head.dropout)
        text = f'found {value!r}, but only model.head.name="mlp" has hidden layers, not {head.name!r}'
        yield Problem(f"model.head.{key}", text)
    if head.output == "sigmoid" and not head.name:
        text = 'found "sigmoid", but model.head.name is empty: the weights\' own head is taken; name one'
        yield Problem("model.head.output", text)
    if head.output == "sigmoid" and len(config.data.classes) > 2:
        text = f'found "sigmoid", one unit for two classes; data.classes holds {len(config.data.classes)}'
        yield Problem("model.head.output", text)


def _batch(config: ConfigDict) -> Iterator[Problem]:
    if config.accumulate < 1 or config.batch_size < 1:
        return
    rows, rest = divmod(config.batch_size, config.accumulate)
    if rest:
        text = f"found {config.accumulate}, which does not divide batch_size={config.batch_size}"
        yield Problem("accumulate", text)
        return
    data, fsdp = config.mesh.data, config.mesh.fsdp
    if data > 0 and rows % data:
        yield Problem("mesh.data", f"found {data}, which does not divide a step's {rows} pictures")
    elif fsdp > 0 and rows % (max(data, 1) * fsdp):
        with_data = f", which with mesh.data={data} makes {data * fsdp} devices" if data > 1 else ""
        yield Problem("mesh.fsdp", f"found {fsdp}{with_data}; they do not divide a step's {rows} pictures")
