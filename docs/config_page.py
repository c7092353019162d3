"""Writes the table of keys into docs/config.md: ``python docs/config_page.py``.

Names, defaults and comments come from tl_jax/defaults.py, allowed values from tl_jax/schema.py; a test
makes sure that the page is what this script would write.
"""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
from pathlib import Path
from typing import Any

from tl_jax import defaults
from tl_jax.completion import FREE, LISTS
from tl_jax.schema import CHECKS

PAGE = Path(__file__).with_name("config.md")
MARK = "<!-- below: written by docs/config_page.py -->\n"
GROUPS = (
    "config",
    "task",
    "sharing",
    "data",
    "columns",
    "shift",
    "preprocess",
    "augment",
    "model",
    "head",
    "loss",
    "stage",
    "rule",
    "select",
)
GROUPS += ("early_stopping", "mesh", "evaluation", "cache", "report")
PATHS = {
    "config": "",
    **{path: f"{path}." for path in GROUPS[1:]},
    "task": "tasks[].",
    "columns": "data.columns.",
    "shift": "data.shift.",
    "head": "model.head.",
    "stage": "stages[].",
    "rule": "stages[].rules[].",
}
TITLES = {
    "config": "top level",
    "task": "tasks[0], tasks[1], …",
    "columns": "data.columns",
    "shift": "data.shift",
    "head": "model.head",
    "stage": "stages[0], stages[1], …",
    "rule": "stages[0].rules[0], …",
}


def render() -> str:
    """The generated part of the page."""
    source = inspect.getsource(defaults)
    notes = _comments(source)
    functions = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    lines = []
    for group in GROUPS:
        function = functions[group]
        lines += [f"\n## {TITLES.get(group, group)}\n"]
        own = next(node for node in function.body if isinstance(node, ast.Return))
        call = own.value
        assert isinstance(call, ast.Call)
        about = (
            notes.get(own.end_lineno or 0)
            if own.end_lineno not in _ends(call) or len(_ends(call)) == 1
            else None
        )
        if about:
            lines += [f"{about[0].upper()}{about[1:]}.\n"]
        lines += ["| key | default | meaning | allowed |", "|---|---|---|---|"]
        values = getattr(defaults, group)()
        for keyword in call.keywords:
            note = "" if about else notes.get(keyword.value.end_lineno or 0, "")
            if group == "task" and isinstance(values[keyword.arg], dict):
                key = f"model.{keyword.arg}" if keyword.arg == "head" else keyword.arg
                lines.append(f"| `tasks[i].{keyword.arg}.…` | | as `{key}.…`, of this task | |")
                continue
            lines += _rows(f"{PATHS[group]}{keyword.arg}", values[keyword.arg], note)
    return "\n".join(lines).lstrip("\n") + "\n"


def _rows(path: str, value: Any, note: str) -> list[str]:
    if path in LISTS or (isinstance(value, dict) and f"{path}." in PATHS.values()):
        return []
    if isinstance(value, dict) and path != FREE:
        return [row for key, item in value.items() for row in _rows(f"{path}.{key}", item, note)]
    allowed = CHECKS[path].allowed if path in CHECKS else ""
    cells = (f"`{path.replace('[]', '[i]')}`", f"`{value!r}`", note, allowed)
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"]


def _ends(call: ast.Call) -> set[int | None]:
    return {keyword.value.end_lineno for keyword in call.keywords}


def _comments(source: str) -> dict[int, str]:
    """Comments by line."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


def page(text: str) -> str:
    """The page with its generated part written anew."""
    written, mark, _ = text.partition(MARK)
    if not mark:
        raise ValueError(f"{PAGE} has lost the line {MARK!r}")
    return f"{written}{mark}\n{render()}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
