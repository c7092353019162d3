"""Measures as a table of plain text, for the terminal and the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tl_jax.text_table import aligned, decimals

TITLES = {
    "accuracy": "accuracy at 0.5",
    "accuracy_at_threshold": "accuracy at the threshold",
    "auroc": "AUROC",
    "sensitivity_at_95_specificity": "sensitivity at 95 % specificity",
    "ppv": "PPV (precision)",
    "npv": "NPV",
    "f1": "F1",
    "f1_macro": "F1, mean of both classes",
    "nll": "NLL",
    "ece": "ECE",
    "brier": "Brier score",
    "nll_calibrated": "NLL calibrated",
    "ece_calibrated": "ECE calibrated",
    "brier_calibrated": "Brier score calibrated",
}
PER_CLASS = ("auroc", "sensitivity", "specificity", "ppv", "f1")
OF_NUMBERS = ("mae", "rmse", "bias", "r2", "pearson", "coverage")
OF_TRANSLATIONS = {
    "bleu": "BLEU",
    "exact_match": "equal to the reference",
    "length_ratio": "length over the reference's",
    "token_accuracy": "accuracy of a token",
}
MOST_CLASSES = 12
"""A table of more classes is cut; a confusion matrix of more is not shown."""


def format_table(measures: Mapping[str, Any]) -> str:
    """What `measure` returned, as text of some thirty lines without a final newline."""
    lines = [_head(measures)]
    remarks: dict[str, int] = {}
    several = len(measures["counts"]) > 2
    for name, entry in measures.items():
        if isinstance(entry, Mapping) and "value" in entry:
            lines.append(f"  {title(name, measures, several):<36}{_text(entry)}{_mark(entry, remarks)}")
    if several:
        lines += _per_class(measures)
    lines += _confusions(measures["confusion"])
    lines += [f"  [{number}] {text}" for text, number in remarks.items()]
    return "\n".join(lines)


def of_several(measures: Mapping[str, Any], called: str) -> str:
    """What a task with several ``called`` findings or numbers measured, as `format_table` has it."""
    names, remarks = list(measures["counts"]), {}
    mean = f", mean of {called}s" if len(names) > 1 else ""
    lines = [
        f"  {measures['n']} examples of {measures['n_groups']} groups",
        f"  intervals: {measures['interval']}",
    ]
    shown = {name: one for name, one in measures.items() if isinstance(one, Mapping) and "value" in one}
    wide = max(len(several(name) + mean) for name in shown) + 2
    for name, entry in shown.items():
        lines.append(f"  {(several(name) + mean).ljust(wide)}{_text(entry)}{_mark(entry, remarks)}")
    lines += _each(measures, called)
    lines += [f"  [{number}] {text}" for text, number in remarks.items()]
    return "\n".join(lines)


def of_translations(measures: Mapping[str, Any]) -> str:
    """What a translation measured, as `format_table` has it."""
    lines, remarks = [f"  {measures['n']} pairs of {measures['n_groups']} groups"], {}
    lines.append(f"  intervals: {measures['interval']}")
    for name, entry in measures.items():
        if isinstance(entry, Mapping) and "value" in entry:
            lines.append(f"  {several(name):<36}{_text(entry)}{_mark(entry, remarks)}")
    lines.append(f"  BLEU as {measures['bleu_signature']}")
    return "\n".join([*lines, *(f"  [{number}] {text}" for text, number in remarks.items())])


def several(name: str) -> str:
    """What a measure of findings, numbers or texts is called, for people."""
    titles = {"r2": "R²", "rmse": "RMSE", "mae": "MAE", "pearson": "Pearson's r", **OF_TRANSLATIONS}
    return {**titles, **TITLES}.get(name, name.replace("_", " "))


def each_of(measures: Mapping[str, Any]) -> list[str]:
    """The measures of single findings or numbers that a table has room for."""
    found = next(iter(measures["per_class"].values()))
    return [name for name in (*PER_CLASS, *OF_NUMBERS) if name in found]


def _each(measures: Mapping[str, Any], called: str) -> list[str]:
    shown, names = each_of(measures), list(measures["per_class"])
    rows = [[called, "n", *map(several, shown)]]
    for name in names[:MOST_CLASSES]:
        values = [measures["per_class"][name][key]["value"] for key in shown]
        cells = map(decimals, values)
        rows.append([name, str(measures["counts"][name]), *cells])
    lines = aligned(rows, left=1)
    if len(names) > MOST_CLASSES:
        lines.append(f"  … and {len(names) - MOST_CLASSES} more")
    return lines


def _head(measures: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in list(measures["counts"].items())[:MOST_CLASSES])
    lines = [f"  {measures['n']} examples of {measures['n_groups']} groups ({counts})"]
    if measures["threshold"] is not None:
        positive, criterion = measures["positive"], measures["criterion"]
        chosen = "set without data" if criterion == "none" else f"chosen on validation: {criterion}"
        lines.append(f"  positive: {positive}; threshold {measures['threshold']:.4g} ({chosen})")
    lines.append(f"  intervals: {measures['interval']}")
    return "\n".join(lines)


def title(name: str, measures: Mapping[str, Any], several: bool) -> str:
    """What a measure is called, for people; ``several``: more than two classes."""
    if several and name == "accuracy":
        return "accuracy"
    if name.endswith("_at_prevalence"):
        return f"{name[:3].upper()} at prevalence {measures['prevalence']:g}"
    found = TITLES.get(name, name.replace("_at_0.5", " at 0.5").replace("_", " "))
    averaged = name in ("auroc", "average_precision", "sensitivity", "specificity", "ppv", "npv", "f1")
    return f"{found}, mean of classes" if several and averaged else found


def _text(entry: Mapping[str, Any]) -> str:
    if entry["value"] is None:
        return f"undefined: {entry['why']}"
    if entry["low"] is None:
        return f"{entry['value']:.4f}"
    return f"{entry['value']:.4f}  [{entry['low']:.4f}, {entry['high']:.4f}]"


def _mark(entry: Mapping[str, Any], remarks: dict[str, int]) -> str:
    """Numbers of the footnotes that an entry needs."""
    texts = [entry["note"]] if "note" in entry else []
    if "undefined_replicates" in entry:
        texts.append(f"undefined in {entry['undefined_replicates']} resamples, which are left out")
    return "".join(f"  [{remarks.setdefault(text, len(remarks) + 1)}]" for text in texts)


def _per_class(measures: Mapping[str, Any]) -> list[str]:
    names = list(measures["per_class"])
    width = max(len(name) for name in names[:MOST_CLASSES]) + 2
    shown = [name for name in PER_CLASS if name in measures["per_class"][names[0]]]
    lines = ["  " + "class".ljust(width) + "n".rjust(7) + "".join(name.rjust(13) for name in shown)]
    for name in names[:MOST_CLASSES]:
        values = [measures["per_class"][name][key]["value"] for key in shown]
        cells = "".join(decimals(value).rjust(13) for value in values)
        lines.append("  " + name.ljust(width) + str(measures["counts"][name]).rjust(7) + cells)
    if len(names) > MOST_CLASSES:
        lines.append(f"  … and {len(names) - MOST_CLASSES} classes more")
    return lines


def _confusions(confusion: Mapping[str, Any]) -> list[str]:
    classes = confusion["classes"]
    if len(classes) > MOST_CLASSES:
        return []
    lines = []
    for name, matrix in confusion.items():
        if name in ("classes", "rows", "columns"):
            continue
        cells = [[str(count) for count in row] for row in matrix]
        wide = max(len(text) for text in (*classes, *(cell for row in cells for cell in row))) + 2
        title = f"confusion {name.replace('_', ' ')}: truth down, decision across"
        lines += [f"  {title}", "  " + " " * wide + "".join(cls.rjust(wide) for cls in classes)]
        lines += [
            "  " + cls.ljust(wide) + "".join(cell.rjust(wide) for cell in row)
            for cls, row in zip(classes, cells, strict=True)
        ]
    return lines
