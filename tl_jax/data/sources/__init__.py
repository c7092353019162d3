"""Where examples come from. A source turns ``config.data`` into a `Table`; nothing is decoded yet.

To add one, write a function ``read(config) -> Table`` and either name it here or put the function itself
into a config as ``data.source``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tl_jax import named
from tl_jax.data.sources import csv, dicom, folder, tfds
from tl_jax.data.sources.errors import SourceError, nearest
from tl_jax.data.table import Table

SOURCES: dict[str, Callable[..., Table]] = {
    "folder": folder.read,
    "csv": csv.read,
    "dicom": dicom.read,
    "tfds": tfds.read,
}


def noun(config_data: Any) -> str | None:
    """What the table of ``config_data.source`` will hold, "picture", "text" or "pair"; None where only the
    table can say: of a function."""
    named_text = {"csv": config_data.columns.text, "tfds": config_data.features.text}
    source = config_data.source
    if source not in SOURCES:
        return None
    if source == "csv" and config_data.columns.target:
        return "pair"
    return "text" if named_text.get(source) else "picture"


def read(config_data: Any, *, training: bool = True) -> Table:
    """The table of ``config_data.source``: a name in `SOURCES`, or a function that gets
    ``config_data``, itself or by its name ``module:function``.

    ``training=False``: the pictures are only predicted or measured, so they need no train split and may
    have labels that train lacks. Lines to print are in the table's ``notes``, where it has any.

    Raises:
      SourceError: what is wrong with the data set, all of it at once; or an unknown source.
      ValueError: a function that cannot be imported.
    """
    source = config_data.source
    if named.is_name(source):
        source = named.imported(source, "data.source")
    if callable(source):
        table = source(config_data)
        if not isinstance(table, Table):
            raise SourceError(f"data.source={source!r} returned {type(table).__name__}, not a Table")
        return table
    if source not in SOURCES:
        raise SourceError(
            f"data.source={source!r} is unknown; there are {', '.join(SOURCES)}, or a function"
            f"{nearest(source, SOURCES)}"
        )
    return SOURCES[source](config_data, training=training)
