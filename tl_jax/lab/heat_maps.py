"""Do heat maps find what is known to be there? On simulated radiographs, whose consolidation has a place.

A map can look right for bad reasons: it may light up what any network finds striking, or the middle of the
picture, where the lungs always are. So maps of a trained network stand beside those of the same network with
a head, and with all weights, made anew (Adebayo et al. 2018, arXiv:1810.03292), and beside the mean map of
the other patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from textwrap import fill

import numpy as np
from scipy import ndimage

from tl_jax import compilation, evaluation, pretrained
from tl_jax.backbones.anatomy import Backbone, merge, split
from tl_jax.data import chest_phantom
from tl_jax.data.phantom.simulate import PNEUMONIA
from tl_jax.evaluation.bootstrap import Resampling, percentiles
from tl_jax.evaluation.estimate import Estimate
from tl_jax.evaluation.grad_cam import WAYS, Cut, chosen, heatmaps
from tl_jax.evaluation.metrics import Floats, ratio
from tl_jax.finished import Finished
from tl_jax.job import prepare
from tl_jax.lab import pictures
from tl_jax.lab.summary import Summary
from tl_jax.report.table import Column, Table

FLUID = 1.0
"""Centimetres of fluid on a pixel's ray from which it counts as consolidated: 13 % fewer photons arrive than
through as much lung."""
DRAWS = 5
"""Networks made anew; what is told of them is their mean."""
TRAINED = "the trained network"


@dataclass(frozen=True)
class Films:
    """Pictures (n, size, size, c) uint8 of ``patients`` (n,), and where they are consolidated, ``places``
    (n, size, size) bool; ``cell``: pixels that a cell of a map is wide."""

    images: np.ndarray
    patients: np.ndarray
    places: np.ndarray
    cell: int

    @property
    def near(self) -> np.ndarray:
        """The places, grown by a cell on every side."""
        wide = 2 * self.cell + 1
        return ndimage.maximum_filter(self.places, size=(1, wide, wide), mode="constant")


@dataclass(frozen=True)
class Falls:
    """Where maps fall, a number a picture (n,): ``inside``, the share of a map's mass on the consolidation;
    ``hit``, whether its hottest pixel is there (the pointing game: Zhang et al. 2016, arXiv:1608.00507), and
    ``near``, whether it is there or within a cell of it. NaN where a map is empty."""

    inside: Floats
    hit: Floats
    near: Floats


def falls(maps: np.ndarray, films: Films) -> Falls:
    """Of maps (n, size, size)."""
    mass = maps.sum(axis=(1, 2), dtype=np.float64)
    inside = (maps * films.places).sum(axis=(1, 2), dtype=np.float64)
    hottest = maps.reshape(len(maps), -1).argmax(axis=1)
    hit, near = (
        np.where(mass > 0, places.reshape(len(maps), -1)[np.arange(len(maps)), hottest], np.nan)
        for places in (films.places, films.near)
    )
    return Falls(ratio(inside, mass), hit, near)


def of_others(maps: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """For each map the mean of those of all other patients: what is hot wherever the disease is."""
    total, found = maps.sum(axis=0, dtype=np.float64), np.zeros(maps.shape)
    for patient in np.unique(patients):
        own = patients == patient
        found[own] = (total - maps[own].sum(axis=0, dtype=np.float64)) / max(1, np.sum(~own))
    return found


def known(run: Finished) -> Films:
    """The run's test pictures with pneumonia that it calls so. Raises ValueError where it has not seen
    chest_phantom's own pixels, or calls none so."""
    where, config = f"--workdir={run.workdir.root}", run.config
    if (config.data.source, config.data.name) != ("tfds", "chest_phantom"):
        raise ValueError(
            f"{where} is of other pictures; where the disease sits is known of chest_phantom alone, on which "
            "configs/xray.py trains"
        )
    test = prepare(config, say=lambda line: None).data.test
    decided = evaluation.decide(evaluation.probabilities(run.logits(test), run.decision), run.decision)
    rows = np.flatnonzero((test.labels == PNEUMONIA) & (decided == PNEUMONIA))
    if not len(rows):
        raise ValueError(f"{where} calls no test picture with pneumonia so; there is no map to check")
    drawn, images = chest_phantom.films(test.ids[rows]), test.images[rows]
    if not np.array_equal(np.stack([film.image for film in drawn]), images[..., 0]):
        raise ValueError(
            f"{where} has seen chest_phantom's pictures resized, and places are known on their own pixels; "
            f"train with --config.data.image_size={chest_phantom.SIZE}"
        )
    cell, _ = run.model.spec.grid(chosen(run.model, run.recipe).blocks)
    return Films(images, test.groups[rows], np.stack([film.fluid >= FLUID for film in drawn]), cell)


def measured(run: Finished, films: Films) -> Summary:
    """Where the maps of a run's network fall, and where those of its controls do."""
    model, own = run.model, chosen(run.model, run.recipe)
    graph, params, stats = split(model)
    classes = np.full(len(films.images), PNEUMONIA)
    arch = dict(model.spec.config)
    fresh = [pretrained.scratch(arch, num_classes=len(run.classes), seed=seed)[0] for seed in range(DRAWS)]

    def maps(network: Backbone, cut: Cut = own) -> np.ndarray:
        return heatmaps(network, run.recipe, films.images, classes, cut=cut)

    def headless(other: Backbone) -> Backbone:
        heads = {path: leaf for path, leaf in split(other)[1].items() if path.startswith("head/")}
        return merge(graph, {**params, **heads}, stats)

    def mean(several: Sequence[np.ndarray]) -> Falls:
        each = [falls(one, films) for one in several]
        return Falls(*(_mean([getattr(one, field.name) for one in each]) for field in fields(Falls)))

    with compilation.shared():
        trained = maps(model)
        arms = {
            TRAINED: falls(trained, films),
            "its head made anew": mean([maps(headless(one)) for one in fresh]),
            "all weights made anew": mean([maps(one) for one in fresh]),
            "mean of other patients' maps": falls(of_others(trained, films.patients), films),
        }
        cuts = {Cut(blocks, own.way) for blocks in model.spec.levels}
        cuts |= {Cut(own.blocks, way) for way in WAYS}
        ways = {cut: falls(maps(model, cut), films) for cut in sorted(cuts)}
    resampling = Resampling(
        films.patients, replicates=run.config.evaluation.bootstrap, seed=run.config.evaluation.seed
    )
    return _told(arms, ways, films, resampling)


def estimated(values: Floats, over: Floats, resampling: Resampling) -> Estimate:
    """Σ values / Σ over of pictures (n,), with its interval over patients; pictures without a value are left
    out of both sums."""
    some = ~np.isnan(values)
    values, over = np.where(some, values, 0), np.where(some, over, 0)
    replicates = np.concatenate([ratio(values @ weights, over @ weights) for weights in resampling])
    low, high, _ = percentiles(replicates[:, None])
    return Estimate(float(ratio(values.sum(), over.sum())), float(low[0]), float(high[0]))


def _mean(several: Sequence[Floats]) -> Floats:
    """Of each picture, over the maps of it that are not empty."""
    return ratio(np.nansum(several, axis=0), np.sum(~np.isnan(several), axis=0))


def _told(
    arms: Mapping[str, Falls], ways: Mapping[Cut, Falls], films: Films, resampling: Resampling
) -> Summary:
    ones, area = np.ones(len(films.places)), films.places.mean(axis=(1, 2))

    def cells(one: Falls) -> list[float | Estimate]:
        return [
            float(np.isnan(one.inside).mean()),
            estimated(one.inside, ones, resampling),
            estimated(one.inside, area, resampling),
            estimated(one.hit, ones, resampling),
            estimated(one.near, ones, resampling),
        ]

    shown = [
        Column("empty", form=".1%"),
        Column("inside", "mass inside", ".1%"),
        Column("times", "times its area", ".2f"),
        Column("hit", "hottest on it", ".1%"),
        Column("near", "within a cell", ".1%"),
    ]
    mine = arms[TRAINED]
    ahead = {
        name: estimated(mine.inside - one.inside, ones, resampling)
        for name, one in arms.items()
        if name != TRAINED
    }
    rows = [[name, *cells(one), ahead.get(name)] for name, one in arms.items()]
    by_way = [[cut.blocks, cut.way, *cells(one)] for cut, one in ways.items()]
    notes = [
        f"{len(ones)} test pictures with pneumonia of {resampling.groups} patients, all called so. The "
        f"consolidation ({FLUID:g} cm of fluid or more) takes {area.mean():.1%} of a picture; with a cell, "
        f"{films.cell} pixels, on every side {films.near.mean():.1%}: so often is a random pixel there.",
        f"Made anew: {DRAWS} times, the mean is told. Intervals: 95 %, over patients, for this one network.",
    ]
    times = estimated(mine.inside, area, resampling)
    return Summary(
        name="grad_cam",
        title="Do heat maps find the consolidation?",
        verdict=_verdict(times, ahead),
        tables=[
            Table([Column("map"), *shown, Column("less", "trained less this", "+.1%")], rows, notes=notes),
            Table(
                [Column("blocks", "blocks before the map"), Column("way"), *shown],
                by_way,
                title="The trained network at other depths, and in other ways (averaged: as published)",
            ),
        ],
        draw=partial(_draw, {name: estimated(one.inside, area, resampling) for name, one in arms.items()}),
    )


def _verdict(times: Estimate, ahead: Mapping[str, Estimate]) -> str:
    """Whether the mass falls on the consolidation, more than by chance and than that of every control."""
    told = f"A consolidation holds {times.text('.2f')} times the mass of a map that its area would"
    worse = [name for name, one in ahead.items() if not one.low > 0]
    if not times.low > 1:
        return f"{told}: maps do not find it."
    if worse:
        return f"{told}, but not more for certain than with {', '.join(worse)}: that is no finding."
    return f"{told}, and more than with every control: maps find it."


def _draw(times: Mapping[str, Estimate], path: Path) -> None:
    at = np.arange(len(times))
    values, low, high = np.array([(one.value, one.low, one.high) for one in times.values()]).T
    with pictures.figure(path) as axes:
        axes.errorbar(
            at, values, np.abs([values - low, high - values]), fmt="o", color=pictures.DARK, capsize=3
        )
        axes.axhline(1, color=pictures.MARK, linewidth=1)
        axes.set_xticks(at, [fill(name, 16) for name in times])
        axes.set_ylabel("mass on the consolidation,\ntimes its area")
        axes.set_ylim(bottom=0)
