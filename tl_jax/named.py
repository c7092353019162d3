"""Functions called by name, ``module:function``, as config.json keeps them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def is_name(value: Any) -> bool:
    """Whether a setting is the name of a function, and not one of tl_jax's own words."""
    return isinstance(value, str) and ":" in value


def imported(name: str, key: str) -> Callable[..., Any]:
    """The function that ``key`` of a config names. Raises ValueError where it cannot be imported."""
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{key} is the function {name}, which cannot be imported ({error}). Define it in a module of its "
            "own, beside the config or installed, and start the command where Python finds that module"
        ) from error


def folder(name: str, key: str) -> str:
    """Where on the search path the module of such a function lies; ``""`` for one without a file. Raises as
    `imported`."""
    imported(name, key)
    module = name.partition(":")[0]
    file = getattr(sys.modules[module], "__file__", None)
    if not file:
        return ""
    path = Path(file).absolute()
    return str(path.parents[module.count(".") + (path.name == "__init__.py")])


def is_importable(function: Callable[..., Any]) -> bool:
    """Whether another process could import the function by its name."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    found = module is not None and module.__name__ != "__main__" and module.__spec__ is not None
    return found and "<" not in getattr(function, "__qualname__", "<")
