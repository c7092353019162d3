"""One block group after the other on shifted targets, as a command."""

from __future__ import annotations

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import surgical
from tests import tiny
from tests.commands import pictures
from tl_jax.backbones.anatomy import part_of, split
from tl_jax.completion import ConfigError
from tl_jax.finished import open_run
from tl_jax.lab import runner
from tl_jax.lab.surgical import choose

STAGES = [dict(name="upper", train="last 2", duration="4 steps", lr=1e-3, layer_decay=0.5)]
PARTS = {
    "first": {"stem", "blocks/0", "blocks/1"},
    "head": {"head"},
    "all": {"stem", "blocks/0", "blocks/1", "blocks/2", "blocks/3", "neck", "head"},
}
FLAGS = ("--seeds=1", "--groups=first,head", "--targets=corrupted,flipped", "--lrs=1e-2", "--severity=4")


def write(tmp_path_factory, **changes):
    folder = tiny.make_folder(tmp_path_factory.mktemp("pictures"))
    found = tiny.config(folder, stages=STAGES, model=dict(arch=tiny.VIT), augment={}, **changes)
    return pictures.write_config(tmp_path_factory.mktemp("config") / "small.py", found)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write(tmp_path_factory)


def command(config, root, *flags):
    return surgical.main(["surgical", f"--config={config}", f"--workdir={root}", *flags])


@pytest.fixture(scope="module")
def done(config, tmp_path_factory):
    root = tmp_path_factory.mktemp("surgical")
    assert command(config, root, *FLAGS, "--fraction=0.5", "--duration=3 steps") == 0
    return root


def weights(workdir):
    _, params, stats = split(open_run(workdir).model)
    return jax.device_get({**params, **stats})


@pytest.mark.slow
@pytest.mark.parametrize("group", PARTS)
@pytest.mark.parametrize("target", ["contrast+noise-4", "flipped"])
def test_what_is_frozen_is_the_source_to_the_bit(done, target, group):
    """The head too: it is not made anew."""
    before, after = (
        weights(done / "source" / "seed-0"),
        weights(done / f"{target}-{group}-lr-0.01" / "seed-0"),
    )
    moved = {part_of(path) for path in before if not np.array_equal(before[path], after[path])}
    assert moved == PARTS[group]


@pytest.mark.slow
def test_the_targets_are_what_they_say(done):
    """A share of the same patients, other pictures or other labels; and the network of the source."""
    source, noisy, flipped = (
        open_run(done / name / "seed-0")
        for name in ("source", "contrast+noise-4-all-lr-0.01", "flipped-all-lr-0.01")
    )
    own, corrupted, moved = (run.data() for run in (source, noisy, flipped))
    assert len(corrupted.train) == len(own.train) // 2
    assert set(corrupted.train.ids) < set(own.train.ids)
    assert corrupted.test.ids.tolist() == own.test.ids.tolist()
    assert (corrupted.test.images != own.test.images).any()
    assert (moved.test.labels == 1 - own.test.labels).all()
    assert moved.classes == own.classes
    assert noisy.config.model.pretrained == str((done / "source" / "seed-0").resolve())
    (stage,) = noisy.config.stages
    assert (stage.duration, stage.layer_decay, stage.name) == ("3 steps", 1.0, "upper")
    assert "label" in flipped.result["data"]["caveat"]


@pytest.mark.slow
def test_what_is_told(done):
    found = json.loads((done / "surgical.json").read_text())
    (rows,) = found["tables"]
    assert [(row["target"], row["trains"]) for row in rows] == [
        (target, arm)
        for target in ("contrast+noise-4", "flipped")
        for arm in ("none", "first", "head", "all")
    ]
    for row in rows:
        if row["trains"] == "none":
            assert (row["lr"], row["trained"]) == (None, 0)
            continue
        result = done / f"{row['target']}-{row['trains']}-lr-0.01" / "seed-0" / "result.json"
        own = json.loads(result.read_text())
        assert row["lr"] == 0.01
        assert row["validation"] == own["best"]["value"]
        assert row["auroc"]["value"] == pytest.approx(own["test"]["auroc"]["value"])
    by = {(row["target"], row["trains"]): row for row in rows}
    source = json.loads((done / "source" / "seed-0" / "result.json").read_text())["test"]
    before = by["flipped", "none"]
    assert before["accuracy"]["value"] == pytest.approx(1 - source["accuracy"]["value"])
    assert before["less_all"]["value"] == pytest.approx(
        before["auroc"]["value"] - by["flipped", "all"]["auroc"]["value"]
    )
    assert (
        "Published: lower layers where the input is shifted. On contrast+noise-4, first is"
        in found["verdict"]
    )
    assert "On flipped, head is ahead of first by" in found["verdict"]
    with Image.open(done / "surgical.png") as picture:
        assert picture.width > 600


@pytest.mark.slow
def test_the_same_command_again_runs_nothing(done, config, capsys):
    assert command(config, done, *FLAGS, "--fraction=0.5", "--duration=3 steps") == 0
    printed = capsys.readouterr().out
    assert "1 of 1 runs are finished already" in printed
    assert "6 of 6 runs are finished already" in printed
    assert len((done / "runs.jsonl").read_text().splitlines()) == 7


def test_validation_chooses_the_rate():
    """By its mean over seeds; the test split has no say."""

    def record(lr, seed, value):
        best, facts = {"value": value}, {"group": "first", "lr": lr}
        return {"facts": facts, "seed": seed, "best": best, "trained": 9, "seconds": {"start": 1.0}}

    values = {1e-4: (0.5, 0.4), 1e-3: (0.1, 0.6), 1e-2: (0.3, 0.5)}
    records = [record(lr, seed, pair[seed]) for seed in (1, 0) for lr, pair in values.items()]
    runs, choice = choose(records, "first", "nll")
    assert (choice.lr, choice.validation, choice.at_edge) == (1e-3, pytest.approx(0.35), False)
    assert [run["seed"] for run in runs] == [0, 1]
    _, choice = choose(records, "first", "auroc")
    assert (choice.lr, choice.at_edge) == (1e-4, True)


@pytest.mark.slow
def test_a_source_that_fails_is_told_and_its_targets_wait(done, config, tmp_path, monkeypatch, capsys):
    root = tmp_path / "copy"
    shutil.copytree(done / "source", root / "source")
    shutil.copy(done / "runs.jsonl", root)
    ran = []

    def second_seed_fails(settings, workdir, **named):
        ran.append(workdir)
        if settings.seed == 1:
            raise ValueError("no luck")
        return json.loads((done / workdir.relative_to(root) / "result.json").read_text())

    monkeypatch.setattr(runner.runs, "run", second_seed_fails)
    flags = ("--seeds=2", "--groups=head", "--targets=flipped", "--lrs=1e-2")
    assert command(config, root, *flags) == 1
    assert "source/seed-1 failed: ValueError: no luck" in capsys.readouterr().err
    targets = [root / f"flipped-{group}-lr-0.01" / "seed-0" for group in ("head", "all")]
    assert ran == [root / "source" / "seed-1", *targets]
    assert not (root / "surgical.json").exists()


@pytest.mark.slow
def test_a_dry_run_prints_sources_and_targets_and_trains_nothing(config, tmp_path, capsys):
    assert (
        command(config, tmp_path / "none", "--dry_run", "--seeds=2", "--groups=last", "--targets=flipped")
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[:2] for line in lines[1:4]]
    assert names == [["source", "2"], ["flipped-last-lr-0.001", "2"], ["flipped-all-lr-0.001", "2"]]
    assert not (tmp_path / "none").exists()


def test_thirds():
    assert surgical.groups(12)["first"] == "(stem|blocks/(0|1|2|3))/.*"
    assert surgical.groups(5)["middle"] == "blocks/(2|3)/.*"
    assert surgical.groups(4)["last"] == "(neck|blocks/(3))/.*"
    with pytest.raises(ConfigError, match="2 blocks"):
        surgical.groups(2)


def test_what_cannot_be_meant(config, tmp_path):
    wrong = ("--corruption=nois", "--severity=9", "--fraction=0", "--groups=frist", "--targets=other")
    with pytest.raises(ConfigError) as caught:
        command(config, tmp_path / "none", *wrong, "--config.data.shift.labels=flip")
    for part in (
        "did you mean 'noise'",
        "1 ≤ value ≤ 5",
        "0 < value ≤ 1",
        "frist",
        "clean, corrupted",
        "data.shift",
    ):
        assert part in str(caught.value)
    with pytest.raises(ConfigError, match=r"--lrs: .*'fast'"):
        command(config, tmp_path / "none", "--lrs=fast")
    assert not (tmp_path / "none").exists()
