"""The end of a run: decision and calibration on validation, then the test split, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tl_jax import lora, pretrained, processes
from tl_jax.backbones.anatomy import Backbone, Leaves, merge, split
from tl_jax.data import Data, Split
from tl_jax.data.pairs import PairReader
from tl_jax.job import Job
from tl_jax.tasks import Task
from tl_jax.text_table import comma_separated
from tl_jax.workdir import Workdir, write_text
from tl_jax.writing import Writer, judged


def finish(job: Job, workdir: Workdir, leaves: Leaves, logits: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Measures the chosen weights and writes predictions and ``model/``; the result's measures.

    ``leaves``: the weights and statistics, in host memory; ``logits``: what they made of ``val`` and
    ``test``. Calibration and threshold are fitted on validation;
    only then is the test split looked at. Where the task is to write, texts are written and measured here.
    """
    classes, task = job.data.classes, job.recipe.task
    write = writer(job, leaves) if task.sequence else None
    found = measured(task, job.data, logits, workdir, settings=job.config.evaluation, write=write)
    if processes.is_first():
        pretrained.export_leaves(
            job.model.spec,
            task.outward(lora.merged(job.model, leaves)),
            workdir.model,
            classes=classes,
            problem=task.kind,
            tokenizer=job.intake.tokenizer.path if job.intake.tokenizer else None,
        )
    return {**found, "classes": list(classes)}


def measured(
    task: Task,
    data: Data,
    logits: Mapping[str, np.ndarray],
    workdir: Workdir,
    *,
    settings: Any,
    write: Writer | None,
) -> dict[str, Any]:
    """The ``decision`` that ``logits`` of ``val`` lead to, and with it the measures of ``test`` and ``val``,
    whose predictions are written. ``settings``: ``config.evaluation``; ``write``: where texts are to be
    written."""
    classes = data.classes
    decision = task.decide(logits["val"], data.val.labels, names=classes, settings=settings)
    measures = {}
    for name, examples in (("test", data.test), ("val", data.val)):
        found = logits[name]
        if write is not None:
            examples, found = judged(task, examples, found, write)
        measures[name] = task.measure(
            found, examples.labels, examples.groups, names=classes, decision=decision, settings=settings
        )
        text = predictions(task, examples, found, classes, decision)
        write_text(workdir.predictions(name), text)
    return {**measures, "decision": decision.to_dict()}


def network(job: Job, leaves: Leaves) -> Backbone:
    """The network with the chosen weights."""
    graph, params, stats = split(job.model)
    return merge(graph, {path: leaves[path] for path in params}, {path: leaves[path] for path in stats})


def writer(job: Job, leaves: Leaves) -> Writer:
    """Writes by the chosen weights."""
    assert isinstance(job.intake.reader, PairReader)
    return Writer(network(job, leaves), job.intake.reader, job.mesh, job.config.evaluation)


def predictions(
    task: Task, pictures: Split, logits: np.ndarray, classes: Sequence[str], decision: Any
) -> str:
    """Predictions as CSV text: one row a picture, what is true and what the task answers. A column of the
    data that is called as one of ours goes by ``data_`` and its name."""
    ours = {**task.truth(pictures.labels, classes), **task.answers(logits, decision, classes)}
    taken = {"id", "group", *ours}
    columns = [f"data_{name}" if name in taken else name for name in pictures.columns]
    cells = (pictures.ids, pictures.groups, *pictures.columns.values(), *ours.values())
    return comma_separated([["id", "group", *columns, *ours], *zip(*cells, strict=True)])
