"""What an experiment has found: a verdict, tables and pictures, and the files and page that hold them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tl_jax import command, version
from tl_jax.lab.records import FAILURE, Record
from tl_jax.report import experiment
from tl_jax.report.picture import inline
from tl_jax.report.table import Table, plain
from tl_jax.workdir import Workdir, write_json, write_text


@dataclass(frozen=True)
class Summary:
    """``name`` is that of the files; ``title`` stands above the page. The first table is the main one.
    ``facts``: what else the JSON holds. ``draw`` writes the picture to the path it gets; ``also``: further
    pictures, by what is added to the name."""

    name: str
    title: str
    verdict: str
    tables: Sequence[Table]
    facts: Mapping[str, Any] = field(default_factory=dict)
    draw: Callable[[Path], None] | None = None
    also: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)

    @property
    def pictures(self) -> dict[str, Callable[[Path], None]]:
        """By the names of their files."""
        main = {self.name: self.draw} if self.draw is not None else {}
        return main | {f"{self.name}-{key}": draw for key, draw in self.also.items()}

    def text(self) -> str:
        """For a terminal."""
        return "\n\n".join([*(table.text() for table in self.tables), self.verdict])


def write(root: Path, found: Summary, *, records: Sequence[Record] = ()) -> str:
    """Writes NAME.txt, NAME.json, NAME.csv (the first table; the others NAME-2.csv, …), NAME.png (the others
    NAME-KEY.png) and report.html into ``root``; the text that is told. ``records``: of the runs that it rests
    on, to whose own reports the page leads.

    Where ``root`` is the folder of a run, which has a report of its own, the page is NAME.html.
    """
    text = found.text()
    write_text(root / f"{found.name}.txt", text + "\n")
    for number, table in enumerate(found.tables, 1):
        write_text(root / f"{found.name}{f'-{number}' if number > 1 else ''}.csv", table.csv())
    tables = [table.plain() for table in found.tables]
    write_json(
        root / f"{found.name}.json", {"verdict": found.verdict, **plain(found.facts), "tables": tables}
    )
    told = []
    for name, draw in found.pictures.items():
        picture = root / f"{name}.png"
        draw(picture)
        told.append(f"picture: {picture}")
    own = Workdir(root)
    page = root / f"{found.name}.html" if own.config.exists() else own.report
    write_text(page, _page(root, found, records))
    told.append(f"report: {page}")
    return "\n".join([text, "", *told])


def _page(root: Path, found: Summary, records: Sequence[Record]) -> str:
    return experiment.html(
        title=found.title,
        verdict=found.verdict,
        tables=found.tables,
        pictures=_pictures(found),
        records=records,
        failed=[(path.parent.relative_to(root).as_posix(), _reason(path)) for path in _failures(root)],
        linked=frozenset(
            record["name"] for record in records if Workdir(root / record["name"]).report.exists()
        ),
        facts=[
            ("command", command.line()),
            ("versions now", ", ".join(f"{name} {number}" for name, number in version.versions().items())),
        ],
    )


def _pictures(found: Summary) -> list[Markup]:
    """Drawn once more, in what a page is made of: there their text and their colours are the page's."""
    told = f"{found.title}. {found.verdict}"
    with tempfile.TemporaryDirectory(prefix="tl_jax-") as folder:
        files = {name: Path(folder) / f"{name}.svg" for name in found.pictures}
        for name, draw in found.pictures.items():
            draw(files[name])
        return [inline(file.read_text(encoding="utf-8"), name, told) for name, file in files.items()]


def _failures(root: Path) -> list[Path]:
    return sorted(root.glob(f"*/*/{FAILURE}"))


def _reason(path: Path) -> str:
    """The last line of a traceback."""
    lines = path.read_text(encoding="utf-8").strip().splitlines()
    return lines[-1] if lines else "unknown"
