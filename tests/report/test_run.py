"""The page about a run: whole, closed to the network, honest about what is not there."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.report import made
from tests.report.reading import Page
from tl_jax.report import learning, run, verdict
from tl_jax.report.evidence import Shown
from tl_jax.report.table import Column, Table

SECTIONS = ["measures", "data", "plan", "learning", "ranking", "decisions", "pictures", "origin"]
EVIL = "<script>alert(1)</script>$x$&\"'"


@pytest.fixture(scope="module")
def two():
    return Page(run.html(made.evidence()))


def test_every_section_is_there(two):
    assert [one["id"] for one in two.all("section") if "id" in one] == SECTIONS
    assert [one["aria-label"] for one in two.all("svg")] != []
    assert len(two.all("svg")) == 7  # three of learning, two of ranking, two of calibration
    assert len(two.all("img")) == 1 + 2 * 12
    assert all(one.get("alt") for one in two.all("img"))
    assert "python -m tl_jax.main" in two.text
    assert "seed: 0 → 1" in two.text


def test_no_two_elements_share_an_id_and_every_reference_has_its_own(two):
    assert len(two.ids) == len(set(two.ids))
    inner = {one["href"][1:] for _, one in two.tags if (one.get("href") or "").startswith("#")}
    clips = set(re.findall(r"url\(#([^)]+)\)", " ".join(str(one) for _, one in two.tags)))
    assert clips
    assert inner | clips <= set(two.ids)


def test_nothing_can_be_asked_for():
    html = run.html(made.evidence())
    page = Page(html)
    (policy,) = [one["content"] for one in page.all("meta") if one.get("http-equiv")]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe-inline'; script-src 'sha256-" in policy
    assert "http" not in html.replace("http-equiv", "")
    for _, attributes in page.tags:
        for name in ("src", "href", "action", "srcset", "data"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:")), value
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


def test_names_stay_text():
    found = made.evidence((EVIL, "b"), name=EVIL)
    found = replace(found, test=replace(found.test, ids=np.array([EVIL] * 60)))
    assert found.pictures is not None
    shown = Shown(EVIL, EVIL, np.zeros((4, 4, 1), np.uint8))
    result = {
        **found.result,
        "data": {**found.result["data"], "notes": [EVIL], "caveat": EVIL},
        "command": EVIL,
    }
    pictures = replace(found.pictures, training=[shown])
    html = run.html(replace(found, result=result, pictures=pictures, changed=[EVIL]))
    page = Page(html)
    assert len(page.all("script")) == 1
    assert not [tag for tag, attributes in page.tags if any(name.startswith("on") for name in attributes)]
    assert page.text.count("<script>alert(1)</script>$x$") >= 12
    alts = [one["alt"] for one in page.all("img")]
    assert f"Test picture {EVIL}" in alts


def test_three_classes():
    found = made.evidence(("a", "b", "c"))
    page = Page(run.html(found))
    assert "Each class against the rest" in page.text
    assert "most probable class is chosen" in page.text
    cells = [one for one in page.all("td") if one.get("class") in ("right", "wrong")]
    assert len(cells) == 9
    assert sum(one["class"] == "right" for one in cells) == 3


def test_many_classes_are_cut_to_what_can_be_read():
    names = [f"class {number}" for number in range(30)]
    page = Page(run.html(made.evidence(names, test=np.arange(90) % 30, val=np.arange(90) % 30, bootstrap=5)))
    assert "commonest mistakes" in page.text
    assert "The 6 of 30 with the lowest AUROC" in page.text
    assert "smallest class" in page.text


def test_a_class_that_the_test_split_lacks():
    page = Page(run.html(made.evidence(test=[0] * 20)))
    assert "Test has no picture of sick." in page.text
    why = "(needs examples of the class and of the rest)"
    assert f"Undefined on the test split: AUROC, sensitivity at 95 % specificity {why}." in page.text
    assert "No curve: the test split needs pictures" in page.text
    assert "nan" not in page.text


def test_a_class_that_validation_lacks():
    page = Page(run.html(made.evidence(val=[1] * 20)))
    assert "Validation has no picture of healthy." in page.text
    assert "set without data" in page.text
    assert "The threshold stays at 0.5" in page.text
    assert "nan" not in page.text


def test_one_group_has_no_interval():
    page = Page(run.html(made.evidence(bootstrap=0)))
    assert "No interval: evaluation.bootstrap is 0." in page.text
    assert "no interval" in page.text
    assert "nan" not in page.text


def test_without_pictures_the_page_says_why():
    page = Page(run.html(made.evidence(pictures=False)))
    assert page.all("img") == []
    assert page.text.count("they are gone") == 2


def test_a_history_that_is_gone_and_a_run_of_an_older_version():
    found = made.evidence(history=[])
    old = {name: value for name, value in found.result.items() if name not in ("command", "config")}
    old["data"] = {name: value for name, value in old["data"].items() if name != "counts"}
    page = Page(run.html(replace(found, result=old)))
    assert "metrics.jsonl holds no steps" in page.text
    assert "config digest" not in page.text


@pytest.mark.parametrize(
    ("best", "words"),
    [(10, "never improved on its first"), (20, None), (40, "still improving at the last step")],
)
def test_the_verdict_knows_the_course_of_validation(best, words):
    found = made.evidence()
    result = {**found.result, "best": {**found.result["best"], "step": best}}
    told = [line for line in verdict.of(replace(found, result=result)).mind if "alidation" in line]
    assert told == [] if words is None else words in told[0]


def test_learning_rates_are_drawn_from_the_stem_up():
    """Whatever the order in which a line of the history has them."""
    columns = [Column("group")]
    plan = [Table(columns, [["frozen"], ["head"]]), Table(columns, [["stem"], ["blocks 0"], ["head"]])]
    history = [
        {"step": step, "stage": "all", "loss": 1.0, "lr/blocks 0": 2e-4, "lr/head": 3e-4, "lr/stem": 1e-4}
        for step in range(11, 41)
    ]
    *_, rates = learning.pictures(made.evidence(plan=plan, history=history))
    words = Page(str(rates.svg)).text
    assert words.index("head") < words.rindex("stem")
    assert "blocks 0" not in words, "only the ends are named"


def test_the_verdict_in_three_lines():
    found = made.evidence(test=[0, 1] * 20)
    one = verdict.of(found)
    test = found.result["test"]
    assert f"AUROC {test['auroc']['value']:.3f} (95\u00a0% interval {test['auroc']['low']:.3f}" in one.reached
    assert "40 test pictures of 20 groups" in one.reached
    assert (
        "Weights of step 20 (stage 'all'): validation NLL 0.5000, the best of 3 measurements." in one.chosen
    )
    assert (
        f"sick from calibrated probability {test['threshold']:.3g} on, chosen on validation by youden"
        in one.chosen
    )
    assert any("few groups" in line.lower() for line in one.mind)
    assert [tile.title for tile in one.tiles][:2] == ["AUROC", "accuracy at the threshold"]
