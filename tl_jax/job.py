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
from tl_jax import duration, freeze, lora, pretrained, sharding, tasks
from tl_jax.backbones.anatomy import Backbone, Preprocess, TextInput, split
from tl_jax.data import augment
from tl_jax.data.texts import TextReader
from tl_jax.evaluation.decision import positive_class
from tl_jax.freeze import FreezePlan
from tl_jax.inputs import Texts, pictures_of
from tl_jax.pretrained import hub
from tl_jax.pretrained.tokenizer import TOKENIZER, Tokenizer
from tl_jax.step import Recipe
from tl_jax.tasks import classification


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

    ``base_params`` and ``base_stats`` are the starting weights, on the host; ``pretrained_paths``
    those of them that a checkpoint gave; ``class_weights`` (K,) float32; ``durations`` the planned steps of
    each stage; ``tokenizer`` of texts, None for pictures.
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
    resample: str
    tokenizer: Tokenizer | None = None

    @property
    def positive(self) -> int:
        """The class to detect: `evaluation.positive`, else the last."""
        return positive_class(self.config.evaluation.positive, self.data.classes)

    @property
    def outline(self) -> Outline:
        return Outline(self.config, self.plans, self.mesh, self.base_params, self.base_stats)

    @property
    def reading(self) -> dict[str, Any]:
        """What a later command needs to know to read examples as this job does, for result.json."""
        if isinstance(self.recipe.input, Texts):
            return {"longest": self.recipe.input.longest}
        return {
            "size": self.recipe.input.size,
            "channels": self.data.channels,
            "at_least": self.data.at_least,
            "fit": self.config.data.fit,
            "resample": self.resample,
        }

    def steps(self, text: str, total: int | None = None) -> int:
        """A duration of this job's config in steps."""
        rows = self.config.batch_size
        return duration.steps(text, n=len(self.data.train), batch_size=rows, total=total)

    def touched(self, stage: int) -> frozenset[str]:
        """Leaves that may differ from the checkpoint the run started from, from ``stage`` on."""
        every = (*self.base_params, *self.base_stats)
        paths = {path for path in every if path not in self.pretrained_paths}
        for plan in self.plans[: stage + 1]:
            paths.update(plan.partition(self.base_params)[0])
            paths.update(plan.partition_statistics(self.base_stats)[0])
        return frozenset(paths)


def prepare(
    config: ConfigDict, say: Callable[[str], None] = print, *, ahead: Callable[[Outline], None] | None = None
) -> Job:
    """Loads what a completed config names: data, then weights; before either it is known that the plans of
    all stages can be made. ``ahead`` may begin what needs no weights.

    Raises ValueError (a `PretrainedError`, `SourceError`, `PlanError`, …) that lists what is wrong.
    """
    task = tasks.find(config.task)
    rows = config.batch_size // config.accumulate  # pictures that go through the network at once
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.fsdp, rows)
    if config.mesh.data == 0 and mesh.size < jax.device_count():
        say(f"note: {mesh.size} of {jax.device_count()} devices are used, as no more divide {rows} pictures")
    name, arch = config.model.pretrained, config.model.arch.to_dict()
    pooling = config.model.pooling
    facts = pretrained.inspect(
        name,
        arch=arch,
        pooling=pooling,
        cache_dir=config.model.cache_dir or None,
        offline=config.model.offline,
    )
    top = pretrained.top.entries(config.model.neck, config.model.head)
    outline = pretrained.outline(facts, top=top)
    lora.add(outline, config.model.lora)
    pretrained.renewed.check(outline, config.model.keep)
    if pooling and outline.spec.text is None:
        raise ValueError(
            f"model.pooling={pooling!r} is for networks that read texts, and this one sees pictures"
        )
    sharding.refuse_idle(split(outline)[1], mesh)
    plans = make_plans(outline, config.stages)
    for note in idle_settings(config.stages):
        say(note)
    preprocess = overridden(facts.preprocess, config.preprocess, config.data.fit)
    size, tokenizer = 0, None
    if outline.spec.text is not None:
        tokenizer, longest = _tokenizer(config, facts, outline.spec.text)
        data = data_room.load_by(TextReader(tokenizer, longest), config.data, say)
    else:
        size, longest = config.data.image_size or preprocess.size[0], 0
        if not config.data.image_size and preprocess.size[0] != preprocess.size[1]:
            say(f"note: the weights were made at {preprocess.size} (height, width); {size} × {size} is used")
        data = data_room.load(
            config.data,
            image_size=size,
            channels=facts.channels,
            resample=preprocess.resample,
            augmented=augment.moves_pixels(config.augment),
            say=say,
        )
    for note in data.notes:
        say(note)
    positive_class(config.evaluation.positive, data.classes)
    weights = classification.class_weights(config.loss.class_weights, data.train.labels, data.classes)
    if len(data.classes) > 2 and (config.evaluation.positive or config.evaluation.prevalence >= 0):
        say(f"note: evaluation.positive and prevalence concern two classes; here are {len(data.classes)}")

    channels = 1 if data.channels == 1 and config.model.gray == "sum" else facts.channels
    dropout, seed = config.model.dropout, config.seed
    outputs = task.outputs(len(data.classes))
    if ahead is not None:
        seen = {} if tokenizer else dict(image_size=size, channels=channels)
        coming = pretrained.outline(facts, num_classes=outputs, top=top, **seen)
        lora.add(coming, config.model.lora)
        _, params, stats = split(coming)
        ahead(Outline(config, plans, mesh, params, stats))
    common: dict[str, Any] = dict(top=top, dropout=dropout, seed=seed)
    if tokenizer is None:
        common |= dict(image_size=size, channels=channels, preprocess=preprocess)
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
    spec = model.spec
    recipe = Recipe(
        task=task,
        classes=len(data.classes),
        input=Texts(longest) if tokenizer else pictures_of(spec, size, config.augment.to_dict()),
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
        resample=preprocess.resample,
        tokenizer=tokenizer,
    )


def _tokenizer(config: ConfigDict, facts: pretrained.Facts, text: TextInput) -> tuple[Tokenizer, int]:
    """What makes tokens of texts, and how many of a text there may be."""
    problems = [f"{key} is for pictures, and the network reads texts" for key in text_problems(config)]
    keys = {"csv": "data.columns.text", "tfds": "data.features.text"}
    if config.data.source == "folder":
        problems.append("data.source='folder' gives pictures, and the network reads texts: take 'csv'")
    elif (key := keys.get(config.data.source)) and not config.data[key.split(".")[1]].text:
        problems.append(f"{key} is empty, and the network reads texts: it must name what holds them")
    if config.data.max_tokens > text.longest:
        problems.append(
            f"data.max_tokens={config.data.max_tokens} is more than the {text.longest} that the network reads"
        )
    if not config.data.tokenizer and facts.folder is None:
        problems.append(
            "data.tokenizer is empty, and a network from scratch has none: name a folder or hub id"
        )
    if problems:
        raise ValueError("\n".join(problems))
    folder = facts.folder
    if config.data.tokenizer:
        model = config.model
        folder = hub.locate(
            config.data.tokenizer, cache_dir=model.cache_dir or None, offline=model.offline
        ).folder
    assert folder is not None
    tokenizer = Tokenizer(folder / TOKENIZER)
    tokenizer.check(text.vocabulary, facts.source)
    return tokenizer, config.data.max_tokens or text.longest


def text_problems(config: ConfigDict) -> list[str]:
    """Keys of the config that are set and mean nothing for texts."""
    found = ["data.image_size"] if config.data.image_size else []
    return [*found, *(["augment"] if augment.changes(config.augment) else [])]


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


def overridden(preprocess: Preprocess, config: ConfigDict, fit: str) -> Preprocess:
    """The weights' own preprocessing where the config leaves it alone. How pictures meet the square is
    ``fit``, `data.fit` of the config, so that a crop of the weights' own is not taken over."""
    return Preprocess(
        size=preprocess.size,
        mean=tuple(config.mean) or preprocess.mean,
        std=tuple(config.std) or preprocess.std,
        resample=config.resample or preprocess.resample,
        fit=fit,
    )
