"""The store of decoded pictures: what is cached is found, what is stale or damaged is not."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.data.tables import colour, gray, table
from tl_jax.data import decode, decoder, store
from tl_jax.data.decoder import Pictures
from tl_jax.data.sources.errors import SourceError
from tl_jax.data.table import Table

LABELS = ["a"] * 6


def load(rows: Table, cache: Path | str = "", sizes=(4, 6), **changes) -> Pictures:
    options = dict(fit="squash", resample="bilinear", gray=False, workers=2, host_budget=10**9)
    options |= dict(max_pixels=10**6, at_least=12)
    return store.load(rows, sizes, cache=str(cache), **(options | changes))


def reads(rows: Table) -> list[int]:
    return rows.read.__self__.rows_read


def entry(cache: Path) -> Path:
    (found,) = cache.iterdir()
    return found


@pytest.mark.parametrize("cached", [False, True])
def test_each_size_is_resized_once_from_the_original(tmp_path, cached):
    rows = table(LABELS)
    found = load(rows, tmp_path if cached else "")
    assert found.channels == 1
    for array, size in zip(found.arrays, (4, 6), strict=True):
        assert array.shape == (6, size, size, 1)
        assert isinstance(array, np.memmap) == cached
        for i in range(6):
            assert np.array_equal(array[i], decode.resize(gray(i), size))
    assert found.bad == {}


def test_a_second_load_decodes_nothing(tmp_path):
    first = load(table(LABELS), tmp_path)
    again = table(LABELS)
    second = load(again, tmp_path)
    assert reads(again) == []
    assert all(np.array_equal(a, b) for a, b in zip(first.arrays, second.arrays, strict=True))
    assert np.array_equal(first.digests, second.digests)


@pytest.mark.parametrize(
    "change",
    [
        dict(sizes=(4, 5)),
        dict(fit="pad"),
        dict(resample="bicubic"),
        dict(gray=True),
        dict(at_least=24),
        dict(max_pixels=10**5),
        dict(pictures=[gray(99), *map(gray, range(1, 6))]),
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_changes_the_pixels_makes_another_entry(tmp_path, change):
    load(table(LABELS), tmp_path)
    rows = table(LABELS, pictures=change.pop("pictures", ()))
    load(rows, tmp_path, **change)
    assert len(set(reads(rows))) == 6
    assert len(list(tmp_path.iterdir())) == 2


def test_rows_in_another_order_are_not_mixed_up(tmp_path):
    load(table(LABELS), tmp_path)
    turned = table(LABELS, pictures=[gray(i) for i in range(5, -1, -1)])
    assert np.array_equal(load(turned, tmp_path).arrays[1][0], decode.resize(gray(5), 6))


def truncate(name: str, length: int):
    def damage(folder: Path) -> None:
        os.truncate(folder / name, length)

    return damage


def swap(folder: Path) -> None:
    np.save(folder / "6.npy", np.zeros((5, 6, 6, 1), np.uint8))


def flip_a_bit(folder: Path) -> None:
    array = np.load(folder / "6.npy", mmap_mode="r+")
    array[4, 5, 5, 0] ^= 1


def no_dict(folder: Path) -> None:
    (folder / "facts.json").write_text("[]")


@pytest.mark.parametrize(
    "damage",
    [
        truncate("4.npy", 200),
        truncate("6.npy", 0),
        truncate("facts.json", 3),
        truncate("digests.npy", 0),
        lambda folder: (folder / "6.npy").unlink(),
        lambda folder: (folder / "facts.json").unlink(),
        lambda folder: (folder / "4.npy").write_bytes(b"PK\x03\x04 no array"),
        swap,
        no_dict,
        flip_a_bit,
    ],
)
def test_a_damaged_entry_is_made_again(tmp_path, caplog, damage):
    first = load(table(LABELS), tmp_path)
    kept = [np.array(array) for array in first.arrays]
    del first
    damage(entry(tmp_path))
    rows = table(LABELS)
    found = load(rows, tmp_path)
    assert len(reads(rows)) >= 6
    assert "made again" in caplog.text
    assert all(np.array_equal(a, b) for a, b in zip(found.arrays, kept, strict=True))
    third = table(LABELS)
    load(third, tmp_path)
    assert reads(third) == []


def test_an_interrupted_load_leaves_nothing(tmp_path):
    rows = table(LABELS)

    def read(i, at_least):
        if i == 4:
            raise RuntimeError("pulled the plug")
        return gray(i)

    with pytest.raises(RuntimeError, match="plug"):
        load(Table(**{**rows.__dict__, "read": read}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_swept_away(tmp_path):
    old, young = tmp_path / ".pictures-old", tmp_path / ".pictures-young"
    old.mkdir()
    young.mkdir()
    os.utime(old, (0, 0))
    load(table(LABELS), tmp_path)
    assert not old.exists()
    assert young.exists()


def test_a_cache_that_cannot_be_made_is_done_without(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    found = load(table(LABELS), tmp_path / "file" / "cache")
    assert "not cached" in caplog.text
    assert np.array_equal(found.arrays[0][3], decode.resize(gray(3), 4))


def test_a_read_only_cache_is_still_read(tmp_path, monkeypatch):
    load(table(LABELS), tmp_path)

    def refuse(*_args, **_options):
        raise PermissionError(errno.EACCES, "read-only")

    monkeypatch.setattr(store.tempfile, "mkdtemp", refuse)  # root may write whatever the modes say
    rows = table(LABELS)
    load(rows, tmp_path)
    assert reads(rows) == []


def test_a_full_disk_is_done_without_or_said(tmp_path, monkeypatch, caplog):
    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    found = load(table(LABELS), tmp_path / "cache")
    assert "No space left" in caplog.text
    assert np.array_equal(found.arrays[1][0], decode.resize(gray(0), 6))
    assert list((tmp_path / "cache").iterdir()) == []
    with pytest.raises(SourceError, match=r"no room for 6 decoded pictures.*data\.cache"):
        load(table(LABELS), tmp_path / "cache", host_budget=10)


def test_without_a_cache_what_exceeds_memory_goes_to_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(store.tempfile, "tempdir", str(tmp_path))
    found = load(table(LABELS), "", host_budget=10)
    assert isinstance(found.arrays[0], np.memmap)
    assert np.array_equal(found.arrays[1][5], decode.resize(gray(5), 6))
    assert list(tmp_path.iterdir()) == []


def test_auto_is_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    load(table(LABELS), "auto")
    folder = entry(tmp_path / "tl_jax" / "pictures")
    assert (tmp_path / "tl_jax" / "pictures").stat().st_mode & 0o077 == 0
    assert {file.name for file in folder.iterdir()} == {
        "4.npy",
        "6.npy",
        "digests.npy",
        "sums.npy",
        "facts.json",
    }


def test_gray_kept_as_three_channels_is_gray(tmp_path):
    rows = table(LABELS, pictures=[np.repeat(gray(i), 3, axis=2) for i in range(6)])
    assert load(rows).channels == 1


def test_a_colour_picture_found_late_makes_all_colour(tmp_path):
    pictures = [gray(i) for i in range(40)]
    pictures[3] = colour(3)  # not among the sixteen looked at first
    sampled = np.unique(np.linspace(0, 39, 16).astype(int))
    assert 3 not in sampled
    rows = table(["a"] * 40, pictures=pictures)
    found = load(rows, tmp_path)
    assert found.channels == 3
    assert np.array_equal(found.arrays[0][3], decode.resize(colour(3), 4))
    assert np.array_equal(found.arrays[0][4], np.repeat(decode.resize(gray(4), 4), 3, axis=2))
    assert len(list(tmp_path.iterdir())) == 1


def test_gray_asked_for_makes_colour_gray():
    found = load(table(LABELS, pictures=[colour(i) for i in range(6)]), gray=True)
    assert found.channels == 1
    assert np.array_equal(found.arrays[0][2], decode.resize(decode.to_channels(colour(2), 1), 4))


def test_bad_pictures_are_listed_and_remembered(tmp_path):
    pictures = [gray(0), None, gray(2), None, gray(4), gray(5)]
    first = load(table(LABELS, pictures=pictures), tmp_path)
    rows = table(LABELS, pictures=pictures)
    second = load(rows, tmp_path)
    assert first.bad == second.bad == {1: "picture 1: broken", 3: "picture 3: broken"}
    assert reads(rows) == [1, 3]  # whether it can be read by now
    assert not second.arrays[0][1].any()
    assert second.digests[1] == ""


def test_a_picture_that_can_be_read_by_now_is(tmp_path, caplog):
    rows = table(LABELS)
    absent = table(LABELS, pictures=[None, *map(gray, range(1, 6))])
    same_stamp = Table(**{**rows.__dict__, "read": absent.read})
    assert 0 in load(same_stamp, tmp_path).bad
    assert load(rows, tmp_path).bad == {}
    assert "can be now" in caplog.text


def test_digests_tell_pictures_apart_before_resizing():
    one = np.zeros((8, 8, 1), np.uint8)
    other = one.copy()
    other[0, 0] = 1  # lost in resizing
    wide, tall = np.zeros((4, 16, 1), np.uint8), np.zeros((16, 4, 1), np.uint8)
    found = load(table(LABELS, pictures=[one, other, one.copy(), wide, tall, gray(1)]))
    assert np.array_equal(found.arrays[0][0], found.arrays[0][1])
    assert found.digests[0] == found.digests[2]
    assert len(set(found.digests.tolist())) == 5


def test_large_entries_are_not_verified(tmp_path):
    load(table(LABELS), tmp_path)
    flip_a_bit(entry(tmp_path))
    rows = table(LABELS)
    load(rows, tmp_path, host_budget=10)
    assert reads(rows) == []


def test_progress_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(decoder, "SECONDS", 0.0)
    lines: list[str] = []
    load(table(["a"] * 100), tmp_path, say=lines.append)
    assert any(line.startswith("decoded 16 of 100 pictures, ") for line in lines)
    assert str(entry(tmp_path)) in lines[-1]
    lines.clear()
    load(table(["a"] * 100), tmp_path, say=lines.append)
    assert lines == []


def test_two_writers_of_one_entry_agree(tmp_path):
    """The second finds the entry there when it has finished its own."""
    rows, inner = table(LABELS), []

    def read(i, at_least):
        if not inner:
            inner.append(load(table(LABELS), tmp_path))
        return gray(i)

    found = load(Table(**{**rows.__dict__, "read": read}), tmp_path, workers=1)
    assert all(np.array_equal(a, b) for a, b in zip(found.arrays, inner[0].arrays, strict=True))
    assert json.loads((entry(tmp_path) / "facts.json").read_text()) == {"bad": {}}


def test_the_entry_may_be_deleted_while_it_is_used(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    found = load(table(LABELS), tmp_path)
    shutil.rmtree(entry(tmp_path))
    assert np.array_equal(found.arrays[0][3], decode.resize(gray(3), 4))
