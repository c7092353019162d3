"""What the embedded network knows of its own task: textures, figures, and each kind of figure.

    python -m experiments.figures_accuracy

Measured on the test split of `configs/pretrain.py`, which it was not trained on. All 60,000 pictures are
drawn for it, which takes minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from configs import pretrain
from tl_jax import config as configs
from tl_jax import load_pretrained
from tl_jax.backbones.anatomy import split
from tl_jax.data import figures
from tl_jax.data.examples import Split
from tl_jax.forward import Recipe
from tl_jax.inputs import pictures_of
from tl_jax.predictor import Predictor
from tl_jax.sharding import make_mesh, replicate
from tl_jax.tasks import TASKS


def held_out(n: int | None = None) -> Split:
    """The pictures of the test split, or the first ``n``; labels are texture · 10 + figure."""
    settings = configs.complete(pretrain.get_config())
    table = figures.source(settings.data)
    rows = np.flatnonzero(table.splits == "test")[:n]
    labels = np.array([figures.CLASSES.index(name) for name in table.labels[rows].tolist()], np.int32)
    images = np.stack([table.read(int(row), None) for row in rows])
    return Split(table.ids[rows], labels, table.groups[rows], images, {})


def decide(pictures: Split) -> np.ndarray:
    """The network's class of each picture, (n,) int."""
    model, _ = load_pretrained("embedded")
    names = model.spec.config["id2label"]
    ours = figures.CLASSES
    theirs = np.array([ours.index(names[str(i)]) for i in range(len(ours))])
    mesh = make_mesh(1, 1, 1)
    recipe = Recipe(TASKS["classification"], len(ours), pictures_of(model.spec, figures.SIZE))
    _, params, stats = split(model)
    logits = Predictor(model, recipe, mesh).logits(
        replicate(params, mesh), replicate(stats, mesh), pictures, 250
    )
    return theirs[logits.argmax(1)]


def main(argv: Sequence[str]) -> int:
    if len(argv) > 1:
        raise SystemExit(f"takes no arguments, found {' '.join(argv[1:])}")
    pictures = held_out()
    truth, found = pictures.labels, decide(pictures)
    n = len(figures.FIGURES)
    print(f"{len(truth):,} pictures of {len(figures.CLASSES)} classes")
    print(f"  both right       {(found == truth).mean():.3f}")
    print(f"  texture right    {(found // n == truth // n).mean():.3f}")
    print(f"  figure right     {(found % n == truth % n).mean():.3f}")
    for number, name in enumerate(figures.FIGURES):
        rows = truth % n == number
        print(f"    {name:<14} {(found[rows] % n == number).mean():.3f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
