"""What the tests of `benchmarks.sides` put into another process."""

from __future__ import annotations

import os


class Adder:
    def __init__(self, start: int) -> None:
        self.start = start

    def add(self, number: int) -> int:
        return self.start + number

    def pid(self) -> int:
        return os.getpid()
