"""What is said of transfer, on runs made by hand."""

from __future__ import annotations

import math

import pytest

from tests.lab.test_compare import LABELS, SETTINGS, fold, noisy
from tests.lab.test_curves import line
from tl_jax.lab import catching_up, transfer
from tl_jax.lab.arms import SCRATCH
from tl_jax.lab.chosen import Chosen
from tl_jax.lab.compare import Comparison, corrected
from tl_jax.lab.transfer import Transfer, name

LEVELS = {(0.01, SCRATCH): 3.0, (0.01, "full"): 0.5, (1.0, SCRATCH): 0.5, (1.0, "full"): 3.0}
"""Noise of the logits: with few labels full is much better, with all of them much worse."""


def record(fraction: float) -> dict:
    return {
        "steps": 40,
        "flops": 2e12,
        "seconds": {"train": 3.5},
        "facts": {"pictures": int(1000 * fraction)},
    }


def made(levels=LEVELS) -> Transfer:
    """As `transfer.found` makes it of files."""
    folds = {
        name(key): [fold(noisy(LABELS, level, seed), LABELS) for seed in range(3)]
        for key, level in levels.items()
    }
    compared = Comparison(folds, SETTINGS)
    full = [key for key in levels if key[1] == "full"]
    differences = {k: compared.difference(name(k), name((k[0], SCRATCH)), "auroc") for k in full}
    return Transfer(
        arms={key: Chosen(1e-3, [record(key[0])] * 3, 0.9, 1, False) for key in levels},
        compared=compared,
        measure="auroc",
        metric="auroc",
        differences=differences,
        decided={fraction: (arm, differences[fraction, arm]) for fraction, arm in full},
        curves={key: [line(0.6, 0.8)] * 3 for key in levels},
        caught={key: catching_up.of([line(0.8)] * 3, [line(0.6, 0.8)] * 3, rises=True) for key in full},
        missing=["labels-5-own-lr-0.001"],
    )


def test_helped_and_hurt():
    found = made()
    assert (transfer.outcome(found, 0.01), transfer.outcome(found, 1.0)) == ("helped", "hurt")
    lines = transfer.verdict(found).splitlines()
    assert lines[:2] == [
        "Transfer helped at 1 % of the labels.",
        "Transfer hurt (negative transfer) at 100 % of the labels.",
    ]
    difference = found.differences[0.01, "full"]
    assert lines[2].startswith(f"At 1 %: full less scratch AUROC {difference.text('+.4f')}, p 0.0")
    assert lines[2].endswith("scratch took 2.0 times as long.")


def test_nothing_can_be_told():
    found = made(dict.fromkeys(LEVELS, 1.0))
    assert transfer.verdict(found).startswith("No difference can be told at 1 % and 100 % of the labels.")


def test_a_measure_that_falls_helps_by_falling():
    found = made()
    by_nll = {
        fraction: (arm, found.compared.difference(name((fraction, arm)), name((fraction, SCRATCH)), "nll"))
        for fraction, arm in found.differences
    }
    falls = Transfer(**{**vars(found), "measure": "nll", "decided": by_nll})
    assert by_nll[0.01][1].value < 0
    assert transfer.outcome(falls, 0.01) == "helped"


def test_without_scratch_nothing_is_said():
    assert "Nothing can be said" in transfer.verdict(Transfer(**{**vars(made()), "decided": {}}))


def test_the_table_holds_values():
    found = made()
    scratch, full, *_ = transfer.table(found).plain()
    assert (scratch["arm"], scratch["difference"], scratch["p"]) == (SCRATCH, None, None)
    assert full["difference"]["value"] == pytest.approx(full["auroc"]["value"] - scratch["auroc"]["value"])
    assert (full["pictures"], full["steps"], full["seconds"], full["tflop"]) == (10, 40, 3.5, 2.0)
    text = transfer.table(found).text()
    assert "--lrs lets validation choose" in text
    assert "left out, as runs are missing: labels-5-own-lr-0.001" in text


def test_the_picture(tmp_path):
    transfer.summary(made()).draw(tmp_path / "transfer.png")
    assert (tmp_path / "transfer.png").stat().st_size > 20_000


def test_p_values_are_corrected_for_their_number():
    raw = made().differences
    found = corrected(raw)
    assert [one.value for one in found.values()] == [one.value for one in raw.values()]
    lowest = min(raw.values(), key=lambda one: one.p)
    assert found[(0.01, "full")].p >= raw[0.01, "full"].p
    assert min(one.p for one in found.values()) == pytest.approx(2 * lowest.p)
    assert not any(math.isnan(one.p) for one in found.values())
