"""The page about one run."""

from __future__ import annotations

from typing import Any

from tl_jax.report import examples, learning, measures, page, several, verdict, written
from tl_jax.report.confusion import confusion
from tl_jax.report.evidence import Evidence
from tl_jax.report.quality import Quality


def html(evidence: Evidence) -> str:
    """The whole page as text. What the evidence does not hold is left out, and the page says so."""
    result = evidence.result
    return page.render(
        "run.html",
        title=evidence.name,
        evidence=evidence,
        result=result,
        verdict=verdict.of(evidence),
        measures=measures.table(evidence),
        counts=measures.counts(evidence),
        learning=learning.pictures(evidence),
        noun="text" if evidence.words else "picture",
        facts=_facts(evidence),
        **_OF.get(evidence.task.kind, _of_several)(evidence),
    )


def _of_classes(evidence: Evidence) -> dict[str, Any]:
    """How good the decisions for one class an example are."""
    quality = Quality(evidence) if len(evidence.test.labels) else None
    return dict(
        by_class=measures.by_class(evidence),
        ranking=quality.ranking() if quality else [],
        calibration=[quality.reliability(), quality.histogram()] if quality else [],
        confusion=confusion(evidence),
        kinds=examples.kinds(evidence, quality) if quality else [],
    )


def _of_several(evidence: Evidence) -> dict[str, Any]:
    """The same of several findings or numbers an example."""
    there = len(evidence.test.labels) > 0
    return dict(
        by_class=several.by_name(evidence),
        ranking=several.pictures(evidence) if there else [],
        calibration=[],
        confusion=None,
        kinds=several.kinds(evidence) if there else [],
    )


def _of_texts(evidence: Evidence) -> dict[str, Any]:
    """The same of texts that were written."""
    there = len(evidence.test.ids) > 0
    return dict(
        by_class=None,
        ranking=written.pictures(evidence) if there else [],
        calibration=[],
        confusion=None,
        kinds=written.kinds(evidence) if there else [],
    )


_OF = {"classification": _of_classes, "translation": _of_texts}


def _facts(evidence: Evidence) -> list[tuple[str, str]]:
    """What makes the run again, and shows whether it is the same."""
    result = evidence.result
    versions = result["versions"]
    seconds = result["seconds"]
    found = [
        ("seed", str(evidence.seed)),
        ("config digest", result.get("config", "")),
        ("data fingerprint", result["data"]["fingerprint"]),
        ("weights", result["weights"]["source"]),
        ("weights identity", result["weights"]["identity"]),
        ("versions", ", ".join(f"{name} {number}" for name, number in versions.items())),
        ("steps", f"{result['steps']:,}"),
        ("time", f"{seconds['train']:.1f} s of training steps, {seconds['total']:.1f} s in all"),
    ]
    if result.get("flops"):
        found.append(("operations", f"{result['flops'] / 1e12:.3g} TFLOP of training steps"))
    return [(name, text) for name, text in found if text]
