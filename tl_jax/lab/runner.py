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
from tl_jax.command import EXPECTED
from tl_jax.interrupt import Interrupted, listening
from tl_jax.lab import alike, together
from tl_jax.lab.alike import Candidate
from tl_jax.lab.grid import Run
from tl_jax.lab.group import NotTogetherError
from tl_jax.lab.records import FAILURE, RECORDS, Record, Records
from tl_jax.pace import left_over
from tl_jax.workdir import Workdir, WorkdirError, write_text


@dataclass(frozen=True)
class Outcome:
    """``records`` of the runs that are finished, in the grid's order; ``failed``: those that are not, with
    why."""

    records: list[Record]
    failed: dict[str, str]


def execute(
    grid: Sequence[Run], root: Path, *, together: bool = True, say: Callable[[str], None] = print
) -> Outcome:
    """Runs what is not finished yet, each in its folder below ``root``. ``together``: heads that can be are
    trained by one program first (`tl_jax.lab.together`).

    Raises before anything is trained: `WorkdirError` where another process is at work in ``root``, or where
    a folder below holds a run of another config; and what keeps the first run from coming as far as a plan,
    since that (a wrong folder, weights that do not load) would keep all of them. Later on, what a run raises
    is a failure of that run alone, but for `KeyboardInterrupt` and `tl_jax.interrupt.Interrupted`.
    """
    with Workdir(root).locked(), compilation.shared():
        refuse_others(grid, root)
        book = _Book(grid, root, say)
        if book.done:
            say(f"{len(book.done)} of {len(grid)} runs are finished already")
        for group in alike.groups(book.todo(), root) if together else ():
            _train_together(group, book)
        for run in book.todo():
            began, peak = time.monotonic(), _begin()
            try:
                result = runs.run(run.config, root / run.name, quiet=True)
            except (KeyboardInterrupt, Interrupted):
                say(f"{book.place(run)}  interrupted: the same command goes on from here")
                raise
            except Exception as error:
                if not book.done and not book.failed and not Workdir(root / run.name).plan.exists():
                    raise
                book.fail(run, error, time.monotonic() - began)
            else:
                seconds = time.monotonic() - began
                book.finish(run, record(run, result, seconds, peak()), headline(result), seconds)
    return Outcome([book.done[run.name] for run in grid if run.name in book.done], book.failed)


def _train_together(group: Sequence[Candidate], book: _Book) -> None:
    """Trains a group with one program; where that cannot be, says why and leaves its runs to be run alone."""
    book.say(f"{len(group)} heads are trained together, on features that are kept once")
    peak = _begin()
    try:
        with listening():
            for one in together.train(group, book.root, book.say):
                if one.result is None:
                    assert one.failure is not None
                    book.fail(one.run, one.failure, one.seconds)
                else:
                    line = record(one.run, one.result, one.seconds, peak(), one.together)
                    book.finish(one.run, line, headline(one.result), one.seconds)
    except (KeyboardInterrupt, Interrupted):
        left = sum(one.run.name not in book.done for one in group)
        book.say(f"interrupted: the same command starts {left} of {len(group)} heads of this group again")
        raise
    except (NotTogetherError, *EXPECTED) as error:
        book.say(f"they are trained one by one: {error}")


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


def record(run: Run, result: dict[str, Any], seconds: float, peak: int | None, together: int = 1) -> Record:
    """The line about a finished run. ``seconds``: of this start of it, or its share where it was trained
    ``together`` with others, of whose process ``peak`` bytes are then, too."""
    return {
        "name": run.name,
        "variation": run.variation.name,
        "seed": run.seed,
        "facts": dict(run.variation.facts),
        "config": run.digest,
        "code": version.code(),
        "versions": {"jax": jax.__version__},
        "seconds": {**result["seconds"], "start": seconds},
        "together": together,
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


class _Book:
    """The runs of one start: which are ``done``, with their records, which have ``failed``, with why, and
    what is said about it."""

    def __init__(self, grid: Sequence[Run], root: Path, say: Callable[[str], None]) -> None:
        self.root, self.say, self.records = root, say, Records(root / RECORDS)
        self.grid = {run.name: run for run in grid}
        self.places = {name: number for number, name in enumerate(self.grid, 1)}
        self.done, self.failed = finished(grid, root), dict[str, str]()
        self.pace = _Pace(len(self.todo()))

    def todo(self) -> list[Run]:
        return [run for name, run in self.grid.items() if name not in self.done and name not in self.failed]

    def place(self, run: Run) -> str:
        return f"[{self.places[run.name]}/{len(self.grid)}] {run.name}"

    def finish(self, run: Run, line: Record, text: str, seconds: float) -> None:
        """``text`` tells of its measures."""
        (self.root / run.name / FAILURE).unlink(missing_ok=True)
        self.done[run.name] = line
        self.records.append(line)
        self.say(f"{self.place(run)}  {text}  {self.pace.lap(seconds)}")

    def fail(self, run: Run, error: Exception, seconds: float) -> None:
        self.failed[run.name] = f"{type(error).__name__}: {error}"
        write_text(self.root / run.name / FAILURE, "".join(traceback.format_exception(error)))
        text = f"failed: {error}".splitlines()[0]
        self.say(f"{self.place(run)}  {text}  {self.pace.lap(seconds)}")


class _Pace:
    """Time left, from the runs of this start."""

    def __init__(self, todo: int) -> None:
        self.todo, self.seconds, self.runs = todo, 0.0, 0

    def lap(self, seconds: float) -> str:
        self.seconds, self.runs = self.seconds + seconds, self.runs + 1
        left = (self.todo - self.runs) * self.seconds / self.runs
        return f"{seconds:.1f} s" + (f"; {left_over(left)}" if self.runs < self.todo else "")
