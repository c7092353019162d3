"""Labels that are texts: what is to be written after a source. See `tl_jax.data.labels`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tl_jax.data import checks
from tl_jax.data.sources.errors import counted, listed
from tl_jax.data.table import SPLITS, Table


class Sentences:
    """The reader of pairs makes tokens of them (`tl_jax.data.pairs`): (n, longest) int32, -1 where there is
    nothing to write."""

    def read(self, table: Table, config: Any) -> tuple[Table, tuple[str, ...], list[str]]:
        return table, ("target",), []

    def check(self, table: Table, where: np.ndarray, names: Sequence[str], bad: Any = None) -> None:
        if problems := checks.empty_splits(where, table.noun):
            skipped = "\n".join(checks.skipped(bad or {}, table.noun))
            raise listed("the splits cannot be used:", problems, skipped)

    def counts(self, table: Table, where: np.ndarray, names: Sequence[str]) -> list[str]:
        return [", ".join(f"{split} {counted(int((where == split).sum()), table.noun)}" for split in SPLITS)]

    def array(self, table: Table, rows: np.ndarray, names: Sequence[str]) -> np.ndarray:
        raise NotImplementedError("tokens of a target come from the reader")

    def summary(self, labels: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
        return {"n": len(labels), "tokens": int((labels >= 0).sum())}


SENTENCES = Sentences()
