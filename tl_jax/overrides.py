"""Flags such as ``--config.stages[1].lr=3e-5`` applied to a completed config.

`ml_collections.config_flags` reads and sets each value. It would stop at the first mistake, with an
error about its own inside; so every path is looked up here first, and every problem is collected.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags
from ml_collections.config_dict import FieldReference

from tl_jax.completion import FREE, LOOSE, Problem, describe, merge, pattern, unknown
from tl_jax.schema import CHECKS

_STEP = re.compile(r"([^.\[\]]+)((?:\[-?\d+\])*)")


def take(argv: list[str]) -> tuple[list[str], list[str]]:
    """Arguments → (those that set a key of the config, the rest); what follows ``--`` is rest.

    ``--config.key value`` becomes ``--config.key=value``; without a value it stays as it is.
    """
    mine: list[str] = []
    rest: list[str] = []
    at = 0
    while at < len(argv) and argv[at] != "--":
        argument = argv[at]
        at += 1
        if not re.match(r"--?(no)?config[.\[]", argument):
            rest.append(argument)
            continue
        if "=" not in argument and at < len(argv) and not re.match(r"--?[a-zA-Z]|--$", argv[at]):
            argument = f"{argument}={argv[at]}"
            at += 1
        mine.append(argument)
    return mine, rest + argv[at:]


def apply(config: ConfigDict, arguments: list[str]) -> tuple[ConfigDict, list[Problem]]:
    """A completed config with the arguments of `take` applied in their order, and all problems."""
    problems: list[Problem] = []
    by_path: dict[str, list[str]] = {}
    for argument in arguments:
        path = argument.partition("=")[0].lstrip("-").partition("config")[2].lstrip(".")
        by_path.setdefault(path, []).append(argument)
    done: list[str] = []
    for path, group in by_path.items():
        text = _overwritten(path, done) or _refused(config, path) or _set(config, path, group)
        if text:
            problems.append(Problem(path, text))
        else:
            config, found = merge(config)
            problems += found
        done.append(path)
    return config, problems


def _overwritten(path: str, done: list[str]) -> str | None:
    inside = [other for other in done if other.startswith((f"{path}.", f"{path}["))]
    return f"comes after --config.{inside[0]} and would overwrite it; put it first" if inside else None


def _refused(config: ConfigDict, path: str) -> str | None:
    """Why a path cannot be set, or None."""
    value: Any = config
    walked = ""
    for step in path.split("."):
        match = _STEP.fullmatch(step)
        if match is None:
            return "is no key; write it like data.root or stages[1].lr"
        here = f"{walked}.{match[1]}".lstrip(".")
        if isinstance(value, tuple):
            number = match[1] if match[1].isdigit() else 0
            return f"{walked} is a list; write {walked}[{number}]"
        if not isinstance(value, ConfigDict):
            return f"{walked} is a single value and holds no {match[1]!r}"
        if here.startswith(f"{FREE}.") and not match[2]:
            value = value.get(match[1], ConfigDict())
            walked = here
            continue
        if match[1] not in value:
            return unknown(here, value.keys())
        value, walked = value[match[1]], here
        for index in re.findall(r"-?\d+", match[2]):
            if not _holds_dicts(value):
                return f"{walked} is set as a whole, like --config.{walked}={_written(value)}"
            if not -len(value) <= int(index) < len(value):
                return f"{walked} holds {_counted(value)}"
            value, walked = value[int(index)], f"{walked}[{index}]"
    if isinstance(value, ConfigDict) and not path.startswith(FREE):
        return f"is a group; set one of its keys: {', '.join(f'{path}.{key}' for key in value)}"
    return None


def _set(config: ConfigDict, path: str, arguments: list[str]) -> str | None:
    """Lets config_flags read and set the value; what is wrong with it, or None."""
    holder, key = _holder(config, path)
    if path in LOOSE or path.startswith(f"{FREE}."):
        _loosen(holder, key)
    if len(arguments) > 1 and isinstance(holder[key], tuple):
        arguments = [_quoted(argument) for argument in arguments]
    # Seen from the innermost dict, so that a key may be called like a method of ConfigDict.
    argv = ["config", *(argument.replace(f"config.{path}", f"config.{key}", 1) for argument in arguments)]
    flag_values = flags.FlagValues()
    try:
        config_flags.DEFINE_config_dict(
            "config", holder, flag_values=flag_values, sys_argv=argv, lock_config=False
        )
        flag_values(argv)
    except flags.IllegalFlagValueError as error:
        given = arguments[-1].partition("=")[2]
        check = CHECKS.get(pattern(path))
        return f"found {given!r}" + (f"; allowed: {check.allowed}" if check else f": {error}")
    except flags.Error as error:
        return "has no value" if "Missing value" in str(error) else str(error)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        return f"cannot be set to {arguments[-1].partition('=')[2]!r}: {error}"
    return None


def _quoted(argument: str) -> str:
    """One of several values of a tuple; words that are no literal, such as a class's name, are quoted."""
    name, _, value = argument.partition("=")
    try:
        ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return f"{name}={value!r}"
    return argument


def _holder(config: ConfigDict, path: str) -> tuple[ConfigDict, str]:
    """The innermost dict of a path, and its key there; the free-form part grows on the way."""
    *parents, key = path.split(".")
    holder: Any = config
    for number, parent in enumerate(parents):
        name, *indices = re.findall(r"[^\[\]]+", parent)
        if ".".join(parents[:number]).startswith(FREE) and not isinstance(holder.get(name), ConfigDict):
            with holder.unlocked(), holder.ignore_type():
                holder[name] = ConfigDict()
        holder = holder[name]
        for index in indices:
            holder = holder[int(index)]
    return holder, key


def _loosen(holder: ConfigDict, key: str) -> None:
    """Lets a key take any literal, or come into being."""
    with holder.unlocked(), holder.ignore_type():
        value = holder.get(key)
        holder[key] = FieldReference(None, field_type=object)
        holder[key] = value


def _holds_dicts(value: Any) -> bool:
    return isinstance(value, tuple) and (not value or isinstance(value[0], ConfigDict))


def _counted(items: tuple[ConfigDict, ...]) -> str:
    """How many there are, with their names."""
    names = ", ".join(f"[{i}] {item.get('name') or item.get('path')!r}" for i, item in enumerate(items))
    return f"{len(items)}, counted from 0: {names}" if items else "none"


def _written(value: Any) -> str:
    return repr(value).replace(" ", "") if isinstance(value, tuple) and value else describe(value)
