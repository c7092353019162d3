"""The line that a benchmark leaves."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import record
from benchmarks.pairs import Samples


def test_every_result_is_a_line_of_json(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    samples = {"tl_jax": Samples((1.0, 3.0, 2.0), (0.0, 0.01, 0.0), 4)}
    for part in ("all", "half"):
        record.write(path, "steps", dict(part=part, ratio=1.5), samples)
    first, second = map(json.loads, path.read_text().splitlines())
    assert (first["part"], second["part"], first["benchmark"], first["ratio"]) == (
        "all",
        "half",
        "steps",
        1.5,
    )
    assert first["samples"]["tl_jax"] == {
        "median": 2.0,
        "seconds": [1.0, 3.0, 2.0],
        "others": [0.0, 0.01, 0.0],
        "discarded": 4,
    }
    assert first["machine"]["cores"] >= 1
    assert first["machine"]["jax"]
    assert first["machine"]["cpu"]
