"""What an experiment has found: a verdict, tables and a picture, and the files that hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tl_jax.lab.records import Record
from tl_jax.report.table import Table, plain
from tl_jax.workdir import write_json, write_text


@dataclass(frozen=True)
class Summary:
    """``name`` is that of the files; ``title`` stands above the page. The first table is the main one.
    ``facts``: what else the JSON holds. ``draw`` writes the picture to the path it gets."""

    name: str
    title: str
    verdict: str
    tables: Sequence[Table]
    facts: Mapping[str, Any] = field(default_factory=dict)
    draw: Callable[[Path], None] | None = None

    def text(self) -> str:
        """For a terminal."""
        return "\n\n".join([*(table.text() for table in self.tables), self.verdict])


def write(root: Path, found: Summary, *, records: Sequence[Record] = ()) -> str:
    """Writes NAME.txt, NAME.json, NAME.csv (the first table; the others NAME-2.csv, …) and NAME.png into
    ``root``; the text that is told. ``records``: of the runs that it rests on."""
    text = found.text()
    write_text(root / f"{found.name}.txt", text + "\n")
    for number, table in enumerate(found.tables, 1):
        write_text(root / f"{found.name}{f'-{number}' if number > 1 else ''}.csv", table.csv())
    tables = [table.plain() for table in found.tables]
    write_json(
        root / f"{found.name}.json", {"verdict": found.verdict, **plain(found.facts), "tables": tables}
    )
    if found.draw is None:
        return text
    picture = root / f"{found.name}.png"
    found.draw(picture)
    return f"{text}\n\npicture: {picture}"
