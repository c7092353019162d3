"""What a benchmark leaves: one line of JSON for each result, with the machine it was found on."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.pairs import Samples
from tl_jax.compilation import threads

DEFAULT = "benchmarks.jsonl"
_PACKAGES = ("tl_jax", "jax", "jaxlib", "flax", "torch", "transformers", "numpy", "pillow")


def add_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", default=DEFAULT, help="file that results are added to (%(default)s)")


def write(path: str | Path, benchmark: str, facts: Mapping[str, Any], samples: Mapping[str, Samples]) -> None:
    """Adds a line to the file: the benchmark, its facts, every sample, and the machine."""
    line = {
        "benchmark": benchmark,
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **facts,
        "samples": {
            name: {
                "median": found.median,
                "seconds": found.seconds,
                "others": found.others,
                "discarded": found.discarded,
            }
            for name, found in samples.items()
        },
        "machine": machine(),
    }
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, operating system and versions."""
    return {
        "cpu": _cpu(),
        "cores": threads(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: found for name in _PACKAGES if (found := _version(name))},
    }


def describe() -> str:
    """The machine in a line."""
    facts = machine()
    versions = ", ".join(
        f"{name} {facts[name]}" for name in ("jax", "torch", "transformers") if name in facts
    )
    return f"{facts['cpu']}, {facts['cores']} cores; {versions}"


def _cpu() -> str:
    """The processor's name, with family and model, which tell kinds of one name apart."""
    found: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            found.setdefault(key.strip(), value.strip())
    except OSError:
        return platform.processor()
    if "model name" not in found:
        return platform.processor()
    return f"{found['model name']} (family {found.get('cpu family')}, model {found.get('model')})"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
