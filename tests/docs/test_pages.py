"""Every Python block of a page runs, and prints what the page says it prints.

The blocks of a page run in order, in one namespace and an empty folder. A block that begins with a comment
that is a file's name, such as ``# shapes.py``, is that file. A ``text`` block right after a Python block is
what that block prints.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.backbones import test_contract as contract
from tl_jax import backbones

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.name for path in (ROOT / "docs").glob("*.md") if "```python" in path.read_text(encoding="utf-8")
)
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\s*^```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
WOULD_BE = {"tl_jax/backbones/plain.py"}
NAME = re.compile(r"# (\w+\.py)\n")


@pytest.fixture(autouse=True)
def _sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty folder to work in; what a page imports or enters into a dict is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(backbones, "FAMILIES", dict(backbones.FAMILIES))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def follow(page: str, capsys: pytest.CaptureFixture[str] | None = None) -> dict[str, Any]:
    """Runs a page and returns the names it defined."""
    names: dict[str, Any] = {"__name__": "page"}
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        code, expected = match.groups()
        line = text[: match.start()].count("\n") + 1
        if file := NAME.match(code):
            Path(file[1]).write_text(code, encoding="utf-8")
            continue
        if capsys:
            capsys.readouterr()
        exec(compile("\n" * line + code, str(ROOT / "docs" / page), "exec"), names)
        if capsys and expected is not None:
            assert lines(capsys.readouterr().out) == lines(expected), f"{page}:{line} prints something else"
    return names


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]


@pytest.mark.parametrize("page", PAGES)
def test_the_page_does_what_it_says(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = follow(page, capsys)
    if page == "recipes.md":
        config: dict[str, Any] = {}
        exec((ROOT / "configs" / "folder.py").read_text(encoding="utf-8"), config)
        assert names["RECIPES"] == config["RECIPES"]


def test_the_example_backbone_keeps_the_contract() -> None:
    names = follow("add_a_backbone.md")
    config = names["ARCH"]
    contract.test_cutting_anywhere_changes_nothing(config, training=True)
    contract.test_features_and_logits_have_the_shapes_of_the_spec(config)
    contract.test_what_is_kept_of_a_carry_leads_on_to_the_logits_of_all_parts(config)
    contract.test_every_path_has_a_depth_and_every_depth_a_path(config)
    contract.test_levels_say_what_feature_maps_look_like(config)
    contract.test_one_channel(config)
    contract.test_the_table_covers_every_leaf_once_both_ways(config)
    contract.test_training_mode_is_random_by_key_and_moves_statistics(config)
    contract.test_every_parameter_takes_part(config)
    contract.test_bfloat16_stays_bfloat16(config)


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda p: p.name
)
def test_links_and_named_files_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = [found.partition("#")[0] for found in re.findall(r"\]\(([^)\s]+)\)", text)]
    absent = [link for link in links if link and "://" not in link and not (path.parent / link).exists()]
    named = re.findall(r"`((?:tl_jax|tests|docs|configs|experiments|benchmarks)/[\w/.]+\.\w+)`", text)
    absent += [name for name in named if name not in WOULD_BE and not (ROOT / name).exists()]
    assert absent == []
