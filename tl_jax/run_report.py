"""Gathers what the report of a run shows: from a run that has just ended, or from its folder, years later."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from tl_jax import compilation, defaults, inputs, plan_table
from tl_jax import config as configs
from tl_jax.backbones.anatomy import Backbone, split
from tl_jax.data import Data, Split, augment, order
from tl_jax.data.pairs import REFERENCE, SOURCE
from tl_jax.evaluation.grad_cam import heatmaps
from tl_jax.finished import Finished
from tl_jax.forward import Recipe
from tl_jax.job import Job, Outline, make_plans
from tl_jax.pooled import Fold, read_fold
from tl_jax.report import run as pages
from tl_jax.report.evidence import Evidence, Pictures, Scores, Shown
from tl_jax.report.table import Table
from tl_jax.tasks import Task
from tl_jax.workdir import Workdir, write_text
from tl_jax.writing import HYPOTHESIS

SHOWN = 12
"""Training pictures in a report."""

_BATCH = 64
"""Pictures of the first batch that are augmented for it, at the most."""


def write(folder: Workdir, evidence: Evidence) -> None:
    """Writes report.html, whole or not at all."""
    write_text(folder.report, pages.html(evidence))


def of_job(
    job: Job, folder: Workdir, result: dict[str, Any], logits: dict[str, np.ndarray], model: Backbone
) -> Evidence:
    """Of a run that has just ended; ``model`` has the chosen weights, and ``logits`` are what they made of
    ``val`` and ``test``."""
    if job.recipe.task.sequence:
        plan = plan_table.tables(job.outline, job.durations)
        return _of_texts(folder, job.config, result, plan, job.recipe.task)
    scores = [
        Scores(part.ids, part.groups, part.labels, logits[name])
        for name, part in (("val", job.data.val), ("test", job.data.test))
    ]
    plan = plan_table.tables(job.outline, job.durations)
    found = _evidence(folder, job.config, result, plan, job.recipe.task, *scores)
    return replace(found, **_examples(job.config, job.data, model, job.recipe))


def of_folder(run: Finished) -> Evidence:
    """Of what lies in a finished run's folder. Its pictures are read anew: where that cannot be done, or they
    are others now, the evidence has none, and says so."""
    config, folder, result = run.config, run.workdir, run.result
    _, params, stats = split(run.model)
    ends = [stage["end"] for stage in result["stages"]]
    steps = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    outline = Outline(config, make_plans(run.model, config.stages), run.mesh, params, stats)
    plan = plan_table.tables(outline, steps)
    if run.task.sequence:
        return _of_texts(folder, config, result, plan, run.task)
    scores = [_scores(read_fold("", folder, name)) for name in ("val", "test")]
    found = _evidence(folder, config, result, plan, run.task, *scores)
    try:
        data = run.data()
    except (ValueError, OSError, RuntimeError) as error:
        return replace(found, absent=f"the run's data cannot be read any more ({error})")
    if data.fingerprint != result["data"]["fingerprint"]:
        return replace(found, absent="the data have changed since the run")
    recipe = replace(run.recipe, label_smoothing=config.loss.label_smoothing)
    if isinstance(recipe.input, inputs.Pictures):
        recipe = replace(recipe, input=replace(recipe.input, augment=config.augment.to_dict()))
    return replace(found, **_examples(config, data, run.model, recipe))


def _of_texts(
    folder: Workdir, config: ConfigDict, result: dict[str, Any], plan: Sequence[Table], task: Task
) -> Evidence:
    """Of a run whose network wrote texts: they are in its predictions, and all else is too."""
    val, test = (read_fold("", folder, name) for name in ("val", "test"))
    columns = dict(zip(test.header, zip(*test.rows, strict=True), strict=True))
    written = {name: columns[name] for name in (SOURCE, REFERENCE, HYPOTHESIS)}
    found = _evidence(folder, config, result, plan, task, _scores(val), _scores(test))
    return replace(found, written=written, words=lambda rows: [written[SOURCE][int(i)] for i in rows])


def _evidence(
    folder: Workdir,
    config: ConfigDict,
    result: dict[str, Any],
    plan: Sequence[Table],
    task: Task,
    val: Scores,
    test: Scores,
) -> Evidence:
    lines = folder.metrics.read_text(encoding="utf-8").splitlines() if folder.metrics.exists() else []
    standard = {**defaults.config(), "stages": [defaults.stage() for _ in config.stages]}
    return Evidence(
        name=folder.root.resolve().name,
        result=result,
        history=[json.loads(line) for line in lines],
        plan=plan,
        metric=config.select.metric,
        changed=configs.differences(standard, config),
        seed=config.seed,
        val=val,
        test=test,
        task=task,
    )


def _scores(fold: Fold) -> Scores:
    return Scores(np.array(fold.ids), np.array(fold.groups), fold.labels, fold.logits)


def _examples(config: ConfigDict, data: Data, model: Backbone, recipe: Recipe) -> dict[str, Any]:
    """Fields of the evidence: pictures or texts."""
    if not isinstance(recipe.input, inputs.Pictures):
        words = data.test.columns[config.data.columns.text or config.data.features.text]
        return {"words": lambda rows: words[rows].tolist()}
    found = Pictures(
        training=first_batch(config, data.train, recipe, data.classes),
        test=lambda rows: np.asarray(data.test.images[rows]),
        heat=partial(heatmaps, model, recipe),
    )
    return {"pictures": found}


def first_batch(config: ConfigDict, train: Split, recipe: Recipe, classes: Sequence[str]) -> list[Shown]:
    """The first pictures of a run's first batch as its first step shows them to the network. Where a frozen
    prefix keeps augmented views, training sees those in their place, which are drawn alike."""
    rows = min(config.batch_size // config.accumulate, _BATCH)
    index = order.indices(config.seed, 0, config.batch_size, len(train))[:rows]
    images, labels = np.asarray(train.images[index]), train.labels[index]
    target = np.asarray(recipe.task.targets(jnp.asarray(labels), recipe.classes, 0.0))
    how = recipe.input
    assert isinstance(how, inputs.Pictures)
    if augment.changes(how.augment) or images.shape[1] != how.size:
        key = jax.random.fold_in(jax.random.key(config.seed), 0)
        if config.accumulate > 1:
            key = jax.random.fold_in(key, 0)
        arguments = (images, target, *jax.random.split(key, 3)[:2])
        program = compilation.once(
            (first_batch, recipe.inference, repr(how.augment), images.shape),
            lambda: compilation.compiled(jax.jit(how.shown).lower(*arguments)),
        )
        shown, target = (np.asarray(one) for one in program(*arguments))
        pixels = shown * np.asarray(how.std, np.float32) + np.asarray(how.mean, np.float32)
        images = (255 * pixels).round().clip(0, 255).astype(np.uint8)
    return [
        Shown(str(train.ids[row]), recipe.task.caption(one, classes), image)
        for row, one, image in zip(index[:SHOWN], target, images, strict=False)
    ]
