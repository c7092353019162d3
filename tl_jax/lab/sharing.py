"""The arms of a sharing experiment, and what their tasks reached."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from tl_jax.completion import plain_copy
from tl_jax.data.sources.errors import counted
from tl_jax.evaluation.estimate import Estimate
from tl_jax.lab.compare import Comparison, corrected, display_name, rises
from tl_jax.lab.grid import Run, Variation
from tl_jax.lab.records import Record
from tl_jax.lab.summary import Summary
from tl_jax.multitask.config import in_steps
from tl_jax.multitask.job import Jobs, prepare
from tl_jax.pooled import read_fold
from tl_jax.report.table import Column, Table, Value
from tl_jax.text_table import aligned
from tl_jax.workdir import Workdir

ALONE = "alone"
SURE = 0.05
"""Below this p the verdict speaks of a difference."""


def variations(config: ConfigDict, blocks: Sequence[int]) -> list[Variation]:
    """An arm for each number of shared blocks, and each task alone with the same steps and as many of its
    examples in each. The data are read, to know how long an epoch is. Raises as `prepare`."""
    jobs = prepare(config, say=lambda line: None)
    lengths = _in_steps(config, jobs)
    found = [
        Variation(f"share-{'all' if k < 0 else k}", {**lengths, "sharing.blocks": k}, {"arm": name_of(k)})
        for k in blocks
    ]
    for one, own in zip(config.tasks, jobs.each.values(), strict=True):
        patch = {**lengths, "tasks": (plain_copy(one),), "sharing": {}, "batch_size": own.config.batch_size}
        found.append(Variation(f"{ALONE}-{one.name}", patch, {"arm": ALONE, "task": one.name}))
    return found


def name_of(blocks: int) -> str:
    """What an arm is called."""
    return "all shared" if blocks < 0 else f"{blocks} blocks shared"


def plan(runs: Sequence[Run]) -> str:
    """What would be run."""
    rows = [["variation", "runs", "tasks", "examples a step", "steps"]]
    for one in {run.variation.name: run for run in runs}.values():
        config = one.config
        steps = sum(int(stage.duration.split()[0]) for stage in config.stages)
        number = sum(run.variation.name == one.variation.name for run in runs)
        names = ", ".join(task.name for task in config.tasks)
        rows.append([one.variation.name, str(number), names, str(config.batch_size), f"{steps:,}"])
    return "\n".join(aligned(rows, left=1))


def told(root: Path, records: Sequence[Record], config: ConfigDict, measure: str = "") -> Summary:
    """The runs in ``root`` for people. Raises ValueError where they cannot be compared."""
    tasks = [one.name for one in config.tasks]
    compared, measures = {}, {}
    for one in config.tasks:
        own = [line for line in records if line["facts"].get("task", one.name) == one.name]
        arms: dict[str, dict[int, Any]] = {}
        for line in own:
            fold = read_fold(line["name"], Workdir(root / line["name"] / one.name))
            arms.setdefault(line["facts"]["arm"], {})[line["seed"]] = fold
        folds = {arm: [runs[seed] for seed in sorted(runs)] for arm, runs in arms.items()}
        compared[one.name] = Comparison(folds, one.evaluation)
        measures[one.name] = compared[one.name].measure(measure)
    shared = [arm for arm in next(iter(compared.values())).points if arm != ALONE]
    differences = corrected(
        {
            (name, arm): compared[name].difference(arm, ALONE, measures[name])
            for name in tasks
            for arm in shared
        }
    )
    size = {arm: _parameters(root, records, arm) for arm in (*shared, ALONE)}
    rows: list[list[Value]] = []
    for name in tasks:
        for arm in (ALONE, *shared):
            difference = differences.get((name, arm))
            rows.append(
                [
                    name,
                    arm,
                    display_name(measures[name]),
                    compared[name].arm(arm, measures[name]),
                    difference,
                    None if difference is None else difference.p,
                    size[arm],
                ]
            )
    columns = [
        Column("task"),
        Column("arm"),
        Column("measure"),
        Column("value", "test"),
        Column("difference", "less alone", "+.4f"),
        Column("p", form=".3f"),
        Column("parameters", "parameters of all tasks"),
    ]
    first = next(iter(compared.values()))
    note = (
        f"means of {counted(first.seeds, 'seed')}; 95 % intervals over seeds and examples, or their groups; "
        "p corrected (Holm)"
    )
    return Summary(
        name="sharing",
        title="Does sharing a network help?",
        verdict=_verdict(differences, measures, size),
        tables=[Table(columns, rows, notes=[note])],
        facts={"measures": measures, "parameters": size},
    )


def _verdict(
    differences: dict[tuple[str, str], Estimate], measures: dict[str, str], size: dict[str, int]
) -> str:
    told = []
    for (name, arm), one in differences.items():
        better = (one.value > 0) == rises(measures[name])
        sure = one.p < SURE
        word = ("helped" if better else "cost") if sure else "made no difference that can be told to"
        effect = f"{display_name(measures[name])} {one.text('+.4f')}, p {one.p:.3f}"
        told.append(f"{arm}: {word} {name} ({effect})")
    least = min(size, key=lambda arm: size[arm])
    return f"{'; '.join(told)}. {least} has {size[least]:,} parameters, {ALONE} {size[ALONE]:,}."


def _parameters(root: Path, records: Sequence[Record], arm: str) -> int:
    """Of all that an arm needs to answer all tasks."""
    own = {line["variation"]: line for line in records if line["facts"]["arm"] == arm}
    results = [json.loads(Workdir(root / line["name"]).result.read_text()) for line in own.values()]
    return sum(one["parameters"] for one in results)


def _in_steps(config: ConfigDict, jobs: Jobs) -> dict[str, Any]:
    """Lengths of the config that mean the same whatever an epoch is."""
    warmups = [
        jobs.steps(stage.warmup, total=length)
        for stage, length in zip(config.stages, jobs.durations, strict=True)
    ]
    return {
        "stages": in_steps(config.stages, jobs.durations, warmups),
        **{key: f"{jobs.steps(_at(config, key))} steps" for key in ("select.every", "checkpoint.every")},
        "log_every": f"{jobs.steps(config.log_every)} steps",
    }


def _at(config: ConfigDict, key: str) -> str:
    group, _, name = key.partition(".")
    return config[group][name]
