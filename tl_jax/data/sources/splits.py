"""The names people give to splits, and the checks that hold for given splits whatever the source."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from tl_jax.data.sources.errors import counted, nearest, some
from tl_jax.data.table import SPLITS

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Lower-case names → ours. A column or TFDS may say any of these."""

FOLDER_NAMES = {name: split for name, split in SPLIT_NAMES.items() if name != "dev"}
"""What a folder may be called to be a split; capitals do not matter."""


def problems(labels: Sequence[str], splits: Sequence[str], classes: Collection[str] = ()) -> list[str]:
    """What is wrong with given splits as ground for training.

    Two things: no row is for training; or a label of val or test never occurs in train, so that nothing
    could learn it. ``classes``: only these are looked at, () = all. Rows with split ``""`` are still to be
    cut, and then there is nothing to check.
    """
    label, split = np.asarray(labels, dtype=str), np.asarray(splits, dtype=str)
    if classes:
        kept = np.isin(label, list(classes))
        label, split = label[kept], split[kept]
    if not len(split) or (split == "").any():
        return []
    counts = {name: int((split == name).sum()) for name in SPLITS}
    if not counts["train"]:
        there = ", ".join(f"{name} has {counted(n, 'picture')}" for name, n in counts.items() if n)
        return [f"no picture is for training: {there}"]
    seen = set(label[split == "train"].tolist())
    found = []
    for name in ("val", "test"):
        here = label[split == name]
        for unseen in sorted(set(here.tolist()) - seen):
            number = counted(int((here == unseen).sum()), "picture")
            near = nearest(unseen, seen) or f"; train has {some(sorted(seen))}"
            found.append(f"label {unseen!r} is in {name} ({number}) but never in train{near}")
    return found
