"""Configs: completed, checked, read from the command line, kept as JSON, compared.

What a config may hold is in `tl_jax.defaults`; this is the face of the files that work with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from tl_jax import agreement, schema
from tl_jax.completion import ConfigError, merge, plain_copy
from tl_jax.flags import Parsed, parse

__all__ = [
    "ConfigError",
    "Parsed",
    "complete",
    "differences",
    "digest",
    "from_json",
    "parse",
    "to_json",
    "validate",
]


def complete(partial: Mapping[str, Any] | ConfigDict) -> ConfigDict:
    """The config with every key there is, from `tl_jax.defaults` where ``partial`` is silent.

    The result is locked; ``stages`` and each stage's ``rules`` are tuples of ConfigDicts, other lists
    tuples. A completed config completes to itself. Raises `ConfigError` with every problem there is.

        config = complete({"data": {"root": "xrays"}, "model": {"pretrained": "microsoft/resnet-18"},
                           "stages": [{"duration": "3 epochs", "train": "head"}]})
        config.stages[0].lr        # 0.001
    """
    config, problems = merge(partial)
    problems += [*schema.problems(config), *agreement.problems(config)]
    if problems:
        raise ConfigError(problems)
    return config


def validate(config: ConfigDict) -> None:
    """Raises `ConfigError` with every problem of a config, completed or not."""
    complete(config)


def to_json(config: ConfigDict | Mapping[str, Any]) -> str:
    """The config as JSON: keys sorted, a function by its name ``module:function``."""
    return json.dumps(plain_copy(config), indent=1, sort_keys=True, default=_name, ensure_ascii=False)


def from_json(text: str) -> ConfigDict:
    """The config that `to_json` wrote, completed; a function stays a name.

    Keys that came later get their defaults. Raises `ConfigError` where keys or types do not fit.
    """
    config, problems = merge(json.loads(text))
    if problems:
        raise ConfigError(problems, "the stored config, which another version may have written")
    return config


def digest(config: ConfigDict | Mapping[str, Any]) -> str:
    """Of what a config has computed, 16 hexadecimal digits: whether a report is written does not count."""
    plain = json.loads(to_json(config))
    plain.pop("report", None)
    return hashlib.blake2b(to_json(plain).encode(), digest_size=8).hexdigest()


def differences(a: ConfigDict | Mapping[str, Any], b: ConfigDict | Mapping[str, Any]) -> list[str]:
    """One line ``key: old → new`` for each key in which ``b`` differs from ``a``, sorted."""
    return list(_differences(json.loads(to_json(a)), json.loads(to_json(b)), ""))


def _differences(a: Any, b: Any, path: str) -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            inside = f"{path}.{key}" if path else key
            if key not in b or key not in a:
                yield f"{inside}: {_show(a, key)} → {_show(b, key)}"
            else:
                yield from _differences(a[key], b[key], inside)
    elif isinstance(a, list) and isinstance(b, list) and (_holds_dicts(a) or _holds_dicts(b)):
        for i, (old, new) in enumerate(zip(a, b, strict=False)):
            yield from _differences(old, new, f"{path}[{i}]")
        for i in range(min(len(a), len(b)), max(len(a), len(b))):
            yield f"{path}[{i}]: {_item(a, i)} → {_item(b, i)}"
    elif a != b:
        yield f"{path}: {a!r} → {b!r}"


def _holds_dicts(items: list[Any]) -> bool:
    return any(isinstance(item, dict) for item in items)


def _show(group: Mapping[str, Any], key: str) -> str:
    return repr(group[key]) if key in group else "absent"


def _item(items: list[Any], i: int) -> str:
    """A stage by its name, a rule by its path."""
    if i >= len(items):
        return "absent"
    item = items[i]
    return repr(item.get("name") or item.get("path") or item) if isinstance(item, dict) else repr(item)


def _name(value: Any) -> str:
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not (callable(value) and module and name):
        raise TypeError(f"{value!r} has no place in a config: it is neither plain data nor a named function")
    return f"{module}:{name}"
