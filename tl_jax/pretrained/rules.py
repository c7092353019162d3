"""The weight table: which array of a checkpoint is which leaf of a model, as data, used both ways.

A backbone's ``table(config)`` yields `Rule` and `Ignore` lines; `to_ours` reads a checkpoint with
them and `to_theirs` writes one. Reading is strict: every array of the checkpoint and every leaf of the
model is accounted for, and everything that is wrong is listed in one error.

Names may hold integer placeholders, and one part in brackets that a checkpoint may leave out:
``"[vit.]encoder.layer.{i}.output.dense.weight"`` ↔ ``"blocks/{i}/mlp/fc2/kernel"``. It is written with
that part. (The base models of transformers, such as ``ViTModel``, save their names without it.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np

from tl_jax.pretrained.transforms import IDENTITY, Transform


class Leaf(Protocol):
    """What reading needs to know of a leaf: an array, or `jax.ShapeDtypeStruct`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...


@dataclass(frozen=True)
class Rule:
    """One leaf (path ``ours``), the checkpoint's array or arrays it is made of, and how.

    ``lacking``: the leaf belongs to the classifier, as the head does, and this is what to say where a
    checkpoint without a classifier does not hold it; it is then initialised.
    """

    theirs: str | tuple[str, ...]
    ours: str
    transform: Transform = IDENTITY
    lacking: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return (self.theirs,) if isinstance(self.theirs, str) else self.theirs


@dataclass(frozen=True)
class Ignore:
    """An array that the model has no use for, and why.

    ``theirs`` may hold ``*`` for any text. With a ``value`` the array is written back on export, for
    readers that would miss it; the name then has neither ``*`` nor placeholders. ``same`` names an array
    that it must equal where both are there, or leaving it out would change what the network computes.
    """

    theirs: str
    reason: str
    value: np.ndarray | None = None
    same: str = ""


@dataclass(frozen=True)
class Translation:
    """What became of a checkpoint.

    ``leaves``: the arrays read, by our path; ``sources``: the checkpoint names each was made of;
    ``initialised``: paths the caller must fill, and why; ``ignored``: checkpoint names, and why.
    """

    leaves: dict[str, np.ndarray]
    sources: dict[str, tuple[str, ...]]
    initialised: dict[str, str]
    ignored: dict[str, str]


class TranslationError(ValueError):
    """A checkpoint that does not fit the model; ``problems`` and the message list everything."""

    def __init__(self, problems: Sequence[str]):
        self.problems = tuple(problems)
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"the checkpoint does not fit the model ({len(self.problems)} problems):\n{lines}")


def to_ours(
    arrays: Mapping[str, np.ndarray],
    rules: Iterable[Rule | Ignore],
    leaves: Mapping[str, Leaf],
    *,
    fresh: Mapping[str, str] | None = None,
    optional: Mapping[str, str] | None = None,
) -> Translation:
    """Reads a checkpoint's arrays into leaves of the model's shapes and dtypes.

    Args:
      arrays: the checkpoint; any floating dtype, converted to the leaf's before anything else.
      rules: a family's ``table(config)``.
      leaves: the model's parameters and statistics by path; shapes and dtypes are enough.
      fresh: paths to initialise anew whatever the checkpoint holds, and why.
      optional: paths to initialise, and why, if the checkpoint holds none of those of the same reason.

    Raises:
      TranslationError: naming every array and leaf that is missing, misshapen, unexpected or given twice.
    """
    fresh, optional = dict(fresh or {}), dict(optional or {})
    rules = tuple(rules)
    book, problems = _Book(rules), []
    ignored: dict[str, str] = {}
    found: dict[str, dict[int, str]] = {}  # our path → {which of the rule's names: the checkpoint's name}
    for name in arrays:
        line, part, numbers = book.theirs(name)
        if line is None:
            problems.append(
                f"unexpected array {name!r} {_shape(arrays[name])}: no rule of the table knows it"
            )
        elif isinstance(line, Ignore):
            ignored[name] = line.reason
            problems += _differences(name, line, arrays)
        elif (path := line.ours.format(**numbers)) in fresh:
            ignored[name] = fresh[path]
        elif path not in leaves:
            problems.append(
                f"unexpected array {name!r} {_shape(arrays[name])}: it would be {path!r}, which this "
                "configuration does not have"
            )
        elif part in found.setdefault(path, {}):
            problems.append(f"{name!r} and {found[path][part]!r} are both {path!r}: keep one")
        else:
            found[path][part] = name

    initialised = {path: why for path, why in fresh.items() if path in leaves}
    held = {why for path, why in optional.items() if path in found}
    initialised.update(
        {p: why for p, why in optional.items() if why not in held and p in leaves and p not in fresh}
    )

    result: dict[str, np.ndarray] = {}
    sources: dict[str, tuple[str, ...]] = {}
    for path, leaf in leaves.items():
        if path in initialised:
            continue
        rule, names = book.ours(path)
        if rule is None:
            problems.append(f"no rule of the table covers leaf {path!r} {_shape(leaf)}: a gap in the table")
            continue
        given = found.get(path, {})
        absent = [_bare(name) for part, name in enumerate(names) if part not in given]
        if absent:
            problems.append(f"missing array {', '.join(map(repr, absent))} for leaf {path!r} {_shape(leaf)}")
            continue
        sources[path] = tuple(given[part] for part in range(len(names)))
        try:
            result[path] = _read([arrays[name] for name in sources[path]], rule.transform, leaf)
        except ValueError as error:
            problems.append(f"{', '.join(map(repr, sources[path]))} for leaf {path!r}: {error}")
    if problems:
        raise TranslationError(sorted(problems))
    return Translation(result, sources, initialised, ignored)


def to_theirs(leaves: Mapping[str, Any], rules: Iterable[Rule | Ignore]) -> dict[str, np.ndarray]:
    """Writes leaves as the arrays of a checkpoint, by their names, C-contiguous, in the leaves' dtypes.

    Raises:
      TranslationError: naming every leaf that no rule covers.
    """
    rules = tuple(rules)
    book, problems = _Book(rules), []
    arrays: dict[str, np.ndarray] = {}
    for path, leaf in leaves.items():
        rule, names = book.ours(path)
        if rule is None:
            problems.append(f"no rule of the table covers leaf {path!r} {_shape(leaf)}: a gap in the table")
            continue
        parts = rule.transform.to_theirs(np.asarray(leaf))
        for name, part in zip(names, parts, strict=True):
            arrays[_full(name)] = np.ascontiguousarray(part).reshape(part.shape)
    if problems:
        raise TranslationError(problems)
    for rule in rules:
        if isinstance(rule, Ignore) and rule.value is not None:
            arrays[_full(rule.theirs)] = rule.value
    return arrays


def _differences(name: str, line: Ignore, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """What is wrong where an array is to be left out because it equals another, and does not."""
    others = [other for other in (_full(line.same), _bare(line.same)) if line.same and other in arrays]
    return [
        f"{name!r} is to be the same as {other!r}, and is not: config.json says that they are tied "
        "(tie_word_embeddings)"
        for other in others
        if not np.array_equal(arrays[name], arrays[other])
    ]


def _read(given: Sequence[np.ndarray], transform: Transform, leaf: Leaf) -> np.ndarray:
    """One leaf from its arrays.

    Raises:
      ValueError: if they do not give the leaf's shape, or are integers where the leaf is not.
    """
    for array in given:
        if jnp.issubdtype(leaf.dtype, jnp.floating) and not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(f"holds {array.dtype}, not floating-point numbers (a quantised checkpoint?)")
    shapes = ", ".join(map(_shape, given))
    try:
        array = transform.to_ours([np.asarray(part).astype(leaf.dtype) for part in given], tuple(leaf.shape))
    except ValueError as error:
        raise ValueError(f"shape {shapes} does not fit as {transform.name}: {error}") from error
    if array.shape != tuple(leaf.shape):
        raise ValueError(
            f"shape {shapes} gives {_shape(array)} as {transform.name}, but the model has {_shape(leaf)}"
        )
    return array


class _Book:
    """The table's two indices: by the checkpoint's name and by our path."""

    def __init__(self, rules: Sequence[Rule | Ignore]):
        self._theirs: dict[str, tuple[Rule | Ignore, int]] = {}
        self._ours: dict[str, Rule] = {}
        self._their_patterns: list[tuple[re.Pattern[str], Rule | Ignore, int]] = []
        self._our_patterns: list[tuple[re.Pattern[str], Rule]] = []
        for rule in rules:
            names = rule.names if isinstance(rule, Rule) else (rule.theirs,)
            for part, name in enumerate(names):
                for variant in {_full(name), _bare(name)}:
                    if "{" in variant or "*" in variant:
                        self._their_patterns.append((_pattern(variant), rule, part))
                    else:
                        self._theirs.setdefault(variant, (rule, part))
            if isinstance(rule, Rule):
                if "{" in rule.ours:
                    self._our_patterns.append((_pattern(rule.ours), rule))
                else:
                    self._ours.setdefault(rule.ours, rule)

    def theirs(self, name: str) -> tuple[Rule | Ignore | None, int, dict[str, int]]:
        """The rule for a checkpoint's name, which of the rule's names it is, and its numbers."""
        if name in self._theirs:
            return *self._theirs[name], {}
        for pattern, rule, part in self._their_patterns:
            if match := pattern.fullmatch(name):
                return rule, part, {k: int(v) for k, v in match.groupdict().items()}
        return None, 0, {}

    def ours(self, path: str) -> tuple[Rule | None, tuple[str, ...]]:
        """The rule for our path, and the rule's names with the path's numbers in them."""
        if rule := self._ours.get(path):
            return rule, rule.names
        for pattern, rule in self._our_patterns:
            if match := pattern.fullmatch(path):
                numbers = {k: int(v) for k, v in match.groupdict().items()}
                return rule, tuple(name.format(**numbers) for name in rule.names)
        return None, ()


def _full(name: str) -> str:
    """The name with its optional part, as it is written."""
    return name.replace("[", "").replace("]", "")


def _bare(name: str) -> str:
    """The name without its optional part."""
    return re.sub(r"\[.*?\]", "", name)


def _pattern(name: str) -> re.Pattern[str]:
    text = re.escape(name).replace(r"\*", ".*")
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\d+)", text))


def _shape(array: Leaf) -> str:
    return f"({', '.join(map(str, array.shape))})"
