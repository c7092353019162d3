"""The summary of layer scores: tables, a picture and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tl_jax.lab import pictures
from tl_jax.lab.layer_scores import Layer, Network
from tl_jax.text_table import aligned, comma_separated
from tl_jax.workdir import write_json, write_text


def write(root: Path, networks: Sequence[Network]) -> str:
    """Writes layers.txt, layers.csv, layers.json and layers.png into ``root``; the verdict."""
    text = "\n\n".join([*map(table, networks), verdict(networks)])
    write_text(root / "layers.txt", text + "\n")
    write_text(root / "layers.csv", _csv(networks))
    plain = [
        {
            "name": one.name,
            "leep": one.leep,
            "best": one.best.name,
            "layers": [vars(layer) for layer in one.layers],
        }
        for one in networks
    ]
    write_json(root / "layers.json", {"networks": plain, "verdict": verdict(networks)})
    draw(networks, root / "layers.png")
    return f"{verdict(networks)}\n\npicture: {root / 'layers.png'}"


def table(network: Network) -> str:
    """One line a layer."""
    rows = [["layer", "width", "AUROC", "accuracy", "validation NLL", "LogME", "H-score"]]
    for layer in network.layers:
        rows.append(
            [
                layer.name + (" *" if layer is network.best else ""),
                str(layer.width),
                _interval(layer, "auroc"),
                _interval(layer, "accuracy"),
                f"{layer.val_nll:.4f}",
                f"{layer.logme:.4f}",
                f"{layer.h_score:.4f}",
            ]
        )
    leep = f"LEEP {network.leep:.4f}" if network.leep is not None else "no LEEP: no head of its own"
    lines = [f"{network.name} ({leep})", *aligned(rows, left=1)]
    return "\n".join(lines)


def verdict(networks: Sequence[Network]) -> str:
    """Which network, and which of its layers, to take."""
    chosen = min(networks, key=lambda network: network.best.val_nll)
    layer = chosen.best
    among = f" of {len(networks)} networks" if len(networks) > 1 else ""
    return (
        f"Take {chosen.name}{among}, layer {layer.name}: its probe has the lowest NLL on validation, "
        f"{layer.val_nll:.4f}. On the test split, which chose nothing, its AUROC is "
        f"{_interval(layer, 'auroc')}."
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


def _csv(networks: Sequence[Network]) -> str:
    measures = ("auroc", "accuracy", "nll")
    ends = [f"{name}{end}" for name in measures for end in ("", "_low", "_high")]
    rows: list[list[Any]] = [["network", "layer", "width", "decay", "val_nll", *ends, "logme", "h_score"]]
    for network in networks:
        for one in network.layers:
            values = [one.test[name][key] for name in measures for key in ("value", "low", "high")]
            facts = [network.name, one.name, one.width, one.decay, one.val_nll]
            rows.append([*facts, *values, one.logme, one.h_score])
    return comma_separated(rows)


def _interval(layer: Layer, measure: str) -> str:
    one: dict[str, Any] = layer.test[measure]
    if one["value"] is None:
        return "–"
    ends = f" ({one['low']:.4f}–{one['high']:.4f})" if one["low"] is not None else ""
    return f"{one['value']:.4f}{ends}"
