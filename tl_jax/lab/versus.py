"""The summary of one config over seeds, or of two in pairs: a table and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from tl_jax.config import to_json
from tl_jax.job import prepare
from tl_jax.lab.compare import Comparison, Estimate, predictions, rises
from tl_jax.lab.compare import arms as by_arm
from tl_jax.lab.records import Record
from tl_jax.text_table import aligned, comma_separated
from tl_jax.workdir import write_json, write_text

SURE = 0.05
"""Below this p the verdict speaks of a difference."""


def refuse_other_pictures(configs: Mapping[str, ConfigDict]) -> None:
    """Raises ValueError, before anything is trained, where two configs have not the same test pictures."""
    if len({to_json(config.data) for config in configs.values()}) < 2:
        return
    tests = {
        name: prepare(config, say=lambda line: None).data.test.ids.tolist()
        for name, config in configs.items()
    }
    (one, first), (other, second) = tests.items()
    if first != second:
        raise ValueError(
            f"{one} and {other} cannot be compared in pairs: their test splits hold {len(first)} and "
            f"{len(second)} pictures, {len(set(first) & set(second))} of them the same. Give both the same "
            "data.root, data.group and data.split_seed"
        )


def write(root: Path, records: Sequence[Record], settings: Any, measure: str = "") -> str:
    """Writes seeds.txt, seeds.csv and seeds.json into ``root``; the text. Raises ValueError where the runs
    cannot be compared."""
    arms = by_arm(records, partial(predictions, root))
    compared = Comparison(arms, settings)
    measure, rows = compared.measure(measure), _rows(compared, arms)
    text = f"{_table(compared, rows)}\n\n{_verdict(compared, rows, measure)}"
    write_text(root / "seeds.txt", text + "\n")
    write_text(root / "seeds.csv", _csv(rows))
    write_json(root / "seeds.json", {"measures": rows, "verdict": _verdict(compared, rows, measure)})
    return text


def _rows(compared: Comparison, arms: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Measure → arm → mean, interval and standard deviation over seeds; and the difference of two arms."""
    names = list(arms)
    found: dict[str, dict[str, Any]] = {}
    for measure in compared.points[names[0]]:
        row: dict[str, Any] = {}
        for name in names:
            each = compared.each[name][measure]
            row[name] = _plain(compared.arm(name, measure)) | {
                "sd": float(np.std(each, ddof=1)) if len(each) > 1 else None
            }
        if len(names) == 2:
            row["difference"] = _plain(compared.difference(names[1], names[0], measure), p=True)
        found[measure] = row
    return found


def _plain(one: Estimate, *, p: bool = False) -> dict[str, float | None]:
    values = {"value": one.value, "low": one.low, "high": one.high} | ({"p": one.p} if p else {})
    return {key: value if np.isfinite(value) else None for key, value in values.items()}


def _table(compared: Comparison, rows: Mapping[str, dict[str, Any]]) -> str:
    names = [name for name in next(iter(rows.values())) if name != "difference"]
    two = len(names) == 2
    lines = [["", *(title for name in names for title in (name, "sd"))]]
    lines[0] += [f"{names[1]} less {names[0]}", "p"] if two else []
    for measure, row in rows.items():
        cells = [measure]
        for name in names:
            cells += [_interval(row[name]), "–" if row[name]["sd"] is None else f"{row[name]['sd']:.4f}"]
        if two:
            difference = row["difference"]
            cells += [
                _interval(difference, sign="+"),
                "–" if difference["p"] is None else f"{difference['p']:.3f}",
            ]
        lines.append(cells)
    return "\n".join(
        [
            *aligned(lines, left=1),
            "",
            f"means of {compared.seeds} seeds on {compared.patients} patients; in brackets 95 % intervals "
            "over both; sd over seeds",
        ]
    )


def _interval(one: Mapping[str, Any], sign: str = "") -> str:
    if one["value"] is None:
        return "–"
    if one["low"] is None:
        return f"{one['value']:{sign}.4f}"
    return f"{one['value']:{sign}.4f} ({one['low']:{sign}.4f} to {one['high']:{sign}.4f})"


def _verdict(compared: Comparison, rows: Mapping[str, dict[str, Any]], measure: str) -> str:
    names = [name for name in rows[measure] if name != "difference"]
    if len(names) == 1:
        return f"{names[0]}: {measure} {_interval(rows[measure][names[0]])}."
    first, second = names
    found = rows[measure]["difference"]
    told = f"{second} less {first} is {_interval(found, '+')}, p {found['p'] or 1:.3f}"
    if found["p"] is None or found["p"] >= SURE:
        return f"No difference in {measure} can be told: {told}."
    better = second if (found["value"] > 0) == rises(measure) else first
    return f"{better} is better in {measure}: {told}."


def _csv(rows: Mapping[str, dict[str, Any]]) -> str:
    names, keys = list(next(iter(rows.values()))), ("value", "low", "high")
    header = ["measure", *(f"{name}{end}" for name in names for end in ("", "_low", "_high"))]
    lines = [[measure, *(row[name][key] for name in names for key in keys)] for measure, row in rows.items()]
    return comma_separated([header, *lines])
