"""The story of a run: prepare, show the plan, train, measure once, leave a complete folder."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from tl_jax import command, named, plan_table, prefix, processes, run_report, sharding, version
from tl_jax import config as configs
from tl_jax.compilation import counts, sharing, use_cache
from tl_jax.early import Early
from tl_jax.finish import finish, network
from tl_jax.freeze import count
from tl_jax.interrupt import Stop, listening
from tl_jax.job import Job, prepare
from tl_jax.journal import Journal
from tl_jax.prefix import Cut
from tl_jax.report.evidence import Evidence
from tl_jax.snapshot import Best, Progress
from tl_jax.train import Trainer
from tl_jax.workdir import Workdir, WorkdirError, write_json, write_text

log = logging.getLogger("tl_jax")

LOCAL = ("compilation_cache", "data.workers", "model.cache_dir", "model.offline")
"""Settings that may differ between the processes of one run: they change where things lie on a host."""

NEUTRAL = (*LOCAL, "cache.dir", "data.cache", "mesh.data", "mesh.fsdp", "report.enabled")
"""Settings that may differ when a run goes on: they do not change what is computed."""


def run(config: Any, workdir: str | Path, *, stop: Stop | None = None, quiet: bool = False) -> dict[str, Any]:
    """Trains what ``config`` says and returns the result that also lies in ``workdir/result.json``.

    ``config``: a mapping or ConfigDict, complete or not (`tl_jax.defaults` completes it). A run that
    was interrupted goes on; a finished one returns its result. ``stop`` is asked between steps whether
    to save and leave (default: on SIGTERM and Ctrl-C). ``quiet``: only ``workdir/log.txt`` is told how it
    goes. Raises `tl_jax.config.ConfigError` for
    a config with problems, `WorkdirError` where ``workdir`` belongs to another config.

    Where `jax.distributed` has joined several processes, all call this with the same config and a ``workdir``
    that all can reach; the first one writes it and tells how it goes (docs/devices.md).
    """
    config = configs.complete(config)
    theirs = configs.from_json(processes.from_first(lambda: configs.to_json(config)))
    processes.refuse(_differences(theirs, config, LOCAL))
    with ExitStack() as opened:
        folder, first = Workdir(workdir), processes.is_first()
        signals = opened.enter_context(listening(processes.highest()))
        finished = processes.from_first(lambda: claim(folder, config, opened))
        own = folder if first else opened.enter_context(folder.elsewhere())
        journal = opened.enter_context(closing(Journal(own, quiet=quiet or not first)))
        if finished is not None:
            journal.say(f"{folder.root} holds a finished run; nothing to do. Result: {folder.result}")
            if folder.report.exists():
                journal.say(f"report: {folder.report}")
            return finished
        _say_what_stays_here(config, journal)
        if config.tasks:
            from tl_jax.multitask.runs import run as run_tasks

            return run_tasks(config, own, journal, stop or signals)
        return _run(config, own, journal, stop or signals)


def _run(config: ConfigDict, folder: Workdir, journal: Journal, stop: Stop) -> dict[str, Any]:
    began = time.monotonic()
    use_cache(config.compilation_cache)
    before = counts()
    early = Early()
    # Among runs that share programs, this one has most likely been made.
    ahead = None if _has_begun(folder) or sharing() else early.begin
    job = prepare(config, journal.say, ahead=ahead)
    _refuse_others_inputs(job)
    cuts = prefix.cuts(job)
    describe(job, cuts, folder, journal)
    trainer = Trainer(job, cuts, folder, journal, stop, early)
    best = trainer.run()
    assert trainer.progress.best is not None
    test = trainer.supply.test_logits(best, trainer.progress.best["stage"])
    compiled, read = (now - then for now, then in zip(counts(), before, strict=True))
    journal.say(f"XLA compiled {compiled} programs; {read} were kept from an earlier run and read")
    return conclude(job, folder, journal, trainer.progress, best, test, began)


def describe(job: Job, cuts: Sequence[Cut], folder: Workdir, journal: Journal) -> None:
    """Says and writes what became of the weights, and what the stages will do."""
    journal.say(job.load_report.summary())
    write_text(folder.load_report, job.load_report.table() + "\n")
    for note in prefix.notes(job):
        journal.say(note)
    text = plan_table.render(job, cuts)
    if not folder.plan.exists():  # training adds to it what the compiled steps cost
        write_text(folder.plan, text + "\n\n")
    journal.say(text)


def conclude(
    job: Job,
    folder: Workdir,
    journal: Journal,
    progress: Progress,
    best: Best,
    test: np.ndarray,
    began: float,
) -> dict[str, Any]:
    """Ends a trained run: measures the ``best`` weights, writes all that a finished folder holds, and says
    it; the result. ``test``: the weights' logits (n, K) of the test split; ``began``: by `time.monotonic`."""
    config, logits = job.config, {"val": best.logits, "test": test}
    leaves = sharding.fetch({**best.params, **best.stats})
    measures = finish(job, folder, leaves, logits)
    result = {
        **measures,
        "best": progress.best,
        "steps": progress.step,
        "stages": [
            {"name": stage.name, "end": end, "trained": count(plan.partition(job.base_params)[0])}
            for stage, end, plan in zip(config.stages, progress.ends, job.plans, strict=True)
        ],
        "seconds": {
            "total": time.monotonic() - began,
            "train": progress.seconds,
            "prefix": progress.prefix_seconds,
        },
        "flops": progress.flops if math.isfinite(progress.flops) else None,
        "weights": {"source": job.load_report.source, "identity": job.load_report.identity},
        "input": job.intake.facts(job.data),
        "data": {
            "fingerprint": job.data.fingerprint,
            "notes": list(job.data.notes),
            "caveat": job.data.caveat,
            "counts": job.data.counts(),
        },
        "seed": config.seed,
        "config": configs.digest(config),
        "command": command.line(),
        "versions": version.versions(),
    }
    write_json(folder.result, result)
    journal.say(f"validation, weights of step {progress.best and progress.best['step']}:")
    journal.say(job.recipe.task.table(result["val"]))
    journal.say("test:")
    journal.say(job.recipe.task.table(result["test"]))
    if job.data.caveat:
        journal.say(f"Remember: {job.data.caveat}.")
    journal.say(f"result: {folder.result}")
    if config.report.enabled and processes.is_first():
        _report(folder, lambda: run_report.of_job(job, folder, result, logits, network(job, leaves)), journal)
    processes.meet()  # the first has written all of it
    return result


def _report(folder: Workdir, gather: Callable[[], Evidence], journal: Journal) -> None:
    """Writes report.html. The run is finished whether or not that can be done."""
    try:
        run_report.write(folder, gather())
    except Exception as error:
        log.warning(
            "no report (%s: %s); the run itself is finished, and python -m tl_jax.report --workdir=%s tries "
            "again",
            type(error).__name__,
            error,
            folder.root,
        )
    else:
        journal.say(f"report: {folder.report}")


def _refuse_others_inputs(job: Job) -> None:
    """Raises ValueError where this process has read other pictures or weights than the first one."""
    own = {
        "data": job.data.fingerprint,
        "weights": job.load_report.identity,
        "version of jax": jax.__version__,
    }
    theirs = processes.from_first(lambda: own)
    processes.refuse([f"its {name} are not those of process 0" for name in own if own[name] != theirs[name]])


def _say_what_stays_here(config: ConfigDict, journal: Journal) -> None:
    """Functions that no later command can import, such as those of the config file itself."""
    for key, value in (("task", config.task), ("data.source", config.data.source)):
        if callable(value) and not named.is_importable(value):
            journal.say(
                f"note: {key} is a function that other processes cannot import, so the commands that need it "
                "later will not find it; define it in a module of its own and let the config import that"
            )


def claim(folder: Workdir, config: ConfigDict, opened: ExitStack) -> dict[str, Any] | None:
    """Locks the folder, until ``opened`` is closed, and makes it this config's own, or makes sure that it
    already is. The result, if the run is finished."""
    opened.enter_context(folder.locked())
    refuse_others(folder, config)
    if not _has_begun(folder):
        write_text(folder.config, configs.to_json(config) + "\n")
    return json.loads(folder.result.read_text()) if folder.result.exists() else None


def refuse_others(folder: Workdir, config: ConfigDict) -> None:
    """Raises WorkdirError where the folder holds the run of another config, or several runs."""
    if next(folder.root.glob("fold-*/config.json"), None):
        raise WorkdirError(f"{folder.root} holds the folds of a cross-validation; choose another --workdir")
    if not _has_begun(folder):
        return
    if not folder.config.exists():
        raise WorkdirError(
            f"{folder.root} holds a run whose config.json is gone; nobody knows what it was. Choose another "
            "--workdir, or delete this one"
        )
    theirs = configs.from_json(folder.config.read_text(encoding="utf-8"))
    lines = _differences(theirs, config, NEUTRAL)
    if lines:
        raise WorkdirError(
            f"{folder.root} holds a run of another config; choose another --workdir or undo:\n  "
            + "\n  ".join(lines)
        )


def _differences(theirs: ConfigDict, config: ConfigDict, but: Collection[str]) -> list[str]:
    lines = configs.differences(theirs, config)
    return [line for line in lines if line.partition(":")[0] not in but]


def _has_begun(folder: Workdir) -> bool:
    return any(path.exists() for path in (folder.plan, folder.last, folder.result))
