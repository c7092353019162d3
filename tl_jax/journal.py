"""What a run tells while it goes: metrics.jsonl, TensorBoard, log.txt and the terminal."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tl_jax.pace import left_over
from tl_jax.workdir import Workdir, write_text

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

PAUSE = 10.0
"""Seconds between lines about the loss where there is no live bar."""


class Journal:
    """Keeps the records of one run. On a terminal it also draws a live bar; elsewhere plain lines; ``quiet``
    neither."""

    def __init__(self, workdir: Workdir, *, console: Console | None = None, quiet: bool = False) -> None:
        self.workdir, self.quiet = workdir, quiet
        self.console = console or Console(highlight=False, soft_wrap=True, emoji=False, quiet=quiet)
        self._bar: Progress | None = None
        self._task: Any = None
        self._log = open(workdir.log, "a", encoding="utf-8")  # noqa: SIM115
        self._metrics: Any = None
        self._board: Any = None
        self._said = time.monotonic()

    def say(self, text: str) -> None:
        """A line for people: on the screen, and with its time in log.txt."""
        self.console.print(text, markup=False)
        self._write(text)

    def open(self, step: int, measured: int) -> None:
        """Starts the record after ``step``, the last one taken, and ``measured``, the last one at which
        validation was measured: what an interrupted run wrote beyond them is dropped, since it will be
        done again."""
        kept = []
        if self.workdir.metrics.exists():
            for line in self.workdir.metrics.read_text(encoding="utf-8").splitlines():
                try:
                    values = json.loads(line)
                except json.JSONDecodeError:  # a line that was being written when the process died
                    break
                of_validation = any(name.startswith("val/") for name in values)
                if values["step"] <= (measured if of_validation else step):
                    kept.append(line + "\n")
        write_text(self.workdir.metrics, "".join(kept))
        self._metrics = open(self.workdir.metrics, "a", encoding="utf-8")  # noqa: SIM115
        self._board = _summary_writer()(str(self.workdir.tensorboard), purge_step=step + 1 if step else None)

    def record(self, step: int, values: Mapping[str, float | str | None]) -> None:
        """One line of metrics.jsonl, and every number as a TensorBoard scalar. What is not finite is null."""
        values = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in values.items()
        }
        self._metrics.write(json.dumps({"step": step, **values}, allow_nan=False) + "\n")
        self._metrics.flush()
        for name, value in values.items():
            if isinstance(value, int | float):
                self._board.add_scalar(name, value, step)

    def compiled(self, stage: str, each: float, seconds: float) -> None:
        """How long a stage's step took to compile and, also in plan.txt, what it costs: ``each``
        operations an example."""
        cost = f"{each / 1e9:.3g} GFLOP an example, forward and backward"
        self.say(f"stage {stage!r}: compiled in {seconds:.1f} s; a step takes {cost}")
        plan, line = self.workdir.plan.read_text(encoding="utf-8"), f"stage {stage!r}, a step: {cost}\n"
        if line not in plan:
            write_text(self.workdir.plan, plan + line)

    def stopped_early(self, step: int, stage: str, metric: str, measurements: int) -> None:
        """``measurements``: of ``metric`` that were no better."""
        self.say(
            f"stage {stage!r} stopped early at step {step}: no better {metric} in {measurements} measurements"
        )

    def stepped(
        self, step: int, metrics: Mapping[str, Any], *, stage: str, epoch: float, rate: float
    ) -> None:
        """A step's metrics, as `tl_jax.step` gives them but on the host. ``rate`` in examples a second."""
        groups = {
            f"{kind}/{name}": float(value)
            for name, values in metrics["groups"].items()
            for kind, value in values.items()
        }
        groups |= {name: float(value) for name, value in metrics.items() if "/" in name}
        loss, length = float(metrics["loss"]), float(metrics["grad_norm"])
        first = {"stage": stage, "epoch": epoch, "loss": loss, "grad_norm": length}
        self.record(step, {**first, **groups, "examples_per_second": rate})

    def measured(
        self, step: int, values: Mapping[str, float | None], *, stage: str, better: bool, seconds: float
    ) -> None:
        """A measurement on validation after so many ``seconds`` of training; ``better``: than all before."""
        self.record(step, {**{f"val/{name}": value for name, value in values.items()}, "seconds": seconds})
        shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items() if value is not None)
        self.say(f"step {step:>6}  {stage}  val: {shown}{'  best so far' if better else ''}")

    def start_bar(self, step: int, total: int) -> None:
        if self.quiet or not self.console.is_terminal or not sys.stdout.isatty():
            return
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
        )
        self._task = self._bar.add_task("training", total=total, completed=step, note="compiling")
        self._bar.start()

    def advance(self, step: int, *, total: int, stage: str) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=step, total=total, description=stage)

    def pace(self, step: int, *, total: int, stage: str, loss: float, rate: float, left: float) -> None:
        """How training goes: beside the bar, else as a line every few seconds; always in log.txt.

        ``rate`` in examples a second, ``left`` in seconds."""
        note = f"loss {loss:.4f}  {rate:.0f} examples/s"
        line = f"step {step:>6} of {total}  {stage}  {note}  {left_over(left)}"
        self._write(line)
        if self._bar is not None:
            self._bar.update(self._task, note=note)
        elif time.monotonic() - self._said >= PAUSE:
            self.console.print(line, markup=False)
            self._said = time.monotonic()

    def _write(self, text: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        for line in text.splitlines():
            self._log.write(f"{stamp} {line}\n")
        self._log.flush()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        for file in (self._metrics, self._board, self._log):
            if file is not None:
                file.close()


def _summary_writer() -> type[SummaryWriter]:
    """tensorboardX imports PyTorch where it is installed, which takes seconds, to name a type in annotations;
    what it does with tensors it imports when it gets one."""
    hide = "torch" not in sys.modules
    if hide:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        from tensorboardX import SummaryWriter
    finally:
        if hide:
            del sys.modules["torch"]
    return SummaryWriter
