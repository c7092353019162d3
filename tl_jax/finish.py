"""The end of a run: decision and calibration on validation, then the test split, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tl_jax import evaluation, lora, pretrained, processes
from tl_jax.backbones.anatomy import Backbone, Leaves, merge, split
from tl_jax.data import Split
from tl_jax.evaluation import Decision
from tl_jax.job import Job
from tl_jax.text_table import comma_separated
from tl_jax.workdir import Workdir, write_text


def finish(job: Job, workdir: Workdir, leaves: Leaves, logits: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Measures the chosen weights and writes predictions and ``model/``; the result's measures.

    ``leaves``: the weights and statistics, in host memory; ``logits``: what they made of ``val`` and
    ``test``. Calibration and threshold are fitted on validation;
    only then is the test split looked at.
    """
    settings, classes = job.config.evaluation, job.data.classes
    decision = evaluation.fit_decision(logits["val"], job.data.val.labels, classes=classes, settings=settings)
    measures = {}
    for name, pictures in (("test", job.data.test), ("val", job.data.val)):
        measures[name] = evaluation.measure(
            logits[name],
            pictures.labels,
            pictures.groups,
            classes=classes,
            decision=decision,
            settings=settings,
        )
        text = predictions(pictures, logits[name], classes, decision)
        write_text(workdir.predictions(name), text)
    if processes.is_first():
        pretrained.export_leaves(
            job.model.spec,
            lora.merged(job.model, leaves),
            workdir.model,
            classes=classes,
            tokenizer=job.tokenizer.path if job.tokenizer else None,
        )
    return {**measures, "decision": decision.to_dict(), "classes": list(classes)}


def network(job: Job, leaves: Leaves) -> Backbone:
    """The network with the chosen weights."""
    graph, params, stats = split(job.model)
    return merge(graph, {path: leaves[path] for path in params}, {path: leaves[path] for path in stats})


def predictions(pictures: Split, logits: np.ndarray, classes: Sequence[str], decision: Decision) -> str:
    """Predictions as CSV text: one row a picture, calibrated probabilities and the decision. A column of the
    data that is called as one of ours goes by ``data_`` and its name."""
    probabilities = evaluation.probabilities(logits, decision)
    decided = evaluation.decide(probabilities, decision)
    numbers = [f"probability_{name}" for name in classes] + [f"logit_{name}" for name in classes]
    taken = {"id", "group", "label", "decision", *numbers}
    columns = [f"data_{name}" if name in taken else name for name in pictures.columns]
    rows: list[list[Any]] = [["id", "group", *columns, "label", "decision", *numbers]]
    for i, name in enumerate(pictures.ids):
        facts = [name, pictures.groups[i], *(column[i] for column in pictures.columns.values())]
        cells = [f"{value:.6g}" for value in (*probabilities[i], *logits[i])]
        rows.append([*facts, classes[pictures.labels[i]], classes[decided[i]], *cells])
    return comma_separated(rows)
