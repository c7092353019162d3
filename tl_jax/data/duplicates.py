"""The same picture more than once: found by its pixels, kept on one side of every split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

import numpy as np

from tl_jax.data.decoder import FLAT
from tl_jax.data.sources.errors import counted, listed, some
from tl_jax.data.splits import CHOICES
from tl_jax.data.table import Table

_SHOWN = 20


def find(digests: np.ndarray, bad: Collection[int] = ()) -> list[list[int]]:
    """Rows that hold the same picture, together, from ``digests`` (n,) of `decoder.Pictures`. Rows in ``bad``
    do not count, nor pictures of one value everywhere: blank films say nothing of whose they are."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(digests.tolist()):
        if row not in bad and not digest.startswith(FLAT):
            rows[digest].append(row)
    return [same for same in rows.values() if len(same) > 1]


def problems(table: Table, given: np.ndarray, twins: Sequence[Sequence[int]]) -> list[str]:
    """What is wrong where ``given`` splits (n,) share pictures; nothing where they do not."""
    crossing = [same for same in twins if len(set(given[list(same)].tolist())) > 1]
    if not crossing:
        return []
    told = [" = ".join(f"{table.ids[row]} ({given[row]})" for row in same) for same in crossing]
    more = [f"and {len(told) - _SHOWN:,} more"] * (len(told) > _SHOWN)
    head = f"{counted(len(told), table.noun)} in more than one of the given splits:"
    return [str(listed(head, [*told[:_SHOWN], *more], f"Results on such splits are too good. {CHOICES}."))]


def notes(table: Table, twins: Sequence[Sequence[int]]) -> list[str]:
    """Lines to print: how many pictures come more than once, and which have more than one label."""
    told = [" = ".join(table.ids[list(same)].tolist()) for same in twins]
    lines = [
        f"{counted(len(twins), table.noun)} there more than once, counted as of one group: {some(told, 3)}"
    ]
    torn = [same for same in twins if len(set(table.labels[list(same)].tolist())) > 1]
    if torn:
        pairs = [" = ".join(f"{table.ids[row]} ({table.labels[row]})" for row in same) for same in torn]
        lines.append(f"{counted(len(torn), table.noun)} with more than one label: {some(pairs)}")
    return lines
