"""One table, told in three ways."""

from __future__ import annotations

import math

from tl_jax.evaluation.estimate import Estimate
from tl_jax.report.table import Column, Link, Table, plain

TABLE = Table(
    [Column("cut"), Column("plan"), Column("auroc", "AUROC"), Column("step", form="+.3f")],
    [["a", "head", Estimate(0.9, 0.8, 0.95), Estimate(-0.01, -0.02, 0.01)], ["b", "all", None, math.nan]],
    title="Cuts",
    notes=["means of 3 seeds"],
)


def test_text():
    assert TABLE.text().splitlines() == [
        "Cuts",
        "  cut  plan                   AUROC                       step",
        "  a    head  0.9000 (0.8000–0.9500)  -0.010 (-0.020 to +0.010)",
        "  b    all                        –                          –",
        "",
        "means of 3 seeds",
    ]


def test_csv_keeps_every_digit():
    assert TABLE.csv().splitlines() == [
        "cut,plan,auroc,auroc_low,auroc_high,step,step_low,step_high",
        "a,head,0.9,0.8,0.95,-0.01,-0.02,0.01",
        "b,all,,,,,,",
    ]


def test_json_has_no_nan():
    assert TABLE.plain()[1] == {"cut": "b", "plan": "all", "auroc": None, "step": None}
    assert TABLE.plain()[0]["auroc"] == {"value": 0.9, "low": 0.8, "high": 0.95, "p": None}
    assert plain([math.inf, (1, "x")]) == [None, [1, "x"]]


def test_which_columns_hold_numbers():
    assert [TABLE.is_numeric(column) for column in range(4)] == [False, False, True, True]


def test_a_link_is_words_outside_of_pages():
    table = Table([Column("run")], [[Link("a/seed-0", "a/seed-0/report.html")]])
    assert table.csv() == "run\na/seed-0\n"
    assert table.plain() == [{"run": "a/seed-0"}]
    assert not table.is_numeric(0)


def test_what_result_json_calls_a_measure():
    assert Estimate.of({"value": 0.5, "low": None, "high": None}).text() == "0.5000"
    assert Estimate.of({"value": None, "low": None, "high": None}).text() == "–"
