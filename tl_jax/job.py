"""A job: a config turned into a loaded model, data, plans and lengths, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from tl_jax import data as data_room
from tl_jax import duration, freeze, intake, lora, pretrained, sharding, tasks
from tl_jax.backbones.anatomy import Backbone, split
from tl_jax.forward import Recipe
from tl_jax.freeze import FreezePlan
from tl_jax.intake import Intake


@dataclass(frozen=True)
class Outline:
    """What is known of a job when its data are read and its weights are not: ``params`` and ``stats`` have
    shapes in the place of arrays."""

    config: ConfigDict
    plans: tuple[FreezePlan, ...]
    mesh: Mesh
    params: Mapping[str, Any]
    stats: Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """Everything a run needs.

    ``base_params`` and ``base_stats`` are the starting weights, on the host; ``pretrained_paths`` those of
    them that a checkpoint gave; ``class_weights`` (K,) float32, as the task understands them; ``durations``
    the planned steps of each stage.
    """

    config: ConfigDict
    model: Backbone
    load_report: pretrained.LoadReport
    data: data_room.Data
    recipe: Recipe
    plans: tuple[FreezePlan, ...]
    durations: tuple[int, ...]
    mesh: Mesh
    base_params: Mapping[str, np.ndarray]
    base_stats: Mapping[str, np.ndarray]
    pretrained_paths: frozenset[str]
    class_weights: np.ndarray
    intake: Intake

    @property
    def examples(self) -> int:
        """How many an epoch has."""
        return len(self.data.train)

    @property
    def identity(self) -> dict[str, str]:
        """What a run must find again to go on: the weights it began with, and its data."""
        return {"weights": self.load_report.identity, "data": self.data.fingerprint}

    @property
    def unmeasured(self) -> np.ndarray:
        """In the place of validation's logits."""
        return np.zeros((len(self.data.val), self.recipe.task.width(self.recipe.classes)), np.float32)

    @property
    def rises(self) -> bool:
        """Whether more of `select.metric` is better."""
        return self.recipe.task.better[self.config.select.metric]

    def quick(self, logits: np.ndarray) -> dict[str, float | None]:
        """What training looks at, of validation's logits."""
        truth, names = self.data.val.labels, self.data.classes
        return self.recipe.task.quick(logits, truth, self.config.evaluation, names)

    @property
    def outline(self) -> Outline:
        return Outline(self.config, self.plans, self.mesh, self.base_params, self.base_stats)

    def steps(self, text: str, total: int | None = None) -> int:
        """A duration of this job's config in steps."""
        rows = self.config.batch_size
        return duration.steps(text, n=len(self.data.train), batch_size=rows, total=total)

    def touched(self, stage: int) -> frozenset[str]:
        """Leaves that may differ from the checkpoint the run started from, from ``stage`` on."""
        return touched(self.outline, self.pretrained_paths, stage)


def touched(outline: Outline, pretrained_paths: frozenset[str], stage: int) -> frozenset[str]:
    """Leaves that no checkpoint gave, or that a stage up to this one trains or moves."""
    every = (*outline.params, *outline.stats)
    paths = {path for path in every if path not in pretrained_paths}
    for plan in outline.plans[: stage + 1]:
        paths.update(plan.partition(outline.params)[0])
        paths.update(plan.partition_statistics(outline.stats)[0])
    return frozenset(paths)


def prepare(
    config: ConfigDict, say: Callable[[str], None] = print, *, ahead: Callable[[Outline], None] | None = None
) -> Job:
    """Loads what a completed config names: data, then weights; before either it is known that the plans of
    all stages can be made. ``ahead`` may begin what needs no weights.

    Raises ValueError (a `PretrainedError`, `SourceError`, `PlanError`, …) that lists what is wrong.
    """
    if config.tasks:
        names = ", ".join(one.name for one in config.tasks)
        raise ValueError(
            f"the config has several tasks ({names}), which only tl_jax.main and experiments.sharing take"
        )
    task = tasks.find(config.task)
    if config.select.metric not in task.better:
        raise ValueError(
            f"select.metric={config.select.metric!r} is not measured by task={config.task!r}; choose from "
            f"{', '.join(task.better)}"
        )
    rows = config.batch_size // config.accumulate  # pictures that go through the network at once
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.fsdp, rows)
    if config.mesh.data == 0 and mesh.size < jax.device_count():
        say(f"note: {mesh.size} of {jax.device_count()} devices are used, as no more divide {rows} pictures")
    name, arch = config.model.pretrained, config.model.arch.to_dict()
    pooling = "each" if task.sequence else config.model.pooling
    facts = pretrained.inspect(
        name,
        arch=arch,
        pooling=pooling,
        cache_dir=config.model.cache_dir or None,
        offline=config.model.offline,
    )
    intake.refuse(task, facts)
    top = pretrained.top.entries(config.model.neck, config.model.head)
    outline = pretrained.outline(facts, top=top)
    lora.add(outline, config.model.lora)
    pretrained.renewed.check(outline, config.model.keep)
    sharding.refuse_idle(split(outline)[1], mesh)
    plans = make_plans(outline, config.stages)
    for note in idle_settings(config.stages):
        say(note)
    taken = intake.of(config, facts, outline.spec, say)
    data = data_room.load_by(taken.reader, config.data, say, task.labels)
    for note in data.notes:
        say(note)
    if problems := task.problems(config, data.classes):
        raise ValueError("\n".join(problems))
    task = task.fitted(data.train.labels, config.loss)
    weights = task.weights(config.loss, data.train.labels, data.classes)
    if len(data.classes) > 2 and (config.evaluation.positive or config.evaluation.prevalence >= 0):
        say(f"note: evaluation.positive and prevalence concern two classes; here are {len(data.classes)}")

    dropout, seed = config.model.dropout, config.seed
    outputs = task.outputs(len(data.classes))
    if ahead is not None:
        coming = pretrained.outline(
            facts, num_classes=outputs, classes=data.classes, top=top, **taken.seen(data)
        )
        lora.add(coming, config.model.lora)
        _, params, stats = split(coming)
        ahead(Outline(config, plans, mesh, params, stats))
    common: dict[str, Any] = dict(top=top, dropout=dropout, seed=seed, preprocess=taken.preprocess)
    common |= taken.seen(data)
    if facts.folder is not None:
        model, report = pretrained.load(
            facts.folder,
            num_classes=outputs,
            classes=data.classes,
            pooling=pooling,
            gray=config.model.gray,
            keep=config.model.keep,
            **common,
        )
    else:
        model, report = pretrained.scratch(dict(facts.config), num_classes=outputs, **common)
    lora.add(model, config.model.lora, seed=seed)
    _, params, stats = split(model)
    if any(path.startswith("head/") for path in report.loaded_paths):
        params = task.inward(params)
    recipe = Recipe(
        task=task,
        classes=len(data.classes),
        input=taken.input(model.spec),
        label_smoothing=config.loss.label_smoothing,
        precision=config.precision,
    )
    durations = duration.stage_steps(
        [stage.duration for stage in config.stages], n=len(data.train), batch_size=config.batch_size
    )
    check_warmups(config, durations, n=len(data.train))
    check_budgets(config, data.train.images.nbytes // len(data.train))
    return Job(
        config=config,
        model=model,
        load_report=report,
        data=data,
        recipe=recipe,
        plans=plans,
        durations=durations,
        mesh=mesh,
        base_params=jax.device_get(params),
        base_stats=jax.device_get(stats),
        pretrained_paths=report.loaded_paths,
        class_weights=weights,
        intake=taken,
    )


def make_plans(model: Backbone, stages: Sequence[Any]) -> tuple[FreezePlan, ...]:
    """The plan of every stage. Plans are made of paths, so that ``model`` may be abstract, and its head any.
    Raises PlanError, with every problem of every stage."""
    plans, problems = [], []
    for number, stage in enumerate(stages):
        try:
            plans.append(freeze.plan(model, stage))
        except freeze.PlanError as error:
            problems += [f"stages[{number}] {stage.name!r}: {line}" for line in str(error).splitlines()]
    if problems:
        raise freeze.PlanError("\n".join(problems))
    return tuple(plans)


def idle_settings(stages: Sequence[Any]) -> Iterator[str]:
    """A line for each setting of a stage that does nothing there."""
    if stages[0].restore_best:
        yield f"note: stage {stages[0].name!r} is the first, so restore_best does nothing"
    for stage in stages:
        decays = [stage.weight_decay, *(rule.weight_decay for rule in stage.rules)]
        if stage.optimizer == "adam" and max(decays) > 0:
            yield f"note: stage {stage.name!r}: adam decays no weights, weight_decay does nothing; use adamw"


def check_warmups(config: ConfigDict, durations: Sequence[int], *, n: int) -> None:
    """Raises ValueError where a stage, as long as ``durations`` says in steps, ends before its warm-up.
    ``n``: training pictures."""
    problems = []
    for number, (stage, length) in enumerate(zip(config.stages, durations, strict=True)):
        warmup = duration.steps(stage.warmup, n=n, batch_size=config.batch_size, total=length)
        if warmup > length:
            problems.append(
                f"stages[{number}].warmup={stage.warmup!r} is {warmup} steps here, longer than the stage "
                f"({stage.duration!r}, {length} steps)"
            )
    if problems:
        raise ValueError("\n".join(problems))


def check_budgets(config: ConfigDict, each: int) -> None:
    """Raises ValueError where a budget has no room for one batch. ``each``: bytes of a training picture."""
    batch, data = config.batch_size * each, config.data
    problems = [
        f"data.{name}={data[name]:,} bytes is less than one batch ({config.batch_size} pictures of {each:,} "
        f"bytes, {batch:,} in all): {advice}"
        for name, advice in (
            ("device_budget", "raise it, or set it to 0, and batches are streamed"),
            ("host_budget", "raise it, or set it to 0, and pictures are read from the disk"),
        )
        if 0 < data[name] < batch
    ]
    if problems:
        raise ValueError("\n".join(problems))
