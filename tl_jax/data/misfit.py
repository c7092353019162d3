"""Whether what a data set holds is what a network reads."""

from __future__ import annotations

from typing import Any

from tl_jax.data import sources
from tl_jax.data.table import Table

_ADVICE = {
    "text": "name what holds them: data.columns.text of source 'csv', without data.columns.target, or "
    "data.features.text of 'tfds'",
    "pair": "name what holds both sides: data.columns.text and data.columns.target of source 'csv'",
    "picture": "leave data.columns.text, data.columns.target and data.features.text empty",
}


def misfit(config: Any, wanted: str, table: Table | None = None) -> str:
    """What is wrong where the examples of ``config`` (`tl_jax.defaults.data`) are not what the network reads,
    ``wanted``; "" where they are. Without the table only what the config says is known."""
    given = sources.noun(config) if table is None else table.noun
    if given in (wanted, None):
        return ""
    return (
        f"the network reads {wanted}s, and data.source={config.source!r} gives {given}s: choose another "
        f"network (model.pretrained) or task, or {_ADVICE[wanted]}"
    )
