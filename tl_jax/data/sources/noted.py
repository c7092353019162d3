"""The table a source yields together with what the source has to tell about it."""

from __future__ import annotations

from dataclasses import dataclass

from tl_jax.data.table import Table


@dataclass(frozen=True)
class NotedTable(Table):
    """A `Table` whose ``notes`` are lines to print: what was passed over, what was assumed."""

    notes: tuple[str, ...] = ()
