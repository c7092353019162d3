"""Validation chooses the rate; a rate that lacks a seed is not chosen."""

from __future__ import annotations

from typing import Any

from tl_jax.lab.chosen import Choice


def record(arm: str, lr: float, seed: int, value: float | None) -> dict[str, Any]:
    return {
        "variation": f"{arm}-lr-{lr:g}",
        "seed": seed,
        "facts": {"arm": arm, "lr": lr},
        "best": {"value": value},
    }


def choose(records, metric="auroc"):
    return Choice(records, metric, lambda one: one["facts"]["arm"])


def test_the_best_mean_over_seeds():
    records = [
        record("a", lr, seed, value + 0.1 * seed) for lr, value in ((0.1, 0.6), (0.2, 0.7)) for seed in (1, 0)
    ]
    found = choose(records).arms["a"]
    assert (found.lr, found.tried, found.edge) == (0.2, 2, False)
    assert [one["seed"] for one in found.records] == [0, 1]
    assert choose(records, "nll").arms["a"].lr == 0.1


def test_what_lacks_a_seed_is_named():
    records = [record("a", 0.1, seed, 0.6) for seed in (0, 1)] + [
        record("a", 0.2, 0, 0.9),
        record("b", 0.1, 1, 0.9),
    ]
    found = choose(records)
    assert {name: one.lr for name, one in found.arms.items()} == {"a": 0.1}
    assert found.missing == ["a-lr-0.2", "b-lr-0.1"]


def test_an_undefined_value_is_never_preferred_and_an_edge_is_told():
    records = [record("a", lr, 0, value) for lr, value in ((0.1, None), (0.2, 0.1), (0.3, 0.2))]
    found = choose(records).arms["a"]
    assert (found.lr, found.edge) == (0.3, True)
    assert choose(records, "nll").arms["a"].lr == 0.2
