"""The FreezePlan: what is trained, how fast, and with which BatchNorm mode.

A plan is computed once per stage, from paths, before anything is compiled. Everything that follows
from "these layers stay frozen" is read off it: which leaves are differentiated, the groups of the
optimiser, each group's learning rate and weight decay, which blocks run in inference mode, where the
frozen prefix ends, what a checkpoint must hold and the table the user sees.

Rules are ordered and the first match wins; the whole path must match; the preset in ``train`` is the
last rule and covers the rest. A rule that changes nothing is an error, and so is a plan that trains
nothing: both are what a typing mistake looks like.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from flax import nnx

from tl_jax import lora
from tl_jax.backbones.anatomy import Backbone, part_of, set_mode, split

PRESETS = ("head", "last K", "level K", "all", "norms", "biases", "lora")
"""What ``train`` may say."""

FROZEN = "frozen"
"""The label of every leaf that is not trained."""

_NORMS = (nnx.BatchNorm, nnx.LayerNorm, nnx.GroupNorm, nnx.RMSNorm)
_DECAYED = ("kernel", "embedding", lora.A, lora.B)
T = TypeVar("T")


class PlanError(ValueError):
    """A plan that cannot be what was meant; the message lists every problem."""


@dataclass(frozen=True)
class Group:
    """Trained leaves that share a learning rate (``lr_scale`` × the stage's) and a weight decay."""

    name: str
    lr_scale: float
    weight_decay: float


@dataclass(frozen=True)
class FreezePlan:
    """What one stage trains. See the module docstring; built by `plan`.

    ``labels`` maps every parameter path to its group's name or `FROZEN`; ``decayed`` are the trained
    paths that weight decay acts on; ``batch_norm`` maps each BatchNorm layer's path to ``"frozen"``,
    ``"adapt"`` or ``"train"``; ``live`` are the parts ("stem", "blocks/7", "neck", "head") in which
    something trains, and dropout acts; ``prefix`` is the number of blocks below the first one that
    trains or whose statistics move, or -1 where nothing lies below what moves: that is the stem, or the first
    block over a stem without parameters.
    """

    groups: tuple[Group, ...]
    labels: Mapping[str, str]
    decayed: frozenset[str]
    batch_norm: Mapping[str, str]
    live: frozenset[str]
    prefix: int

    @property
    def moving(self) -> frozenset[str]:
        """The parts in which something trains or statistics move."""
        return _moving(self.live, self.batch_norm)

    @property
    def lowest(self) -> str:
        """What moves where nothing lies below it, in words."""
        return "the stem" if "stem" in self.moving else "the first block"

    def is_trained(self, path: str) -> bool:
        return self.labels[path] != FROZEN

    def label_tree(self, leaves: Mapping[str, Any]) -> dict[str, str]:
        """Labels of any sub-tree of the parameters: the function `optax.multi_transform` asks for."""
        return {path: self.labels[path] for path in leaves}

    def partition(self, leaves: Mapping[str, T]) -> tuple[dict[str, T], dict[str, T]]:
        """Parameters as (trained, frozen)."""
        trained = {path: leaf for path, leaf in leaves.items() if self.is_trained(path)}
        return trained, {path: leaf for path, leaf in leaves.items() if path not in trained}

    def partition_statistics(self, leaves: Mapping[str, T]) -> tuple[dict[str, T], dict[str, T]]:
        """Running statistics as (moving, frozen)."""
        moving = {path: leaf for path, leaf in leaves.items() if self.batch_norm[_parent(path)] != FROZEN}
        return moving, {path: leaf for path, leaf in leaves.items() if path not in moving}

    def set_modes(self, model: Backbone) -> None:
        """Makes the model's static structure say what the plan says: whole blocks in inference mode
        where nothing trains, BatchNorm layer by layer."""
        for part, module in parts(model).items():
            set_mode(module, dropout=part in self.live, batch_statistics=False)
        for path, layer in _layers(model, (nnx.BatchNorm,)).items():
            layer.use_running_average = self.batch_norm[path] == FROZEN


def parts(model: Backbone) -> dict[str, nnx.Module]:
    """The model's parts in order: "stem", "blocks/0", …, "neck", "head"."""
    blocks = {f"blocks/{i}": block for i, block in enumerate(model.blocks)}
    return {"stem": model.stem, **blocks, "neck": model.neck, "head": model.head}


def plan(model: Backbone, stage: Mapping[str, Any]) -> FreezePlan:
    """The plan of one completed stage of a config (keys: see `tl_jax.defaults.stage`).

    ``model`` may be abstract. Raises `PlanError`, listing every problem at once.
    """
    _, params, _ = split(model)
    rules, problems = _match(list(stage["rules"]), params)
    try:
        preset = _preset(model, stage["train"], params)
    except PlanError as error:
        raise PlanError("\n".join([*problems, str(error)])) from None
    norm_layers = _layers(model, (nnx.BatchNorm,))

    trained = {p for p in params if (rules[p]["train"] if p in rules else p in preset)}
    modes = {
        layer: _mode(layer, rules, stage["batch_norm"], {part_of(p) for p in trained})
        for layer in norm_layers
    }
    trained -= {p for p in trained if modes.get(_parent(p)) == "adapt"}
    if problems:
        raise PlanError("\n".join(problems))
    if not trained:
        raise PlanError(
            f"stage {stage['name']!r} trains nothing: train={stage['train']!r} with {len(stage['rules'])} "
            "rules leaves every parameter frozen. Train at least the head (train='head')."
        )

    groups, labels, decayed = _groups(model, params, trained, rules, stage)
    live = frozenset(part_of(path) for path in trained)
    return FreezePlan(groups, labels, decayed, modes, live, _prefix(model, _moving(live, modes)))


def _moving(live: frozenset[str], modes: Mapping[str, str]) -> frozenset[str]:
    return live | {part_of(layer) for layer, mode in modes.items() if mode != FROZEN}


def _prefix(model: Backbone, moving: frozenset[str]) -> int:
    if "stem" in moving:
        return -1
    blocks = next((i for i in range(len(model.blocks)) if f"blocks/{i}" in moving), len(model.blocks))
    return blocks if blocks or split(model.stem)[1] else -1


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _layers(model: Backbone, kinds: tuple[type, ...]) -> dict[str, Any]:
    """Layers of the given kinds by path."""
    return {
        "/".join(map(str, path)): module
        for path, module in nnx.iter_modules(model)
        if isinstance(module, kinds)
    }


def _match(rules: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """First matching rule by path, and a sentence for every rule that decides nothing."""
    chosen: dict[str, Any] = {}
    problems = []
    for number, rule in enumerate(rules):
        matched = [path for path in params if re.fullmatch(rule["path"], path)]
        fresh = [path for path in matched if path not in chosen]
        chosen.update(dict.fromkeys(fresh, rule))
        if not matched:
            near = difflib.get_close_matches(rule["path"], params, n=1, cutoff=0.0)
            problems.append(
                f"rules[{number}].path={rule['path']!r} matches no parameter (the whole path must match); "
                f"the nearest is {near[0]!r}"
            )
        elif not fresh:
            problems.append(
                f"rules[{number}].path={rule['path']!r} decides nothing: earlier rules match all of its "
                f"{len(matched)} parameters first; put it before them"
            )
    return chosen, problems


def _preset(model: Backbone, name: str, params: Mapping[str, Any]) -> set[str]:
    """Paths that a preset trains. The head learns in every one of them."""
    n, levels = len(model.blocks), model.spec.levels
    word, _, number = name.partition(" ")
    if name in ("norms", "biases"):
        norms = _layers(model, _NORMS)
        chosen = {
            path
            for path in params
            if (_parent(path) in norms if name == "norms" else path.rpartition("/")[2] == "bias")
        }
        return chosen | {path for path in params if part_of(path) == "head"}
    if name == "all":
        return set(params)
    if name == "lora":
        updates = {path for path in params if lora.is_update(path)}
        if not updates:
            raise PlanError("train='lora': this network has no updates to train; set model.lora.rank")
        return updates | {path for path in params if part_of(path) == "head"}
    if name == "head":
        return {path for path in params if part_of(path) == "head"}
    if word == "last" and number.isdigit():
        if not 1 <= int(number) <= n:
            raise PlanError(f"train={name!r}: this network has {n} blocks, so K is 1…{n}")
        first = n - int(number)
    elif word == "level" and number.isdigit():
        if not 1 <= int(number) <= len(levels):
            raise PlanError(f"train={name!r}: this network has {len(levels)} levels, so K is 1…{len(levels)}")
        first = (0, *levels)[int(number) - 1]
    else:
        raise PlanError(f"train={name!r} is none of {', '.join(map(repr, PRESETS))}")
    return {path for path in params if model.depth(path) > first}


def _mode(layer: str, rules: Mapping[str, Any], default: str, live: set[str]) -> str:
    """The BatchNorm mode of one layer: its rule's, else the stage's, else what its block does."""
    rule = rules.get(f"{layer}/scale") or rules.get(f"{layer}/bias")
    mode = (rule and rule["batch_norm"]) or default
    if mode == "auto":
        return "train" if part_of(layer) in live else FROZEN
    return mode


def _groups(
    model: Backbone,
    params: Mapping[str, Any],
    trained: set[str],
    rules: Mapping[str, Any],
    stage: Mapping[str, Any],
) -> tuple[tuple[Group, ...], dict[str, str], frozenset[str]]:
    """Groups in order of depth, a label for every path, and the paths that decay."""
    top = len(model.blocks) + 1
    members: dict[tuple[str, float, float], list[str]] = {}
    decayed = set()
    for path in params:
        if path not in trained:
            continue
        rule = rules.get(path)
        scale = (rule["lr_scale"] if rule else 1.0) * stage["layer_decay"] ** (top - model.depth(path))
        decay, own_decay = stage["weight_decay"], False
        if rule and rule["weight_decay"] >= 0:
            decay, own_decay = rule["weight_decay"], True
        decay = 0.0 if stage["optimizer"] == "adam" else decay
        if decay > 0 and (own_decay or path.rpartition("/")[2] in _DECAYED):
            decayed.add(path)
        members.setdefault((path.partition("/")[0], scale, decay), []).append(path)

    groups, labels = [], dict.fromkeys(params, FROZEN)
    order = list(parts(model))
    for (_, scale, decay), paths in sorted(members.items(), key=lambda m: order.index(part_of(m[1][0]))):
        name = _unique(_name(paths), {group.name for group in groups})
        groups.append(Group(name, scale, decay))
        labels.update(dict.fromkeys(paths, name))
    return tuple(groups), labels, frozenset(decayed)


def _name(paths: Sequence[str]) -> str:
    """ "head", "blocks 7", "blocks 4-11": what a person would call these leaves."""
    part = paths[0].partition("/")[0]
    if part != "blocks":
        return part
    numbers = sorted({int(path.split("/")[1]) for path in paths})
    return f"blocks {numbers[0]}" if len(numbers) == 1 else f"blocks {numbers[0]}-{numbers[-1]}"


def _unique(name: str, taken: set[str]) -> str:
    candidates = (name, *(f"{name} ({i})" for i in range(2, len(taken) + 3)))
    return next(candidate for candidate in candidates if candidate not in taken)


def count(leaves: Mapping[str, Any]) -> int:
    """Number of values in the leaves."""
    return sum(leaf.size for leaf in leaves.values())
