"""What is kept of a frozen prefix on disk: found again with the same bits, never stale, never half."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tl_jax
from tests import tiny
from tests.test_prefix import config
from tl_jax import compilation, kept, prefix, prefix_pass, sharding
from tl_jax.config import complete
from tl_jax.data import Rows, augment, order
from tl_jax.data.feed import Feed
from tl_jax.job import prepare

AUGMENT = dict(rotate=5.0, brightness=0.1)
HEAD = dict(name="head", train="head")
LAST = dict(name="last", train="last 1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.make_folder(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def ran(monkeypatch):
    """The passes over pictures that were really made, by the name of their split."""
    found = []
    fill = prefix_pass.Pass.fill

    def counting(self, values, say):
        found.append(self.name)
        fill(self, values, say)

    monkeypatch.setattr(prefix_pass.Pass, "fill", counting)
    return found


def job(folder, where, *stages, network="resnet", data=None, **changes):
    settings = config(folder, *(stages or (LAST,)), network=network, **changes)
    settings["cache"] = dict(prefix="on", dir=str(where)) | changes.get("cache", {})
    settings["data"] = {**settings["data"], **(data or {})}
    return prepare(complete(settings), lambda line: None)


def serve(work, number=0, params=None, lines=None):
    """(train, val) arrays; what was said goes into ``lines``."""
    cut = prefix.cut(work, number)
    assert cut.start is not None, cut.why
    mesh = work.mesh
    params = sharding.replicate(params or work.base_params, mesh)
    say = (lambda line: None) if lines is None else lines.append
    stats = sharding.replicate(work.base_stats, mesh)
    found = kept.Kept(work, say).serve(number, cut, params, stats)
    return found and tuple(split.images for split in found)


def same(one, other):
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def entries(cache: Path) -> list[Path]:
    return sorted(cache.iterdir())


@pytest.mark.parametrize(
    "changes", [{}, dict(augment=AUGMENT, cache=dict(views=2)), dict(precision="bfloat16")]
)
def test_a_second_run_finds_the_same_bits(changes, folder, tmp_path, ran):
    lines: list[str] = []
    first = serve(job(folder, tmp_path / "a", **changes), lines=lines)
    assert ran == ["val", "train"]
    assert "are kept in" in lines[-1]
    second = serve(job(folder, tmp_path / "a", **changes), lines=lines)
    assert ran == ["val", "train"]
    assert "is read from" in lines[-1]
    assert same(first, second)
    assert same(first, serve(job(folder, tmp_path / "b", **changes)))
    assert (tmp_path / "a").stat().st_mode & 0o077 == 0


def test_beyond_the_memorys_budget_it_stays_in_its_file(folder, tmp_path, ran):
    in_memory = serve(job(folder, tmp_path / "a"))
    on_disk = [serve(job(folder, tmp_path / "b", data=dict(host_budget=10_000))) for _ in range(2)]
    assert ran == ["val", "train"] * 2
    for found in on_disk:
        assert all(isinstance(rows, Rows) and isinstance(rows.array, np.memmap) for rows in found)
        assert same(in_memory, [rows[:] for rows in found])
    shutil.rmtree(tmp_path / "b")
    assert same(in_memory, [rows[:] for rows in on_disk[1]]), "an entry may be deleted while it is used"


ANOTHER = {
    "weights": dict(seed=1),
    "precision": dict(precision="bfloat16"),
    "dtype": dict(cache=dict(dtype="bfloat16")),
    "cut": dict(stages=[HEAD]),
    "statistics of pictures": dict(preprocess=dict(mean=(0.4,))),
    "fit": dict(data=dict(fit="pad")),
    "size": dict(data=dict(image_size=24)),
    "pictures": dict(data=dict(train_fraction=0.5)),
    "views": dict(augment=AUGMENT, cache=dict(views=1)),
    "more views": dict(augment=AUGMENT, cache=dict(views=2)),
    "augmentation": dict(augment=dict(rotate=6.0, brightness=0.1), cache=dict(views=1)),
    "network": dict(network="vit"),
    "batch": dict(evaluation=dict(batch_size=8, bootstrap=50)),
    "devices": dict(mesh=dict(data=2)),
}


@pytest.mark.slow
def test_whatever_decides_the_values_makes_another_entry(folder, tmp_path, ran):
    """Of train at least; and nothing that has been kept before is found in its place."""
    serve(job(folder, tmp_path))
    for name, changes in ANOTHER.items():
        ran.clear()
        changes = dict(changes)
        serve(job(folder, tmp_path, *changes.pop("stages", ()), **changes))
        assert "train" in ran, name
        ran.clear()
    # The head, its rate and how long it trains decide nothing.
    other = dict(LAST, lr=1e-4, weight_decay=0.1, duration="5 epochs")
    settings = config(folder, LAST)
    settings["stages"] = [other]
    settings["cache"] = dict(prefix="on", dir=str(tmp_path))
    work = prepare(complete(settings), lambda line: None)
    head = {path: leaf + 1 for path, leaf in work.base_params.items() if path.startswith("head/")}
    serve(work, params={**work.base_params, **head})
    assert ran == []


def test_weights_that_an_earlier_stage_has_moved_make_another_entry(folder, tmp_path, ran):
    work = job(folder, tmp_path)
    first = serve(work)
    path = next(path for path in work.base_params if path.startswith("stem/"))
    moved = {**work.base_params, path: np.nextafter(work.base_params[path], np.float32(1))}
    assert not same(first, serve(work, params=moved))
    assert ran == ["val", "train"] * 2


def test_another_order_of_the_same_pictures_makes_another_entry(folder, tmp_path):
    work = job(folder, tmp_path)
    cut = prefix.cut(work, 0)
    before = prefix_pass.Pass(work, 0, cut, work.base_params, work.base_stats, "train")
    digest = before.digest()
    assert digest == before.digest()
    before.pictures.ids[:2] = before.pictures.ids[1::-1]
    assert digest != before.digest()


def truncate(entry: Path) -> None:
    os.truncate(entry / "values.bin", 100)


def flip_a_bit(entry: Path) -> None:
    values = np.memmap(entry / "values.bin", np.uint8, "r+")
    values[77] ^= 1
    values.flush()


def no_sums(entry: Path) -> None:
    (entry / "sums.npy").unlink()


def wrong_sums(entry: Path) -> None:
    (entry / "sums.npy").write_bytes(b"PK\x03\x04 no array")


def a_file(entry: Path) -> None:
    shutil.rmtree(entry)
    entry.write_text("no folder")


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, no_sums, wrong_sums, a_file])
def test_a_damaged_entry_is_made_again(damage, folder, tmp_path, ran, caplog):
    first = serve(job(folder, tmp_path))
    for entry in entries(tmp_path):
        damage(entry)
    assert same(first, serve(job(folder, tmp_path)))
    assert ran == ["val", "train"] * 2
    if damage is not a_file:
        assert caplog.text.count("it is made again") == 2
        assert same(first, serve(job(folder, tmp_path)))
        assert ran == ["val", "train"] * 2


def test_a_run_that_is_killed_leaves_nothing_to_be_read(folder, tmp_path, monkeypatch):
    def pulled(self, values, say):
        values[: len(values) // 2] = 1
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prefix_pass.Pass, "fill", pulled)
        with pytest.raises(KeyboardInterrupt):
            serve(job(folder, tmp_path))
    assert entries(tmp_path) == []
    # Of one that could not even tidy up:
    (tmp_path / ".prefix-killed").mkdir()
    os.utime(tmp_path / ".prefix-killed", (0, 0))
    assert same(serve(job(folder, tmp_path)), serve(job(folder, tmp_path / "other")))
    assert not (tmp_path / ".prefix-killed").exists()


def full(*_args):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_done_without(folder, tmp_path, monkeypatch, caplog, ran):
    first = serve(job(folder, tmp_path / "good"))
    small = job(folder, tmp_path / "full", data=dict(host_budget=10_000))
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    assert same(first, serve(job(folder, tmp_path / "full")))
    assert "No space left" in caplog.text
    assert entries(tmp_path / "full") == []
    # What had to lie on disk is not kept then; the stage runs its prefix at every step.
    assert serve(small) is None
    assert "runs at every step instead" in caplog.text


def test_a_folder_that_cannot_be_written_is_done_without(folder, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    work = job(folder, tmp_path / "file" / "cache")
    assert same(serve(work), serve(job(folder, tmp_path / "good")))
    assert "is not kept on disk" in caplog.text
    with pytest.raises(ValueError, match="cannot be written"):
        prefix.cut(job(folder, tmp_path / "file" / "cache", data=dict(host_budget=10_000)), 0)


def test_a_rename_that_fails_costs_a_warning(folder, tmp_path, monkeypatch, caplog):
    first = serve(job(folder, tmp_path / "good"))
    monkeypatch.setattr(os, "replace", full)
    assert same(first, serve(job(folder, tmp_path / "bad")))
    assert "is not kept on disk" in caplog.text


def test_two_runs_at_the_same_time_agree(folder, tmp_path, monkeypatch):
    """The second finds both entries there when it has computed its own."""
    inner = []
    fill = prefix_pass.Pass.fill

    def meanwhile(self, values, say):
        if not inner:
            inner.append(None)
            inner[0] = serve(job(folder, tmp_path))
        fill(self, values, say)

    monkeypatch.setattr(prefix_pass.Pass, "fill", meanwhile)
    outer = serve(job(folder, tmp_path))
    assert same(outer, inner[0])
    assert len(entries(tmp_path)) == 2


def test_the_folder_keeps_its_budget_and_nothing_else_is_deleted(folder, tmp_path, ran):
    one = serve(job(folder, tmp_path / "size"))
    size = sum(array.nbytes for array in one)
    cache = tmp_path / "cache"
    (cache / "prefix-mine").mkdir(parents=True)
    (cache / "thesis.txt").write_text("years of work")
    budget = int(2.5 * size) + 2_000
    ran.clear()
    for seed in (0, 1, 0, 2, 0):  # there is room for two: 1, unused for longest, makes way for 2
        serve(job(folder, cache, seed=seed, cache=dict(disk_budget=budget)))
    assert ran == ["val", "train"] * 3
    left = {path.name for path in entries(cache)}
    assert {"prefix-mine", "thesis.txt"} <= left
    assert len(left) == 2 + 4
    assert sum(file.stat().st_size for file in cache.glob("prefix-*/*")) <= budget


@pytest.mark.parametrize("cache", [dict(dir=""), dict(disk_budget=1000)])
def test_it_may_be_kept_in_memory_alone(cache, folder, tmp_path, ran):
    for _ in range(2):
        work = job(folder, tmp_path, cache=cache)
        serve(work)
    assert ran == ["val", "train"] * 2
    assert entries(tmp_path) == []


def test_progress_is_said(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(prefix_pass, "SECONDS", 0.0)
    lines: list[str] = []
    serve(job(folder, tmp_path), lines=lines)
    assert any(line.startswith("stage 'last': the frozen prefix ran on 12 of 24, ") for line in lines)


@pytest.mark.parametrize(
    ("most", "multiple", "counts", "expected"),
    [
        (64, 1, (600, 120), 60),  # none is padding
        (64, 1, (7,), 7),
        (64, 1, (128, 64), 64),
        (64, 1, (65,), 33),
        (64, 8, (65,), 40),
        (4, 8, (65, 3), 8),
        (1, 1, (5, 2), 1),
    ],
)
def test_batches_have_as_many_rows_as_leave_few_empty(most, multiple, counts, expected):
    assert prefix_pass.rows(most, multiple, *counts) == expected


def test_both_splits_share_a_program(folder, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(compilation, "compiled", lambda one: compiled.append(one) or one.compile())
    serve(job(folder, tmp_path))
    assert len(compiled) == 1
    serve(job(folder, tmp_path, augment=AUGMENT, cache=dict(views=2)))
    assert len(compiled) == 3


def test_the_test_split_is_kept_too(folder, tmp_path, ran):
    """By a run's end, with the program of the other splits; and it is read by the next run."""
    config = tiny.config(
        folder, stages=[LAST], augment={}, cache=dict(prefix="on", dir=str(tmp_path / "cache"))
    )
    first = tl_jax.run(config, tmp_path / "one", quiet=True)
    assert ran == ["val", "train", "test"]
    again = tl_jax.run(config, tmp_path / "two", quiet=True)
    assert ran == ["val", "train", "test"]
    off = tl_jax.run({**config, "cache": dict(prefix="off")}, tmp_path / "three", quiet=True)
    assert first["test"] == again["test"]
    for name in ("nll", "auroc"):
        assert first["test"][name]["value"] == pytest.approx(off["test"][name]["value"], abs=1e-5)


def test_a_test_split_over_the_budget_runs_through_the_whole_network(folder, tmp_path):
    work = job(folder, tmp_path)
    served, cut = kept.Kept(work, lambda line: None), prefix.cut(work, 0)
    assert served.test(0, cut, work.base_params, work.base_stats) is not None
    work.config.data.host_budget = 100
    assert served.test(0, cut, work.base_params, work.base_stats) is None


def test_auto_is_the_users_cache(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    serve(job(folder, "auto"))
    assert len(entries(tmp_path / "tl_jax" / "prefix")) == 2


@pytest.mark.parametrize("network", ["resnet", pytest.param("vit", marks=pytest.mark.slow)])
def test_views_are_what_the_pictures_augmented_alone_give(network, folder, tmp_path):
    """View v of picture i is a function of (seed, stage, v, i), whatever the batch that computed it."""
    changes = dict(augment=AUGMENT, network=network)
    stages = (dict(LAST, name="first"), LAST)
    work = job(folder, tmp_path, *stages, cache=dict(views=3), **changes)
    train, val = serve(work, 1)
    n = len(work.data.train)
    assert len(train) == 3 * n
    assert len(val) == len(work.data.val)
    other = job(
        folder, tmp_path, *stages, cache=dict(views=1),
        evaluation=dict(batch_size=5, bootstrap=50), **changes,
    )  # fmt: skip
    np.testing.assert_allclose(serve(other, 1)[0], train[:n], rtol=1e-5, atol=1e-5)
    # Each by itself.
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), prefix_pass.VIEWS), 1)
    start = prefix.cut(work, 1).start
    run = jax.jit(prefix.function(work, start))
    for view, i in ((0, 0), (2, 5), (1, n - 1)):
        images = jnp.asarray(work.data.train.images[i : i + 1])
        alone = run(work.base_params, work.base_stats, images, jax.random.fold_in(key, view), i)
        np.testing.assert_allclose(train[view * n + i], alone[0], rtol=1e-5, atol=1e-5)
    views = train.reshape(3, n, -1)
    assert all(len(np.unique(views[:, i], axis=0)) == 3 for i in range(n))
    # Another stage and another seed have other views of the same pictures, though the weights are the same.
    reseeded = job(folder, tmp_path, *stages, cache=dict(views=3), seed=1, **changes)
    for drawn, drawn_val in (serve(work, 0), serve(reseeded, 1, params=work.base_params)):
        assert not np.array_equal(train, drawn)
        assert np.array_equal(val, drawn_val)


def test_a_views_key_decides_the_picture_and_the_batch_does_not():
    images = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 1), np.uint8)
    settings = {**complete(dict(data=dict(root="x"), model=dict(pretrained="x"), stages=[{}])).augment}
    settings |= dict(scale=(0.5, 1.0), flip=True, rotate=20.0, brightness=0.2, erase=0.5)
    keys, wall = jax.random.split(jax.random.key(1), 4), jax.random.key(2)
    run = jax.jit(lambda images, keys: augment.augment_each(images, keys, wall, settings, size=8))
    whole = run(images, keys)
    for i in range(4):
        alone = run(images[i : i + 1], keys[i : i + 1])
        np.testing.assert_allclose(alone[0], whole[i], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("budget", [10**6, 0], ids=["resident", "streamed"])
def test_with_as_many_views_as_epochs_each_is_seen_once(budget, folder, tmp_path):
    """And every batch holds the pictures that the same batch holds without views."""
    views, batch_size = 3, 8
    work = job(folder, tmp_path, augment=AUGMENT, cache=dict(views=views))
    cut = prefix.cut(work, 0)
    train, _ = kept.Kept(work, lambda line: None).serve(0, cut, work.base_params, work.base_stats)
    numbered = np.arange(len(train), dtype=np.int32)
    n = len(work.data.train)
    split = type(train)(train.ids, train.labels, train.groups, numbered[:, None])
    feed = Feed(
        split, batch_size=batch_size, seed=0, device_budget=budget, sharding=sharding.batched(work.mesh),
        views=views,
    )  # fmt: skip
    seen = []
    try:
        for step in range(2 * views * n // batch_size):
            store, index = feed.batch(step)
            rows = np.asarray(store["image"])[:, 0]
            labels = np.asarray(store["label"])
            if index is not None:
                rows, labels = rows[index], labels[index]
            plain = order.indices(0, step, batch_size, n)
            assert np.array_equal(rows % n, plain)
            assert np.array_equal(labels, work.data.train.labels[plain])
            seen += rows.tolist()
    finally:
        feed.close()
    half = views * n
    assert sorted(seen[:half]) == sorted(seen[half:]) == list(range(half))
    assert {row // n for row in seen[n : 2 * n]} == {1}


def test_half_the_bytes_in_bfloat16(folder, tmp_path):
    full_, half = (
        serve(job(folder, tmp_path, network="vit", cache=dict(dtype=dtype)))
        for dtype in ("float32", "bfloat16")
    )
    for one, other in zip(full_, half, strict=True):
        assert other.nbytes * 2 == one.nbytes
        # Eight bits of mantissa: rounded by at most one part in 256.
        np.testing.assert_allclose(other.astype(np.float32), one, rtol=2**-8, atol=1e-30)
