"""Executes the runs of a grid one after the other, in one process, and keeps a line about each.

What is done already is skipped, what was interrupted goes on, what fails is told at the end. The runs share
what they can: the interpreter and JAX, decoded pictures and what a frozen prefix makes of them (both kept in
cache folders), and compiled programs.
"""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from tl_jax import compilation, memory, runs, version
from tl_jax.interrupt import Interrupted
from tl_jax.lab.grid import Run
from tl_jax.lab.records import FAILURE, RECORDS, Record, Records
from tl_jax.pace import left_over
from tl_jax.workdir import Workdir, WorkdirError, write_text


@dataclass(frozen=True)
class Outcome:
    """``records`` of the runs that are finished, in the grid's order; ``failed``: those that are not, with
    why."""

    records: list[Record]
    failed: dict[str, str]


def execute(grid: Sequence[Run], root: Path, *, say: Callable[[str], None] = print) -> Outcome:
    """Runs what is not finished yet, each in its folder below ``root``.

    Raises before anything is trained: `WorkdirError` where another process is at work in ``root``, or where
    a folder below holds a run of another config; and what keeps the first run from coming as far as a plan,
    since that (a wrong folder, weights that do not load) would keep all of them. Later on, what a run raises
    is a failure of that run alone, but for `KeyboardInterrupt` and `tl_jax.interrupt.Interrupted`.
    """
    records, failed = Records(root / RECORDS), dict[str, str]()
    with Workdir(root).locked(), compilation.shared():
        refuse_others(grid, root)
        done = finished(grid, root)
        if done:
            say(f"{len(done)} of {len(grid)} runs are finished already")
        pace = _Pace(sum(run.name not in done for run in grid))
        for number, run in enumerate(grid, 1):
            if run.name in done:
                continue
            began, peak = time.monotonic(), _begin()
            try:
                result = runs.run(run.config, root / run.name, quiet=True)
            except (KeyboardInterrupt, Interrupted):
                say(f"[{number}/{len(grid)}] {run.name}  interrupted: the same command goes on from here")
                raise
            except Exception as error:
                if not done and not failed and not Workdir(root / run.name).plan.exists():
                    raise
                failed[run.name] = f"{type(error).__name__}: {error}"
                write_text(root / run.name / FAILURE, traceback.format_exc())
                outcome = f"failed: {error}".splitlines()[0]
            else:
                (root / run.name / FAILURE).unlink(missing_ok=True)
                done[run.name] = record(run, result, time.monotonic() - began, peak())
                records.append(done[run.name])
                outcome = headline(result)
            say(f"[{number}/{len(grid)}] {run.name}  {outcome}  {pace.lap(time.monotonic() - began)}")
    return Outcome([done[run.name] for run in grid if run.name in done], failed)


def finished(grid: Sequence[Run], root: Path) -> dict[str, Record]:
    """The records of the runs that need not be run again, by name."""
    wanted = {run.name: run for run in grid}
    return {
        line["name"]: line
        for line in Records(root / RECORDS).read()
        if line["name"] in wanted
        and line["config"] == wanted[line["name"]].digest
        and Workdir(root / line["name"]).result.exists()
    }


def refuse_others(grid: Sequence[Run], root: Path) -> None:
    """Raises `WorkdirError`, with every run of ``grid`` whose folder belongs to another config."""
    problems = []
    for run in grid:
        try:
            runs.refuse_others(Workdir(root / run.name), run.config)
        except WorkdirError as error:
            problems.append(str(error))
    if problems:
        raise WorkdirError("\n".join(problems))


def record(run: Run, result: dict[str, Any], seconds: float, peak: int | None) -> Record:
    """The line about a finished run. ``seconds``: of this start of it; ``peak``: bytes."""
    return {
        "name": run.name,
        "variation": run.variation.name,
        "seed": run.seed,
        "facts": dict(run.variation.facts),
        "config": run.digest,
        "code": version.code(),
        "versions": {"jax": jax.__version__},
        "seconds": {**result["seconds"], "start": seconds},
        "peak_bytes": peak,
        "flops": result["flops"],
        "trained": max(stage["trained"] for stage in result["stages"]),
        "steps": result["steps"],
        "best": result["best"],
        "val": _overall(result["val"]),
        "test": _overall(result["test"]),
    }


def headline(result: dict[str, Any]) -> str:
    """The measures of a run's test split that a line has room for."""
    shown = {"auroc": "AUROC", "accuracy": "accuracy", "nll": "NLL"}
    values = {text: result["test"].get(name, {}).get("value") for name, text in shown.items()}
    return "  ".join(f"{text} {value:.4f}" for text, value in values.items() if value is not None)


def _overall(measures: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {key: one[key] for key in ("value", "low", "high")}
        for name, one in measures.items()
        if isinstance(one, dict) and "value" in one
    }


def _begin() -> Callable[[], int | None]:
    """Forgets what the run before has left in memory; the function gives the peak since, in bytes."""
    gc.collect()
    return memory.watch()


class _Pace:
    """Time left, from the runs of this start."""

    def __init__(self, todo: int) -> None:
        self.todo, self.seconds, self.runs = todo, 0.0, 0

    def lap(self, seconds: float) -> str:
        self.seconds, self.runs = self.seconds + seconds, self.runs + 1
        left = (self.todo - self.runs) * self.seconds / self.runs
        return f"{seconds:.1f} s" + (f"; {left_over(left)}" if self.runs < self.todo else "")
