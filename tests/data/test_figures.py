"""The source task of the embedded network: drawn on demand, reproducible, apart from the phantom."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from tl_jax.data import figures

FILE = Path(figures.__file__)


@pytest.fixture(autouse=True)
def _few_at_a_time(monkeypatch):
    """Pictures do not know of the chunk they are drawn in, and a small one takes less."""
    monkeypatch.setattr(figures, "_CHUNK", 8)
    figures._chunk.cache_clear()
    yield
    figures._chunk.cache_clear()  # nobody else is to find small ones


def table(n: int = 300, seed: int = 0):
    return figures.source(SimpleNamespace(name=str(n), split_seed=seed))


def test_a_picture_is_a_pure_function_of_its_number() -> None:
    first, longer, other = table(24), table(40), table(24, seed=1)
    for i in (0, 7, 19):
        assert np.array_equal(first.read(i, None), longer.read(i, None))
        assert first.labels[i] == longer.labels[i]
    assert not np.array_equal(first.read(3, None), other.read(3, None))


@pytest.mark.slow
def test_pictures_are_gray_bytes_and_all_different() -> None:
    pictures = [table().read(i, None) for i in range(300)]
    assert all(picture.shape == (96, 96, 1) and picture.dtype == np.uint8 for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == 300


def test_splits_are_ninety_five_five() -> None:
    names, counts = np.unique(table(1000).splits, return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {"test": 50, "train": 900, "val": 50}


def test_every_class_is_there() -> None:
    assert len(set(table(2000).labels.tolist())) == len(figures.TEXTURES) * len(figures.FIGURES)


@pytest.mark.parametrize("kind", range(1, len(figures.FIGURES)))
def test_a_figure_covers_some_of_the_picture(kind: int) -> None:
    masks = jax.vmap(lambda key: figures._figure(key, kind))(jax.random.split(jax.random.key(0), 16))
    covered = np.asarray(masks).mean((1, 2))
    assert 0.02 < np.median(covered) < 0.5
    assert float(np.abs(figures._figure(jax.random.key(0), 0)).max()) == 0.0


def test_it_says_that_the_pictures_are_drawn() -> None:
    assert "drawn" in table().caveat


def test_it_shares_no_code_with_the_phantom() -> None:
    """Else the demonstration of transfer would be circular."""
    tree = ast.parse(FILE.read_text(encoding="utf-8"))
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert not any("phantom" in name for name in imported)
    phantom = FILE.parent / "phantom"
    assert not any("figures" in path.read_text(encoding="utf-8") for path in phantom.glob("*.py"))
