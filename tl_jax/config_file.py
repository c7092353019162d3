"""A config file: a Python file with a function ``get_config(arg="")``, anywhere on disk."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from tl_jax.completion import ConfigError, Problem, describe


def split(text: str) -> tuple[Path, str | None]:
    """``"path.py:argument"`` → its two parts; the argument is None where there is no colon."""
    match = re.fullmatch(r"(.*?\.py)(?::(.*))?", text, re.DOTALL)
    if match:
        return Path(match[1]).expanduser(), match[2]
    path, colon, argument = text.partition(":")
    return Path(path).expanduser(), argument if colon else None


def load(text: str) -> Any:
    """What ``get_config`` of the file returns, which is a mapping.

    ``text`` is ``path.py`` or ``path.py:argument``. The file's folder goes to the end of the search
    path, so that modules beside it can be imported. Raises `ConfigError`; an error inside the file is
    shown with its own lines.
    """
    path, argument = split(text)
    if not path.is_file():
        raise _error(text, _missing(path))
    module = _execute(path)
    function = getattr(module, "get_config", None)
    if not callable(function):
        near = difflib.get_close_matches("get_config", vars(module), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise _error(text, f'{path} has no function get_config(arg=""){hint}')
    found = _guarded(path, lambda: _call(text, function, argument))
    if not isinstance(found, dict | ConfigDict):
        hint = "; is its return missing?" if found is None else ""
        raise _error(text, f"get_config returned {describe(found)} and not a ConfigDict or dict{hint}")
    return found


def _execute(path: Path) -> ModuleType:
    module = ModuleType(f"config_{path.stem}")
    module.__file__ = str(path)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    # Dataclasses and pickle look a module up by its name.
    sys.modules[module.__name__] = module

    def run() -> None:
        # Not through the import system, whose cache of bytecode may be one edit behind.
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))

    _guarded(path, run)
    return module


def _call(text: str, function: Callable[..., Any], argument: str | None) -> Any:
    parameters = [
        p
        for p in inspect.signature(function).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)
    ]
    if argument and not parameters:
        raise _error(text, f"get_config takes no argument, but {argument!r} was given after the colon")
    if argument is None and parameters and parameters[0].default is inspect.Parameter.empty:
        argument = ""
    return function() if argument is None or not parameters else function(argument)


def _guarded(path: Path, action: Callable[[], Any]) -> Any:
    """Runs the user's code; an error in it is told with the lines of the user's file."""
    try:
        return action()
    except ConfigError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        start = next((i for i, f in enumerate(frames) if Path(f.filename).resolve() == path.resolve()), None)
        own = [] if start is None else frames[start:]
        lines = traceback.format_list(own) + traceback.format_exception_only(error)
        text = "".join(["failed:\n", *lines]).rstrip().replace("\n", "\n    ")
        raise _error(str(path), text) from error


def _missing(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder; name a file in it: {_listed(path, '')}"
    folder = path.parent
    if not folder.is_dir():
        there = next(parent for parent in folder.absolute().parents if parent.is_dir())
        return f"there is no folder {folder} (what exists of it: {there})"
    return f"there is no file {path}; near it: {_listed(folder, path.name)}"


def _listed(folder: Path, name: str) -> str:
    """Up to five Python files of a folder, the nearest names first."""
    names = sorted(file.name for file in folder.glob("*.py"))
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.5) if name else []
    return ", ".join(str(folder / file) for file in (near or names)[:5]) or "no Python file"


def _error(where: str, text: str) -> ConfigError:
    return ConfigError([Problem("--config", text)], f"the command line, --config={where}")
