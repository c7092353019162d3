"""A run in three lines: what was reached, how it was chosen, what to mind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tl_jax.evaluation.estimate import Estimate
from tl_jax.report.evidence import Evidence
from tl_jax.report.measures import named

FEW = 30
"""Groups of a class below which percentile intervals are too narrow (docs/evaluation.md)."""

_TWO = ("auroc", "accuracy_at_threshold", "sensitivity", "specificity")
_MORE = ("auroc", "accuracy_calibrated", "balanced_accuracy", "average_precision")
_FINDINGS = ("auroc", "average_precision", "sensitivity", "specificity")
_NUMBERS = ("rmse", "mae", "r2", "pearson", "coverage")
_TEXTS = ("bleu", "exact_match", "token_accuracy", "nll")
_WITH_UNIT = ("rmse", "mae", "bias")
_DIGITS = ".3f"


@dataclass(frozen=True)
class Tile:
    """A number that the page shows large."""

    title: str
    value: str
    interval: str


@dataclass(frozen=True)
class Verdict:
    reached: str
    chosen: str
    mind: Sequence[str]
    tiles: Sequence[Tile]


def of(evidence: Evidence) -> Verdict:
    """The verdict on a run, from its numbers alone."""
    test = evidence.result["test"]
    shown = [name for name in _shown(evidence) if name in test]
    tiles = []
    for name in shown:
        one = Estimate.of(test[name])
        form = _DIGITS if name not in _WITH_UNIT else ".4g"
        value = Estimate(one.value).text(form)
        tiles.append(Tile(named(evidence, name), value, one.interval(form)))
    return Verdict(_reached(evidence, tiles), _chosen(evidence), list(_mind(evidence, shown)), tiles)


def _shown(evidence: Evidence) -> Sequence[str]:
    kind = evidence.task.kind
    if kind == "classification":
        return _MORE if len(evidence.classes) > 2 else _TWO
    return {"multi_label": _FINDINGS, "translation": _TEXTS}.get(kind, _NUMBERS)


def _reached(evidence: Evidence, tiles: Sequence[Tile]) -> str:
    told = [
        f"{tile.title} {tile.value}" + (f" (95\u00a0% interval {tile.interval})" if tile.interval else "")
        for tile in tiles[:2]
        if tile.interval or tile.value != "–"
    ]
    return f"{' and '.join(told) or 'nothing that can be measured'} on {_counted(evidence)}."


def _counted(evidence: Evidence) -> str:
    n, groups = evidence.result["test"]["n"], evidence.result["test"]["n_groups"]
    noun = "text" if evidence.words else "picture"
    of = f" of {groups:,} groups" if groups != n else ", each a group of its own"
    return f"{n:,} test {noun if n == 1 else noun + 's'}{of}"


def _chosen(evidence: Evidence) -> str:
    result, best = evidence.result, evidence.result["best"]
    stage = result["stages"][best["stage"]]["name"]
    measured = len(_validations(evidence))
    value = "undefined" if best["value"] is None else f"{best['value']:.4f}"
    among = f"the best of {measured} measurements" if measured > 1 else "the only measurement"
    metric = named(evidence, evidence.metric, "val")
    text = f"Weights of step {best['step']:,} (stage {stage!r}): validation {metric} {value}, {among}. "
    test = result["test"]
    if evidence.task.kind == "regression":
        halves = [f"{name} ± {half:.4g}" for name, half in test["half"].items() if half is not None]
        told = f"A prediction holds the truth with 95 % within {_some(halves)}, by the errors on validation."
        return text + told if halves else text.strip()
    if evidence.task.kind == "translation":
        return f"{text}BLEU as {test['bleu_signature']}."
    if evidence.task.kind == "multi_label":
        text += f"Each finding has a threshold of its own, chosen on validation by {test['criterion']}. "
    elif test["threshold"] is None:
        text += "The most probable class is chosen. "
    elif test["criterion"] == "none":
        text += f"{test['positive']} from probability {test['threshold']:.3g} on, set without data. "
    else:
        text += (
            f"{test['positive']} from calibrated probability {test['threshold']:.3g} on, chosen on "
            f"validation by {test['criterion']}. "
        )
    before, after = test["nll"]["value"], test["nll_calibrated"]["value"]
    if before is not None and after is not None:
        text += f"Calibration, fitted on validation, takes test NLL from {before:.3f} to {after:.3f}."
    return text.strip()


def _mind(evidence: Evidence, shown: Sequence[str]) -> Iterator[str]:
    result = evidence.result
    test = result["test"]
    if result["data"]["caveat"]:
        yield _sentence(result["data"]["caveat"])
    for split in ("test", "val"):
        absent = [name for name, n in result[split]["counts"].items() if not n]
        if absent:
            where = "validation" if split == "val" else split
            yield _sentence(f"{where} has no picture of {_some(absent)}")
    reasons: dict[str, list[str]] = {}
    for name, entry in test.items():
        if isinstance(entry, Mapping) and entry.get("value", 0) is None:
            reasons.setdefault(entry["why"], []).append(named(evidence, name))
    for why, names in reasons.items():
        yield _sentence(f"undefined on the test split: {_some(names)} ({why})")
    if not test["interval"].startswith("95 %"):
        yield _sentence(test["interval"])
    groups = {name: len(np.unique(evidence.test.groups[rows])) for name, rows in _holders(evidence).items()}
    few = [f"{name} {n}" for name, n in groups.items() if 0 < n < FEW]
    if few:
        yield _sentence(
            f"few groups in the test split ({_some(few)}): intervals are too narrow below some {FEW}"
        )
    several = evidence.task.kind != "classification"
    notes = list(result["decision"]["notes"]) if several or len(evidence.classes) == 2 else []
    notes += [test[name]["note"] for name in shown if "note" in test[name]]
    yield from (_sentence(note) for note in dict.fromkeys(notes))
    yield from _course(evidence)


def _holders(evidence: Evidence) -> dict[str, np.ndarray]:
    """Rows (n,) bool of the test split that are of a class, or have a finding, or a number."""
    labels, kind = evidence.test.labels, evidence.task.kind
    if kind == "classification":
        return {name: labels == i for i, name in enumerate(evidence.classes)}
    if kind == "translation":
        return {name: np.ones(len(labels), bool) for name in evidence.classes}
    there = labels == 1 if kind == "multi_label" else ~np.isnan(labels)
    return dict(zip(evidence.classes, there.T, strict=True))


def _course(evidence: Evidence) -> Iterator[str]:
    """What the course of validation says about the length of training."""
    steps = [line["step"] for line in _validations(evidence)]
    best = evidence.result["best"]["step"]
    if len(steps) < 2:
        return
    if best == steps[-1]:
        yield "Validation was still improving at the last step: longer training may give more."
    elif best == steps[0]:
        yield f"Validation never improved on its first measurement, at step {best:,} of {steps[-1]:,}."


def _validations(evidence: Evidence) -> list[Mapping[str, Any]]:
    return [line for line in evidence.history if f"val/{evidence.metric}" in line]


def _sentence(text: str) -> str:
    text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more
