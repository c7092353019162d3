"""A run of several tasks, from its config to a folder that holds each task's as a finished run of its own."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from tl_jax import command, plan_table, prefix, processes, runs, version
from tl_jax import config as configs
from tl_jax.compilation import use_cache
from tl_jax.freeze import count
from tl_jax.interrupt import Stop
from tl_jax.journal import Journal
from tl_jax.multitask import program
from tl_jax.multitask.job import Jobs, prepare
from tl_jax.multitask.supply import Supplies
from tl_jax.programs import Program
from tl_jax.report import tasks as tasks_page
from tl_jax.snapshot import Best
from tl_jax.train import Trainer
from tl_jax.workdir import Workdir, write_json, write_text

_GROUPS = ("lr/", "grad_norm/", "update_ratio/")


class TasksTrainer(Trainer):
    """A trainer whose steps are those of all tasks."""

    job: Jobs  # type: ignore[assignment]
    supply: Supplies  # type: ignore[assignment]

    def program(self, number: int) -> Program:
        return program.build(self.job, number, self.supply.behind)


def run(config: ConfigDict, folder: Workdir, journal: Journal, stop: Stop) -> dict[str, Any]:
    """As `tl_jax.runs.run` for one task; result.json has each task's result under ``tasks``."""
    began = time.monotonic()
    use_cache(config.compilation_cache)
    jobs = prepare(config, journal.say)
    cuts = {name: prefix.cuts(one) for name, one in jobs.each.items()}
    describe(jobs, cuts, folder, journal)
    supply = Supplies(jobs, cuts, journal.say)
    trainer = TasksTrainer(jobs, [], folder, journal, stop, supply=supply)  # type: ignore[arg-type]
    best = trainer.run()
    progress = trainer.progress
    assert progress.best is not None
    test = supply.test_logits(best, progress.best["stage"])
    results = {}
    for name, one in jobs.each.items():
        journal.say(f"task {name!r}:")
        own = Workdir(folder.root / name)
        write_text(own.config, configs.to_json(one.config) + "\n")
        write_text(own.metrics, of_task(folder.metrics.read_text(encoding="utf-8"), name))
        params, stats = jobs.union.view(name, best.params), jobs.union.view(name, best.stats)
        chosen = Best(params, stats, best.logits[name])
        results[name] = runs.conclude(one, own, journal, progress, chosen, test[name], began)
    result = {
        "tasks": results,
        **{split: _overall(results, split) for split in ("val", "test")},
        "best": progress.best,
        "steps": progress.step,
        "stages": [
            {"name": stage.name, "end": end, "trained": count(plan.partition(jobs.base_params)[0])}
            for stage, end, plan in zip(config.stages, progress.ends, jobs.plans, strict=True)
        ],
        "parameters": count(jobs.base_params),
        "sharing": {"blocks": config.sharing.blocks, "of": len(jobs.first.model.blocks)},
        "weights": balance(jobs, best),
        "seconds": {
            "total": time.monotonic() - began,
            "train": progress.seconds,
            "prefix": progress.prefix_seconds,
        },
        "flops": progress.flops if math.isfinite(progress.flops) else None,
        "seed": config.seed,
        "config": configs.digest(config),
        "command": command.line(),
        "versions": version.versions(),
    }
    write_json(folder.result, result)
    journal.say(f"result: {folder.result}")
    if config.report.enabled and processes.is_first():
        write_text(folder.report, tasks_page.html(folder, result))
        journal.say(f"report: {folder.report}")
    processes.meet()
    return result


def _overall(results: Mapping[str, Any], split: str) -> dict[str, Any]:
    """The overall measures of all tasks, as ``NAME/MEASURE``."""
    return {
        f"{name}/{measure}": entry
        for name, own in results.items()
        for measure, entry in own[split].items()
        if isinstance(entry, dict) and "value" in entry
    }


def balance(jobs: Jobs, best: Best) -> dict[str, float]:
    """What each task's loss counted in the end."""
    learned = {
        name: float(np.exp(-np.asarray(best.params[jobs.union.balance(name)]))) if jobs.union.learned else 1.0
        for name in jobs.each
    }
    return {name: weight * learned[name] for name, weight in jobs.weights.items()}


def describe(jobs: Jobs, cuts: Mapping[str, list[prefix.Cut]], folder: Workdir, journal: Journal) -> None:
    """Says and writes what became of the weights, what is shared, and what the stages will do."""
    one = jobs.first
    journal.say(one.load_report.summary())
    write_text(folder.load_report, one.load_report.table() + "\n")
    text = "\n".join([shared(jobs), *_plans(jobs, cuts)])
    if not folder.plan.exists():
        write_text(folder.plan, text + "\n\n")
    journal.say(text)


def shared(jobs: Jobs) -> str:
    """What is one for all tasks and what is each one's own, in a line."""
    names, blocks, k = ", ".join(jobs.each), len(jobs.first.model.blocks), jobs.union.blocks
    above = "necks and heads" if k == blocks else f"blocks from {k} on, necks and heads"
    own, below = ("heads", "the whole backbone") if k < 0 else (above, f"the stem and {k} of {blocks} blocks")
    mine = count({p: leaf for p, leaf in jobs.base_params.items() if p.startswith("tasks/")})
    return (
        f"{len(jobs.each)} tasks ({names}) share {below}; {own} are their own: {mine:,} of "
        f"{count(jobs.base_params):,} parameters"
    )


def _plans(jobs: Jobs, cuts: Mapping[str, list[prefix.Cut]]) -> list[str]:
    lines = []
    for number, table in enumerate(plan_table.tables(jobs.outline, jobs.durations)):
        lines.append(table.text())
        plan, blocks = jobs.plans[number], len(jobs.first.model.blocks)
        lines.append(f"  {plan_table.below(plan, blocks)}")
        lines += [f"  task {name!r}: {cut[number].why}" for name, cut in cuts.items() if plan.prefix >= 0]
        lines.append("")
    return lines


def of_task(lines: str, name: str) -> str:
    """metrics.jsonl as a run of one task would have it."""
    found = []
    for line in lines.splitlines():
        values = json.loads(line)
        kept = {key: value for key, value in values.items() if "/" not in key or key.startswith(_GROUPS)}
        kept |= {
            f"val/{key.removeprefix(f'val/{name}/')}": value
            for key, value in values.items()
            if key.startswith(f"val/{name}/")
        }
        if f"loss/{name}" in values:
            kept["loss"] = values[f"loss/{name}"]
        found.append(json.dumps(kept) + "\n")
    return "".join(found)
