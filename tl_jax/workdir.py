"""The folder of a run: what lies in it, whose it is, and how files get there whole."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class WorkdirError(RuntimeError):
    """A workdir that cannot serve this run; the message says what to do."""


class LockedError(WorkdirError):
    """A workdir in which another process is running."""


class Workdir:
    """Paths in a run's folder."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.config = self.root / "config.json"
        self.plan = self.root / "plan.txt"
        self.load_report = self.root / "load_report.txt"
        self.log = self.root / "log.txt"
        self.metrics = self.root / "metrics.jsonl"
        self.tensorboard = self.root / "tensorboard"
        self.last = self.root / "checkpoints" / "last"
        self.best = self.root / "checkpoints" / "best"
        self.model = self.root / "model"
        self.result = self.root / "result.json"
        self.report = self.root / "report.html"

    def predictions(self, split: str) -> Path:
        return self.root / f"predictions_{split}.csv"

    @contextmanager
    def elsewhere(self) -> Iterator[Workdir]:
        """For a process that is not to write here: a folder with the same checkpoints, of which every process
        writes its part; what else is written there is thrown away."""
        with tempfile.TemporaryDirectory(prefix="tl_jax-") as scratch:
            folder = Workdir(scratch)
            folder.last, folder.best = self.last, self.best
            yield folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second process out of the folder."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise WorkdirError(f"--workdir={self.root} is not a folder, or lies in a file") from None
        with open(self.root / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockedError(
                    f"another process is running in {self.root}; wait for it or choose another --workdir "
                    "(processes of one job need --distributed: docs/devices.md)"
                ) from None
            yield


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    with open(aside, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON (no NaN: what is undefined is null) whole or not at all."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")
