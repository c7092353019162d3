"""Folders of entries under keys: which are deleted for a new one, and that nothing else is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tl_jax import cache_folder


def make(folder: Path, letter: str, size: int, age: int) -> Path:
    found = cache_folder.entry(folder, "kind", letter * 32)
    found.mkdir(parents=True)
    (found / "values").write_bytes(b"x" * size)
    os.utime(found, (10**9 - age, 10**9 - age))
    return found


def names(folder: Path) -> set[str]:
    return {path.name[-1] for path in folder.iterdir()}


def test_what_was_unused_for_longest_makes_way(tmp_path):
    a, _, _ = (make(tmp_path, letter, 100, age) for letter, age in (("a", 3), ("b", 2), ("c", 1)))
    assert cache_folder.holds(tmp_path, "kind") == 300
    cache_folder.make_room(tmp_path, "kind", 100, 400)
    assert names(tmp_path) == set("abc")
    cache_folder.mark_used(a)
    cache_folder.make_room(tmp_path, "kind", 101, 400)
    assert names(tmp_path) == set("ac")
    cache_folder.make_room(tmp_path, "kind", 400, 400)
    assert names(tmp_path) == set()


def test_a_full_disk_is_emptied_of_entries(tmp_path, monkeypatch):
    for letter, age in (("a", 3), ("b", 2)):
        make(tmp_path, letter, 100, age)
    free = iter((50, 150))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=next(free)))
    cache_folder.make_room(tmp_path, "kind", 120, 10**9)
    assert names(tmp_path) == {"b"}


def test_nothing_else_is_counted_or_deleted(tmp_path):
    for name in ("other-" + "a" * 32, "kind-mine", "kind-" + "A" * 32, "holidays", ".kind-half"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"x" * 1000)
    assert cache_folder.holds(tmp_path, "kind") == 0
    cache_folder.make_room(tmp_path, "kind", 10**6, 1)
    assert len(list(tmp_path.iterdir())) == 5


def test_what_is_written_aside_is_gone_or_published(tmp_path):
    with cache_folder.aside(tmp_path / "new", "kind") as scratch:
        (scratch / "values").write_bytes(b"half")
    assert list((tmp_path / "new").iterdir()) == []
    for content in (b"first", b"second"):
        with cache_folder.aside(tmp_path, "kind") as scratch:
            (scratch / "values").write_bytes(content)
            cache_folder.publish(scratch, tmp_path / "entry")
        assert (tmp_path / "entry" / "values").read_bytes() == content
    assert names(tmp_path) == {"w", "y"}  # new, entry


def test_room_is_taken_at_once(tmp_path):
    cache_folder.reserve(tmp_path / "values", 12_345)
    assert (tmp_path / "values").stat().st_size == 12_345
    with pytest.raises(OSError):
        cache_folder.reserve(tmp_path / "more", 2**60)


def test_where_a_setting_points(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder.locate("auto", "kind") == tmp_path / "tl_jax" / "kind"
    assert cache_folder.locate("", "kind") is None
    assert cache_folder.locate("~/kept", "kind") == Path("/home/me/kept")
