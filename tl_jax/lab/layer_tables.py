"""Layer scores for people: tables, a picture and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tl_jax.evaluation.estimate import Estimate
from tl_jax.lab import pictures
from tl_jax.lab.layer_scores import Layer, Network
from tl_jax.lab.summary import Summary
from tl_jax.report.table import Column, Table

COLUMNS = [
    Column("layer"),
    Column("width"),
    Column("auroc", "AUROC"),
    Column("accuracy"),
    Column("nll", "NLL"),
    Column("val_nll", "validation NLL"),
    Column("decay", form="g"),
    Column("logme", "LogME"),
    Column("h_score", "H-score"),
]


def told(networks: Sequence[Network]) -> Summary:
    """The scores for people."""
    plain = [{"name": one.name, "leep": one.leep, "best": one.best.name} for one in networks]
    return Summary(
        name="layers",
        title="Which network, and which of its layers?",
        verdict=verdict(networks),
        tables=[table(network) for network in networks],
        facts={"networks": plain},
        draw=partial(draw, networks),
    )


def table(network: Network) -> Table:
    """A row a layer."""
    leep = f"LEEP {network.leep:.4f}" if network.leep is not None else "no LEEP: no head of its own"
    rows = [
        [
            layer.name,
            layer.width,
            *(_measure(layer, name) for name in ("auroc", "accuracy", "nll")),
            layer.val_nll,
            layer.decay,
            layer.logme,
            layer.h_score,
        ]
        for layer in network.layers
    ]
    return Table(COLUMNS, rows, title=f"{network.name} ({leep})", notes=[f"best: {network.best.name}"])


def verdict(networks: Sequence[Network]) -> str:
    """Which network, and which of its layers, to take."""
    chosen = min(networks, key=lambda network: network.best.val_nll)
    layer = chosen.best
    among = f" of {len(networks)} networks" if len(networks) > 1 else ""
    return (
        f"Take {chosen.name}{among}, layer {layer.name}: its probe has the lowest NLL on validation, "
        f"{layer.val_nll:.4f}. On the test split, which chose nothing, its AUROC is "
        f"{_measure(layer, 'auroc').text()}."
    )


def draw(networks: Sequence[Network], path: Path) -> None:
    """The test AUROC of each layer's probe."""
    with pictures.figure(path, rows=1) as axes:
        for network, colour in zip(networks, pictures.colours(len(networks)), strict=True):
            each = [layer.test["auroc"] for layer in network.layers]
            value, low, high = (
                np.array([one[key] for one in each], float) for key in ("value", "low", "high")
            )
            at = np.linspace(0, 1, len(each))
            ends = np.nan_to_num([value - low, high - value])
            axes.errorbar(at, value, ends, fmt="o-", capsize=2, color=colour, label=Path(network.name).name)
        alone = len(networks) == 1
        if alone:
            axes.set_xticks(at, [layer.name.removeprefix("blocks/") for layer in networks[0].layers])
        axes.set_xlabel("stem, blocks, neck" if alone else "depth, from the stem (0) to the neck (1)")
        axes.set_ylabel("test AUROC of a linear probe")
        axes.legend(frameon=False)


def _measure(layer: Layer, name: str) -> Estimate:
    return Estimate.of(layer.test[name])
