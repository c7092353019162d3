"""One JSON line a finished run, only ever added to."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Record = dict[str, Any]

RECORDS = "runs.jsonl"
"""The file of a grid's records, in its folder."""

FAILURE = "failure.txt"
"""In the folder of a run that failed: why."""


class Records:
    """The lines of one file. A line that was being written when its process died is not one, and makes way
    for the next."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Record]:
        """All of them, in the order in which the runs ended."""
        return [json.loads(line) for line in self._whole().splitlines()]

    def append(self, record: Record) -> None:
        """Adds a line, and returns when it is on disk."""
        whole = self._whole()
        with open(self.path, "ab") as file:
            file.truncate(len(whole))
            file.write(json.dumps(record, allow_nan=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _whole(self) -> bytes:
        """The file up to its last end of a line."""
        text = self.path.read_bytes() if self.path.exists() else b""
        return text[: text.rfind(b"\n") + 1]
