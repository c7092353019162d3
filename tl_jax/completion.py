"""A partial config completed by `tl_jax.defaults`, with a sentence for everything that does not fit.

Only names and types are looked at here; which values make sense is in `tl_jax.schema`.
"""

from __future__ import annotations

import difflib
import math
import numbers
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict
from ml_collections.config_dict import RequiredValueError

from tl_jax import defaults

FREE = "model.arch"
"""The key whose value is free-form: a Hugging Face config."""

LISTS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "tasks": defaults.task,
    "stages": defaults.stage,
    "stages[].rules": defaults.rule,
}
"""Keys that hold lists of dicts, and the defaults of one item."""

FUNCTIONS = ("task", "data.source")
"""Keys that hold a name or a function."""

LOOSE = (*FUNCTIONS, "loss.class_weights")
"""Keys with values of more than one type."""

ITEMS: Mapping[str, type] = {
    "data.classes": str,
    "data.columns.labels": str,
    "data.window": float,
    "preprocess.mean": float,
    "preprocess.std": float,
    "augment.scale": float,
    "augment.ratio": float,
    "model.head.sizes": int,
    "loss.class_weights": float,
}
"""Keys that hold tuples, and the type of one item."""

_NAMES = {bool: "True or False", int: "a whole number", float: "a number", str: "a string"}


class Problem(NamedTuple):
    """``path`` is the full key; ``text`` what was found and what is allowed."""

    path: str
    text: str


class ConfigError(ValueError):
    """Everything that is wrong with a config, in one message; ``problems`` holds one sentence each."""

    def __init__(self, problems: Iterable[Problem], where: str = "the config"):
        found: dict[str, str] = {}
        for path, text in problems:
            found.setdefault(path, text)
        self.problems = [f"{path}: {text}" for path, text in found.items()]
        count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
        super().__init__("\n  ".join([f"{count} in {where}:", *self.problems]))


def merge(partial: Mapping[str, Any] | ConfigDict) -> tuple[ConfigDict, list[Problem]]:
    """The completed config, locked, and its problems of name and type.

    Where a value does not fit, its default stands in, so that looking can go on. Lists become tuples,
    whole numbers floats where a float is expected, paths strings.
    """
    problems: list[Problem] = []
    plain = _group(partial, defaults.config(), "", problems)
    for number, stage in enumerate(plain["stages"]):
        stage["name"] = stage["name"] or f"stage {number + 1}"
    return _freeze(plain), problems


def pattern(path: str) -> str:
    """The key without numbers, ``stages[1].lr`` → ``stages[].lr``; of what a task has of its own that of the
    top level, ``tasks[0].data.root`` → ``data.root``."""
    found = re.sub(r"\[-?\d+\]", "[]", path)
    own = re.fullmatch(r"tasks\[\]\.((?:data|augment|loss|evaluation|head)\b.*|task)", found)
    if own is None:
        return found
    return f"model.{own[1]}" if own[1].startswith("head") else own[1]


def keys() -> dict[str, Any]:
    """Every key there is, by pattern, with its default; groups are spelled out."""
    return dict(_keys(defaults.config(), ""))


def _keys(group: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for key, value in group.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and path != FREE:
            yield from _keys(value, f"{path}.")
        elif path in LISTS:
            yield from _keys(LISTS[path](), f"{path}[].")
        else:
            yield path, value


def unknown(path: str, siblings: Iterable[str]) -> str:
    """The sentence for a key that does not exist, with the nearest one that does."""
    head, _, name = path.rpartition(".")
    siblings = list(siblings)
    # Of keys that are called alike that of the top level, not of one of several tasks.
    order = list(reversed(keys()))
    order.sort(key=lambda key: not key.startswith("tasks[]"))
    by_name = {key.rpartition(".")[2]: key.replace("[]", "[0]") for key in order}
    near = difflib.get_close_matches(name, siblings, n=1)
    elsewhere = difflib.get_close_matches(name, by_name, n=1, cutoff=0.8)
    if elsewhere and (elsewhere[0] == name or not near):
        return f"no such key; did you mean {by_name[elsewhere[0]]}?"
    if near:
        return f"no such key; did you mean {head + '.' if head else ''}{near[0]}?"
    return f"no such key; the keys here are {', '.join(sorted(siblings))}"


def _group(found: Any, standard: dict[str, Any], path: str, problems: list[Problem]) -> dict[str, Any]:
    """One dict completed, key by key."""
    if not _is_group(found):
        problems.append(Problem(path, f"found {describe(found)}; allowed: a dict of {', '.join(standard)}"))
        found = {}
    prefix = f"{path}." if path else ""
    for key in found:
        if key not in standard:
            problems.append(Problem(f"{prefix}{key}", unknown(f"{prefix}{key}", standard)))
    result = {}
    for key, default in standard.items():
        try:
            # Not get(): a required placeholder that nobody filled must raise.
            value = found[key] if key in found else default  # noqa: SIM401
        except RequiredValueError:
            problems.append(Problem(f"{prefix}{key}", "is required by the config file and was not given"))
            value = default
        result[key] = _value(value, default, f"{prefix}{key}", problems)
    return result


def _value(value: Any, default: Any, path: str, problems: list[Problem]) -> Any:
    name = pattern(path)
    if name == FREE:
        if not _is_group(value):
            problems.append(Problem(path, f"found {describe(value)}; allowed: a dict, a Hugging Face config"))
            return default
        return plain_copy(value)
    if name in LISTS:
        return _dicts(value, LISTS[name], path, problems)
    if isinstance(default, dict):
        return _group(value, default, path, problems)
    if name in LOOSE and (isinstance(value, str) or (name in FUNCTIONS and callable(value))):
        return value
    if name in ITEMS:
        # A flag makes a tuple of a single word: --config.loss.class_weights=balanced
        if name in LOOSE and list(_sequence(value) or ()) == ["balanced"]:
            return "balanced"
        items = _sequence(value)
        fitted = None if items is None else [_fit(item, ITEMS[name]) for item in items]
        if fitted is not None and None not in fitted:
            return tuple(fitted)
        example = {str: '("a", "b")', int: "(256, 64)", float: "(0.5, 1.0)"}[ITEMS[name]]
        also = ', or "balanced"' if name in LOOSE else ""
        problems.append(Problem(path, f"found {describe(value)}; allowed: a tuple such as {example}{also}"))
        return default
    fitted = _fit(value, type(default))
    if fitted is None:
        kind = _NAMES[type(default)] + (", or a function" if name in FUNCTIONS else "")
        hint = "; leave the key out for its default" if value is None else ""
        shown = f'a {type(default).__name__} such as "{default}"' if _is_duration(default) else kind
        problems.append(Problem(path, f"found {describe(value)}; allowed: {shown}{hint}"))
        return default
    return fitted


def _dicts(value: Any, standard: Callable[[], dict[str, Any]], path: str, problems: list[Problem]) -> list:
    items = _sequence(value)
    if items is None:
        text = f"found {describe(value)}; allowed: a list of dicts, in order"
        problems.append(Problem(path, text))
        return []
    return [_group(item, standard(), f"{path}[{i}]", problems) for i, item in enumerate(items)]


def _fit(value: Any, kind: type) -> Any:
    """The value as ``kind``, or None where it is something else."""
    if kind is bool or isinstance(value, bool):
        return value if kind is bool and isinstance(value, bool) else None
    if kind is int:
        return int(value) if isinstance(value, numbers.Integral) else None
    if kind is float:
        try:
            number = float(value) if isinstance(value, numbers.Real) else math.nan
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    return os.fspath(value) if isinstance(value, str | os.PathLike) else None


def _is_duration(default: Any) -> bool:
    return isinstance(default, str) and bool(re.fullmatch(r"\d+ (epochs|steps)", default))


def _is_group(value: Any) -> bool:
    return isinstance(value, Mapping | ConfigDict)


def _sequence(value: Any) -> Sequence[Any] | None:
    return value if isinstance(value, list | tuple) else None


def describe(value: Any) -> str:
    """A found value and its type, short enough for a line."""
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '…'} ({type(value).__name__})"


def plain_copy(value: Any) -> Any:
    """Dicts with keys as in JSON, tuples and scalars, in place of ConfigDicts and lists."""
    if _is_group(value):
        return {str(key): plain_copy(value[key]) for key in value}
    if isinstance(value, list | tuple):
        return tuple(plain_copy(item) for item in value)
    return value


def _freeze(value: Any, path: str = "") -> Any:
    """Dicts → locked ConfigDicts, lists → tuples: flags reach into a tuple of ConfigDicts, not of dicts."""
    if isinstance(value, dict):
        # What a Hugging Face config nests in lists is its own affair.
        inside = (
            value if path == FREE else {k: _freeze(v, f"{path}.{k}".lstrip(".")) for k, v in value.items()}
        )
        return ConfigDict(inside).lock()
    if isinstance(value, list | tuple):
        return tuple(_freeze(item) for item in value)
    return value
