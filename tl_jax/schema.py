"""Which values make sense: allowed choices and ranges, key by key.

Names, types and defaults are in `tl_jax.defaults`; a key without a line here takes any value of its
type. What several keys must agree on is in `tl_jax.agreement`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from tl_jax import duration, named
from tl_jax.completion import FREE, Problem, describe, pattern

METRICS: Mapping[str, tuple[str, ...]] = {
    "classification": ("nll", "accuracy", "balanced_accuracy", "auroc"),
    "multi_label": ("nll", "auroc"),
    "regression": ("rmse", "mae", "r2"),
    "translation": ("nll", "token_accuracy"),
}
"""Validation metrics that `select.metric` may name."""

TASKS = tuple(METRICS)
"""The names in `tl_jax.tasks.TASKS`, which imports jax and is therefore not read here."""

SOURCES = ("folder", "csv", "tfds", "dicom")
"""The kinds of data that `tl_jax.data` reads."""

ACTIVATIONS = ("relu", "gelu", "silu", "tanh")
"""Activations of an mlp head, of those in `tl_jax.backbones.hf_config`, which imports jax too."""

CORRUPTIONS = (
    *("contrast", "brightness", "noise", "blur"),
    *("fog", "rain", "snow", "night"),
    *("motion", "defocus", "jpeg", "resolution"),
)
"""The names in `tl_jax.data.corruptions.CORRUPTIONS`, which imports jax as well."""

ADAPTATIONS = ("batch_norm", "coral")
"""The ways of `tl_jax.adaptation`, which does too."""


@dataclass(frozen=True)
class Check:
    """``allowed`` says in words what ``accepts`` accepts; ``choices`` are names to be near to;
    ``explain`` may say more about a refused value."""

    allowed: str
    accepts: Callable[[Any], bool]
    choices: tuple[str, ...] = ()
    explain: Callable[[Any], str | None] = lambda value: None

    def problem(self, value: Any) -> str | None:
        """The sentence for a value that is not allowed, or None."""
        if self.accepts(value):
            return None
        near = difflib.get_close_matches(value, self.choices, n=1) if isinstance(value, str) else []
        more = self.explain(value)
        return (
            f"found {describe(value)}; allowed: {self.allowed}"
            + (f"; did you mean {near[0]!r}?" if near else "")
            + (f" ({more})" if more else "")
        )


def choice(*names: str) -> Check:
    return Check(" | ".join(f'"{name}"' for name in names), lambda value: value in names, names)


def or_function(*names: str) -> Check:
    words = " | ".join(f'"{name}"' for name in names) + ' | a function | its name, "module:function"'

    def accepts(value: Any) -> bool:
        return callable(value) or value in names or named.is_name(value)

    return Check(words, accepts, names)


def number(low: float, high: float | None = None, *, above: bool = False, below: bool = False) -> Check:
    """low ≤ value ≤ high; ``above`` and ``below`` leave the end itself out."""
    left = f"{low:,} {'<' if above else '≤'} "
    words = f"{left}value" + (f" {'<' if below else '≤'} {high:,}" if high is not None else "")

    def accepts(value: float) -> bool:
        return (value > low if above else value >= low) and (
            high is None or (value < high if below else value <= high)
        )

    return Check(words, accepts)


def length(*, zero: bool = False, percent: bool = True) -> Check:
    """A duration; ``zero``: it may be nothing at all; ``percent``: it may be a percentage."""

    def explain(value: str) -> str | None:
        return duration.check(value, zero=zero, percent=percent)

    words = duration.ALLOWED if percent else duration.ABSOLUTE
    return Check(words, lambda value: explain(value) is None, explain=explain)


def expression(*, empty: bool) -> Check:
    """A regular expression that compiles."""

    def explain(value: str) -> str | None:
        try:
            re.compile(value)
        except re.error as error:
            return f"it does not compile: {error}"
        return None

    words = "a regular expression" + (', or "" for none' if empty else "")
    return Check(words, lambda value: (empty or value != "") and explain(value) is None, explain=explain)


def joined(*names: str) -> Check:
    """Some of the names joined by "+", or none."""
    words = (
        " | ".join(f'"{name}"' for name in names) + f', several as "{names[0]}+{names[1]}", or "" for none'
    )
    return Check(words, lambda value: value == "" or set(value.split("+")) <= set(names), names)


def _is_fold(value: str) -> bool:
    match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", value)
    return value == "" or bool(match and int(match[1]) < int(match[2]) >= 2)


def _is_threshold(value: str) -> bool:
    match = re.fullmatch(r"(?:sensitivity|specificity)\s*>=\s*(\d*\.?\d+)", value)
    return value in ("youden", "f1") or bool(match and 0 < float(match[1]) <= 1)


_WEIGHTS = 'a tuple of one number above 0 a class | "balanced" | () for all one'
_TRAIN = ("head", "last K", "level K", "all", "norms", "biases", "lora")
_KEEP = ("all", "none", "stem", "first K")
_BATCH_NORM = ("auto", "frozen", "adapt", "train")
_SHARE = number(0, 1, above=True, below=True)
_RATE = number(0, 1, below=True)
_NAME = Check('a name, not ""', lambda value: value != "")

CHECKS: Mapping[str, Check] = {
    "seed": number(0, 2**31 - 1),
    "batch_size": number(1),
    "accumulate": number(1),
    "precision": choice("float32", "bfloat16"),
    "log_every": length(percent=False),
    "task": or_function(*TASKS),
    "tasks[].name": Check(
        "a name of letters, digits, - and _", lambda v: bool(re.fullmatch(r"[A-Za-z0-9_-]+", v))
    ),
    "tasks[].proportion": number(0, above=True),
    "tasks[].weight": number(0, above=True),
    "sharing.blocks": number(-1),
    "sharing.weights": choice("fixed", "uncertainty"),
    "data.source": or_function(*SOURCES),
    "data.columns.path": _NAME,
    "data.columns.label": _NAME,
    "data.features.image": _NAME,
    "data.features.label": _NAME,
    "data.group": expression(empty=True),
    "data.classes": Check("two or more different names, or () for all", lambda v: len(set(v)) == len(v) != 1),
    "data.fractions.val": _SHARE,
    "data.fractions.test": _SHARE,
    "data.fold": Check('"i/k" with i in 0…k-1 and k ≥ 2, such as "0/5", or ""', _is_fold),
    "data.split_seed": number(0, 2**31 - 1),
    "data.train_fraction": number(0, 1, above=True),
    "data.train_seed": number(-1, 2**31 - 1),
    "data.on_group_overlap": choice("error", "drop_from_train", "resplit"),
    "data.on_bad_image": choice("error", "skip"),
    "data.min_val": number(0),
    "data.max_pixels": number(1),
    "data.image_size": number(0, 8192),
    "data.canvas": number(0, 8192),
    "data.max_tokens": number(0),
    "data.fit": choice("squash", "pad", "crop"),
    "data.window": Check(
        "(centre, width) with width > 0, or () for the file's own",
        lambda v: not v or (len(v) == 2 and v[1] > 0),
    ),
    "data.shift.corruption": joined(*CORRUPTIONS),
    "data.shift.severity": number(1, 5),
    "data.shift.labels": choice("", "flip"),
    "data.shift.seed": number(0, 2**31 - 1),
    "data.device_budget": number(0),
    "data.host_budget": number(0),
    "data.workers": number(0, 1024),
    "preprocess.mean": Check("1 or 3 numbers, or () for the weights' own", lambda v: len(v) in (0, 1, 3)),
    "preprocess.std": Check(
        "1 or 3 numbers above 0, or () for the weights' own",
        lambda v: len(v) in (0, 1, 3) and min(v, default=1) > 0,
    ),
    "preprocess.resample": choice("", "nearest", "bilinear", "bicubic", "lanczos"),
    "augment.scale": Check(
        "(low, high) with 0 < low ≤ high ≤ 1", lambda v: len(v) == 2 and 0 < v[0] <= v[1] <= 1
    ),
    "augment.ratio": Check("(low, high) with 0 < low ≤ high", lambda v: len(v) == 2 and 0 < v[0] <= v[1]),
    "augment.rotate": number(0, 180),
    "augment.shift": _RATE,
    "augment.brightness": number(0, 1),
    "augment.contrast": number(0, 1),
    "augment.erase": number(0, 1),
    "augment.mixup": number(0),
    "augment.cutmix": number(0),
    "model.keep": Check(
        " | ".join(f'"{name}"' for name in _KEEP) + ", K from 1",
        lambda value: bool(re.fullmatch(r"all|none|stem|first [1-9]\d*", value)),
        _KEEP,
    ),
    "model.pooling": choice("", "pooler", "first", "mean", "last"),
    "model.gray": choice("repeat", "sum"),
    "model.neck": choice("", "pooled", "flatten"),
    "model.head.name": choice("", "linear", "mlp"),
    "model.head.sizes": Check("numbers from 1, or () for none", lambda v: min(v, default=1) >= 1),
    "model.head.act": choice(*ACTIVATIONS),
    "model.head.dropout": _RATE,
    "model.head.output": choice("softmax", "sigmoid"),
    "model.dropout": _RATE,
    "model.lora.rank": number(0),
    "model.lora.alpha": number(0, above=True),
    "model.lora.on": expression(empty=False),
    "loss.label_smoothing": _RATE,
    "loss.class_weights": Check(
        _WEIGHTS, lambda v: v == "balanced" if isinstance(v, str) else min(v, default=1) > 0, ("balanced",)
    ),
    "loss.huber": number(0),
    "loss.l2_sp": number(0),
    "ema": _RATE,
    "stages[].duration": length(),
    "stages[].train": Check(
        " | ".join(f'"{name}"' for name in _TRAIN) + ", K from 1",
        lambda value: bool(re.fullmatch(r"head|all|norms|biases|lora|(last|level) [1-9]\d*", value)),
        _TRAIN,
    ),
    "stages[].optimizer": choice("adamw", "adam", "sgd"),
    "stages[].momentum": _RATE,
    "stages[].b1": _RATE,
    "stages[].b2": _RATE,
    "stages[].lr": number(0, above=True),
    "stages[].schedule": choice("constant", "cosine", "linear"),
    "stages[].warmup": length(zero=True),
    "stages[].final_lr": number(0, 1),
    "stages[].layer_decay": number(0, 1, above=True),
    "stages[].weight_decay": number(0),
    "stages[].clip": number(0),
    "stages[].batch_norm": choice(*_BATCH_NORM),
    "stages[].rules[].path": expression(empty=False),
    "stages[].rules[].lr_scale": number(0, above=True),
    "stages[].rules[].batch_norm": choice("", *_BATCH_NORM),
    "select.metric": Check("; ".join(f"{task}: {', '.join(names)}" for task, names in METRICS.items()), bool),
    "select.every": length(percent=False),
    "early_stopping.patience": number(0),
    "early_stopping.min_delta": number(0),
    "evaluation.batch_size": number(1),
    "evaluation.threshold": Check(
        '"youden" | "f1" | "sensitivity>=x" | "specificity>=x" with 0 < x ≤ 1',
        _is_threshold,
        ("youden", "f1", "sensitivity>=0.95", "specificity>=0.95"),
    ),
    "evaluation.prevalence": Check(
        "0 < value < 1, or below 0 for none", lambda value: value < 0 or 0 < value < 1
    ),
    "evaluation.beams": number(1, 64),
    "evaluation.bootstrap": number(0, 1_000_000),
    "evaluation.seed": number(0, 2**31 - 1),
    "checkpoint.every": length(percent=False),
    "cache.prefix": choice("auto", "on", "off"),
    "cache.views": number(0, 10_000),
    "cache.dtype": choice("auto", "float32", "bfloat16"),
    "cache.disk_budget": number(0),
    "mesh.data": number(0),
    "mesh.fsdp": number(1),
}


def problems(config: ConfigDict) -> Iterator[Problem]:
    """What is wrong with the values of a completed config, one at a time."""
    for path, value in leaves(config):
        check = CHECKS.get(pattern(path))
        if check and (text := check.problem(value)):
            yield Problem(path, text)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every key and value of a completed config: ``("stages[0].lr", 1e-3)``, …"""
    if isinstance(value, ConfigDict) and path != FREE:
        for key in value:
            yield from leaves(value[key], f"{path}.{key}".lstrip("."))
    elif isinstance(value, tuple) and any(isinstance(item, ConfigDict) for item in value):
        for i, item in enumerate(value):
            yield from leaves(item, f"{path}[{i}]")
    else:
        yield path, value
