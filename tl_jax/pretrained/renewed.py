"""Which leaves of a pretrained network are drawn anew: those above the part that ``model.keep`` keeps.

Where transfer is studied, networks are to differ in nothing but their weights. None of them kept is training
from scratch; the first k blocks kept are the networks of Yosinski et al., "How transferable are features in
deep neural networks?" (NeurIPS 2014).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tl_jax.backbones.anatomy import Backbone
from tl_jax.pretrained.errors import PretrainedError

ALL, NONE, STEM = "all", "none", "stem"


def first(blocks: int) -> str:
    """The setting that keeps the stem and so many blocks."""
    return f"first {blocks}" if blocks else STEM


def check(model: Backbone, keep: str) -> None:
    """Raises PretrainedError where ``keep`` is no such setting, or where the network, which may be abstract,
    has fewer blocks."""
    _highest(model, keep)


def leaves(model: Backbone, paths: Iterable[str], keep: str) -> dict[str, str]:
    """Those of these leaves that are drawn anew, parameters and statistics alike, and why: with ``"all"``
    none; else neck and head always, as they stand above every block. Raises as `check`."""
    highest = _highest(model, keep)
    why = f"model.keep={keep!r}" if keep == NONE else f"above what model.keep={keep!r} keeps"
    return {path: why for path in paths if model.depth(path) > highest}


def _highest(model: Backbone, keep: str) -> int:
    """The depth of the highest part that is kept, -1 for none."""
    n = len(model.blocks)
    if keep in (ALL, NONE, STEM):
        return {ALL: n + 1, NONE: -1, STEM: 0}[keep]
    if not re.fullmatch(r"first [1-9]\d*", keep):
        raise PretrainedError(f"keep={keep!r} must be 'all', 'none', 'stem' or 'first K', K from 1")
    if (number := int(keep.split()[1])) > n:
        raise PretrainedError(f"model.keep={keep!r}: this network has {n} blocks, so K is 1…{n}")
    return number
