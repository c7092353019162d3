"""The page about an experiment."""

from __future__ import annotations

import copy

from tests.report.reading import Page
from tl_jax.evaluation.estimate import Estimate
from tl_jax.report import experiment
from tl_jax.report.page import order
from tl_jax.report.table import Column, Link, Table

EVIL = "<img src=x onerror=alert(1)>"
RECORD = {
    "name": "cut-01/seed-0",
    "variation": "cut-01",
    "seed": 0,
    "code": "0.1+aa",
    "seconds": {"start": 1234.5},
    "test": {name: {"value": 0.9, "low": 0.8, "high": 0.95} for name in ("auroc", "nll")},
}
TABLE = Table(
    [Column("cut"), Column("auroc", "AUROC"), Column("plan")],
    [[10, Estimate(0.9123456, 0.8, 0.95), EVIL], [9, None, "b"]],
    title="Cuts",
    notes=[EVIL],
)


def html(**changes) -> str:
    return experiment.html(
        **{"title": "A ladder", "verdict": EVIL, "tables": [TABLE], "records": [RECORD], **changes}
    )


def test_it_tells_what_it_is_given():
    page = Page(html(linked=frozenset([RECORD["name"]]), facts=[("command", "python -m x")]))
    assert page.all("img") == []
    assert page.text.count(EVIL) == 3
    assert "0.9123 0.8000–0.9500" in page.text
    assert [one["href"] for one in page.all("a")] == ["cut-01/seed-0/report.html"]
    assert "python -m x" in page.text
    assert "0.1+aa" in page.text
    assert "different code" not in page.text
    assert "test AUROC" in page.text
    assert "accuracy" not in page.text, "no run has it"


def test_tables_sort_by_numbers_in_full():
    page = Page(html())
    orders = [one["data-order"] for one in page.all("td") if "data-order" in one]
    assert orders[:6] == ["10", "0.9123456", EVIL, "9", "", "b"]
    heads = [one for one in page.all("th") if "aria-sort" in one]
    assert len(heads) == len(page.all("button"))
    assert [one.get("class") for one in heads[:3]] == ["number", "number", None]
    assert order(float("nan")) == order(None) == order(Estimate(float("nan"))) == ""


def test_a_run_without_a_report_is_named_and_not_linked():
    page = Page(html())
    assert page.all("a") == []
    assert "cut-01/seed-0" in page.text


def test_failures_and_different_code_are_said():
    other = copy.deepcopy(RECORD) | {"name": "cut-02/seed-0", "code": "0.1+bb"}
    page = Page(html(records=[RECORD, other], failed=[("cut-03/seed-0", EVIL)]))
    assert "1 of 3 runs failed" in page.text
    assert f"cut-03/seed-0: {EVIL}" in page.text
    assert "different code: 0.1+aa (1), 0.1+bb (1)" in page.text


def test_names_in_links_are_quoted():
    table = experiment.runs([{**RECORD, "name": 'a b"/seed-0'}], frozenset(['a b"/seed-0']))
    (link, *_) = table.rows[0]
    assert isinstance(link, Link)
    assert link.href == "a%20b%22/seed-0/report.html"
    assert "a b" in table.csv()


def test_nothing_but_the_tables():
    page = Page(html(records=(), tables=[]))
    assert "Runs" not in page.text
