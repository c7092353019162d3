"""The jobs of several tasks as one, which a trainer takes like any other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from tl_jax import config as configs
from tl_jax import duration, job, tasks
from tl_jax.freeze import FreezePlan
from tl_jax.job import Job, Outline
from tl_jax.multitask.config import LOSS, in_steps, single
from tl_jax.multitask.union import Union, shares


@dataclass(frozen=True)
class Jobs:
    """``each``: a task's own job, whose config is that of the task alone, with a batch of its share;
    ``plans`` and leaves are of the union."""

    config: ConfigDict
    each: Mapping[str, Job]
    union: Union
    plans: tuple[FreezePlan, ...]
    durations: tuple[int, ...]
    base_params: Mapping[str, np.ndarray]
    base_stats: Mapping[str, np.ndarray]
    pretrained_paths: frozenset[str]

    @property
    def first(self) -> Job:
        """What is the same for all tasks is looked up here."""
        return next(iter(self.each.values()))

    @property
    def mesh(self) -> Mesh:
        return self.first.mesh

    @property
    def outline(self) -> Outline:
        return Outline(self.config, self.plans, self.mesh, self.base_params, self.base_stats)

    @property
    def examples(self) -> int:
        """An epoch is as many examples as all tasks have together."""
        return sum(one.examples for one in self.each.values())

    @property
    def identity(self) -> dict[str, str]:
        data = {name: one.data.fingerprint for name, one in self.each.items()}
        return {"weights": self.first.load_report.identity, "data": repr(data)}

    @property
    def unmeasured(self) -> dict[str, np.ndarray]:
        return {name: one.unmeasured for name, one in self.each.items()}

    @property
    def class_weights(self) -> dict[str, np.ndarray]:
        return {name: one.class_weights for name, one in self.each.items()}

    @property
    def weights(self) -> dict[str, float]:
        """What each task's loss counts."""
        return {one.name: one.weight for one in self.config.tasks}

    @property
    def rises(self) -> bool:
        return False

    def quick(self, logits: Mapping[str, np.ndarray]) -> dict[str, float | None]:
        """Each task's own measures, as ``NAME/MEASURE``, and `LOSS`."""
        found, losses = {}, {}
        for name, one in self.each.items():
            own = one.quick(logits[name])
            found |= {f"{name}/{measure}": value for measure, value in own.items()}
            losses[name] = one.recipe.task.validation_loss(logits[name], one.data.val.labels)
        total = sum(self.weights.values())
        known = all(value is not None for value in losses.values())
        mean = sum(self.weights[name] * (value or 0) for name, value in losses.items()) / total
        return {LOSS: mean if known else None, **{f"{name}/{LOSS}": v for name, v in losses.items()}, **found}

    def steps(self, text: str, total: int | None = None) -> int:
        """A duration of the config in steps."""
        return duration.steps(text, n=self.examples, batch_size=self.config.batch_size, total=total)

    def touched(self, stage: int) -> frozenset[str]:
        """As `Job.touched`."""
        every = (*self.base_params, *self.base_stats)
        paths = {path for path in every if path not in self.pretrained_paths}
        for plan in self.plans[: stage + 1]:
            paths.update(plan.partition(self.base_params)[0])
            paths.update(plan.partition_statistics(self.base_stats)[0])
        return frozenset(paths)


def prepare(config: ConfigDict, say: Callable[[str], None] = print) -> Jobs:
    """Loads what a completed config of several tasks names. Raises ValueError, with the task's name in front,
    for whatever `tl_jax.job.prepare` refuses, and where the tasks' networks cannot share leaves."""
    rows = shares([one.proportion for one in config.tasks], config.batch_size, config.accumulate)
    devices = config.mesh.data or math.gcd(*(n // config.accumulate for n in rows), jax.device_count())
    draft = in_steps(config.stages, [1] * len(config.stages), [0] * len(config.stages))
    each: dict[str, Job] = {}
    for number, (one, n) in enumerate(zip(config.tasks, rows, strict=True)):
        say(f"task {one.name!r}: {n} of a batch's {config.batch_size} examples")
        metric = next(iter(tasks.find(one.task).better))
        changes = dict(
            batch_size=n,
            stages=draft,
            select={**config.select, "metric": metric},
            mesh={**config.mesh, "data": devices},
        )
        try:
            own = job.prepare(configs.complete(single(config, number, **changes)), say)
        except configs.ConfigError:
            raise
        except ValueError as error:
            raise type(error)(f"task {one.name!r}: {error}") from error
        each[one.name] = own
    union = Union(tuple(each), config.sharing.blocks, config.sharing.weights == "uncertainty")
    _check(union, each)
    n = sum(one.examples for one in each.values())
    lengths = duration.stage_steps([s.duration for s in config.stages], n=n, batch_size=config.batch_size)
    job.check_warmups(config, lengths, n=n)
    warmups = [
        duration.steps(stage.warmup, n=n, batch_size=config.batch_size, total=length)
        for stage, length in zip(config.stages, lengths, strict=True)
    ]
    staged = in_steps(config.stages, lengths, warmups)
    each = {
        name: replace(one, config=configs.complete({**one.config, "stages": staged}), durations=lengths)
        for name, one in each.items()
    }
    params = union.params({name: one.base_params for name, one in each.items()})
    if union.learned:
        params |= {union.balance(name): np.zeros((), np.float32) for name in each}
    loaded = {union.place(name, path) for name, one in each.items() for path in one.pretrained_paths}
    return Jobs(
        config=config,
        each=each,
        union=union,
        plans=tuple(
            union.plan({name: one.plans[stage] for name, one in each.items()})
            for stage in range(len(config.stages))
        ),
        durations=lengths,
        base_params=params,
        base_stats=union.stats({name: one.base_stats for name, one in each.items()}),
        pretrained_paths=frozenset(loaded | _loaded_statistics(union, each)),
    )


def _loaded_statistics(union: Union, each: Mapping[str, Job]) -> set[str]:
    return {
        union.own(name, path)
        for name, one in each.items()
        for path in one.base_stats
        if path in one.pretrained_paths
    }


def _check(union: Union, each: Mapping[str, Job]) -> None:
    """Raises ValueError where what is to be shared differs between tasks."""
    (first, one), *others = each.items()
    blocks = len(one.model.blocks)
    if union.blocks > blocks:
        raise ValueError(f"sharing.blocks={union.blocks}: this network has {blocks} blocks")
    problems = []
    for name, other in others:
        for path in sorted({*one.base_params, *other.base_params}):
            if not union.is_shared(path):
                continue
            shapes = [
                "absent" if path not in leaves else str(leaves[path].shape)
                for leaves in (one.base_params, other.base_params)
            ]
            if shapes[0] != shapes[1]:
                problems.append(f"{path}: {shapes[0]} in {first!r}, {shapes[1]} in {name!r}")
    if problems:
        raise ValueError(
            "the tasks cannot share a network; their pictures are probably of different sizes or channels "
            "(data.image_size):\n  " + "\n  ".join(problems[:10])
        )
