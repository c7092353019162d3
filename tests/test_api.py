"""The two functions a notebook calls stay functions, whatever was imported before."""

from __future__ import annotations

import importlib
import pkgutil

import tl_jax


def test_no_module_stands_in_the_place_of_a_function() -> None:
    for name in tl_jax.__all__:
        assert callable(getattr(tl_jax, name))
        assert callable(getattr(tl_jax, name)), "the first access put a module there"
    importlib.import_module("tl_jax.main")
    assert not {module.name for module in pkgutil.iter_modules(tl_jax.__path__)} & set(tl_jax.__all__)
