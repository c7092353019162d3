"""The page on configs says what the code says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from tl_jax.completion import keys, pattern
from tl_jax.config import complete

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_what_its_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("config_page", DOCS / "config_page.py")
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = (DOCS / "config.md").read_text(encoding="utf-8")
    assert text == script.page(text), "the page has drifted: run python docs/config_page.py"


def test_every_key_is_on_the_page() -> None:
    text = (DOCS / "config.md").read_text(encoding="utf-8")
    assert [key for key in keys() if f"`{pattern(key).replace('[]', '[i]')}`" not in text] == []


def test_the_pages_example_runs_as_it_stands() -> None:
    text = (DOCS / "config.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert example
    names: dict = {}
    exec(example[1], names)
    assert complete(names["get_config"]()).stages[1].layer_decay == 0.8
