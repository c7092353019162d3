"""Reading a CSV file whose columns have names, whoever has written it.

It is UTF-8 (with or without a byte order mark) or UTF-16; the delimiter is a comma, a semicolon or a tab,
whichever finds the columns.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tl_jax.data.sources.errors import SourceError, listed, nearest, some

DELIMITERS = (",", ";", "\t")


def parse(
    manifest: Path, columns: Mapping[str, str], needed: Sequence[str]
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The header, and (line, cells) of each row that is not blank. ``columns``: what is called how; those
    that are ``needed`` must be called something. Raises SourceError."""
    text = decoded(manifest)
    if not text.strip():
        raise SourceError(f"{manifest} is empty")
    wanted = {key: name for key, name in columns.items() if name}

    def header(delimiter: str) -> list[str]:
        try:
            row = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        except csv.Error as error:
            raise SourceError(f"{manifest}, line 1: {error}; is a quote not closed?") from error
        return [name.strip() for name in row]

    delimiter = max(DELIMITERS, key=lambda d: (len({*wanted.values()} & {*header(d)}), len(header(d))))
    names = header(delimiter)
    problems = [
        f"data.columns.{key}={name!r} is no column; there are {some(names, 20)}{nearest(name, names)}"
        for key, name in wanted.items()
        if name not in names
    ]
    problems += [
        f"column {name!r} occurs twice" for name in dict.fromkeys(names) if name and names.count(name) > 1
    ]
    problems += [f"data.columns.{key} is empty; it must name a column" for key in needed if key not in wanted]
    if problems:
        raise listed(f"{manifest} cannot be used:", problems)
    return names, _records(text, delimiter, manifest)


def _records(text: str, delimiter: str, manifest: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        next(reader)
        for record in reader:
            if any(cell.strip() for cell in record):
                yield reader.line_num, record
    except csv.Error as error:
        raise SourceError(f"{manifest}, line {reader.line_num}: {error}") from error


def decoded(manifest: Path) -> str:
    """The words of a file in UTF-8 or UTF-16. Raises SourceError where it is in neither."""
    data = manifest.read_bytes()
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise SourceError(f"{manifest} is a spreadsheet or an archive; save it as CSV")
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SourceError(
            f"{manifest}, line {line}: byte {data[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        ) from None
