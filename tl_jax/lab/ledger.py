"""What is finished, failed and left of a grid, whoever executes its runs; and the line about each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from tl_jax import runs, version
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


@dataclass(frozen=True)
class Ended:
    """How a start of a run has ended: with its ``result``, or with an ``error`` and where that was raised.
    ``seconds``: of this start, or its share where it was trained ``together`` with others; ``peak``: bytes of
    memory, then of all of them."""

    seconds: float
    result: dict[str, Any] | None = None
    peak: int | None = None
    error: Exception | None = None
    trace: str = ""
    together: int = 1


class Ledger:
    """Keeps the records, and tells each run's end with the time that is left. Raises `WorkdirError` where a
    folder below ``root`` holds a run of another config; ``root`` is locked by whoever makes one."""

    def __init__(self, grid: Sequence[Run], root: Path, say: Callable[[str], None]) -> None:
        refuse_others(grid, root)
        self.root, self.say, self._grid = root, say, grid
        self._numbers = {run.name: number for number, run in enumerate(grid, 1)}
        self._records = Records(root / RECORDS)
        self._done, self._failed = finished(grid, root), dict[str, str]()
        if self._done:
            say(f"{len(self._done)} of {len(grid)} runs are finished already")
        self._pace = _Pace(len(self.todo))

    @property
    def todo(self) -> list[Run]:
        """What has neither finished nor failed."""
        return [run for run in self._grid if run.name not in self._done and run.name not in self._failed]

    def ended(self, run: Run, ended: Ended, *, at_once: int = 1) -> None:
        """``at_once``: runs that are under way at the same time. Raises the run's error where no run has
        ended before and this one has not come as far as a plan."""
        folder, error = self.root / run.name, ended.error
        if ended.result is not None:
            (folder / FAILURE).unlink(missing_ok=True)
            self._done[run.name] = record(run, ended.result, ended)
            self._records.append(self._done[run.name])
            outcome = headline(ended.result)
        else:
            assert error is not None
            if not self._done and not self._failed and not Workdir(folder).plan.exists():
                raise error
            self._failed[run.name] = f"{type(error).__name__}: {error}"
            write_text(folder / FAILURE, ended.trace)
            outcome = f"failed: {error}".splitlines()[0]
        self.tell(run, f"{outcome}  {self._pace.lap(ended.seconds, at_once)}")

    def interrupted(self, run: Run) -> None:
        self.tell(run, "interrupted: the same command goes on from here")

    def tell(self, run: Run, text: str) -> None:
        """A line about a run."""
        self.say(f"[{self._numbers[run.name]}/{len(self._grid)}] {run.name}  {text}")

    def outcome(self) -> Outcome:
        return Outcome([self._done[run.name] for run in self._grid if run.name in self._done], self._failed)


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


def record(run: Run, result: dict[str, Any], ended: Ended) -> Record:
    """The line about a finished run."""
    return {
        "name": run.name,
        "variation": run.variation.name,
        "seed": run.seed,
        "facts": dict(run.variation.facts),
        "config": run.digest,
        "code": version.code(),
        "versions": {"jax": jax.__version__},
        "seconds": {**result["seconds"], "start": ended.seconds},
        "together": ended.together,
        "peak_bytes": ended.peak,
        "flops": result.get("flops"),
        "trained": max(stage["trained"] for stage in result["stages"]),
        "steps": result["steps"],
        "best": result["best"],
        "val": _overall(result["val"]),
        "test": _overall(result["test"]),
    }


def headline(result: dict[str, Any]) -> str:
    """The measures of a run's test split that a line has room for."""
    shown = {"auroc": "AUROC", "accuracy": "accuracy", "rmse": "RMSE", "nll": "NLL"}
    values = {}
    for measure, text in shown.items():
        for name, one in result["test"].items():
            task, _, last = name.rpartition("/")
            if last == measure and one["value"] is not None:
                values[f"{task} {text}".strip()] = one["value"]
    return "  ".join(f"{text} {value:.4f}" for text, value in values.items())


def _overall(measures: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {key: one[key] for key in ("value", "low", "high")}
        for name, one in measures.items()
        if isinstance(one, dict) and "value" in one
    }


class _Pace:
    """Time left, from the runs of this start."""

    def __init__(self, todo: int) -> None:
        self.todo, self.seconds, self.runs = todo, 0.0, 0

    def lap(self, seconds: float, at_once: int) -> str:
        self.seconds, self.runs = self.seconds + seconds, self.runs + 1
        left = (self.todo - self.runs) * self.seconds / self.runs / at_once
        return f"{seconds:.1f} s" + (f"; {left_over(left)}" if self.runs < self.todo else "")
