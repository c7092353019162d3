"""Several tasks from a config to a folder with a finished run of each."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from tests.tasks.test_runs import table
from tl_jax import evaluate, predict
from tl_jax.backbones.anatomy import split
from tl_jax.config import ConfigError, complete
from tl_jax.finished import open_run
from tl_jax.interrupt import Interrupted, Stop
from tl_jax.multitask import job, program
from tl_jax.runs import run
from tl_jax.workdir import Workdir, WorkdirError


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    tiny.make_folder(folder / "folder")
    (folder / "table").mkdir()
    table(folder / "table")
    return folder


def config(root: Path, *, names=("disc", "size"), **changes):
    found = tiny.config(root / "folder")
    own = {key: found.pop(key) for key in ("data", "augment", "evaluation")}
    columns = dict(labels=("radius",), group="patient")
    numbers = dict(source="csv", manifest=str(root / "table" / "table.csv"), columns=columns, image_size=32)
    every = {
        "disc": dict(name="disc", **own),
        "size": dict(
            name="size",
            task="regression",
            proportion=3.0,
            data={**numbers, "cache": "", "fractions": dict(val=0.25, test=0.25)},
            evaluation=own["evaluation"],
        ),
    }
    found["tasks"] = [every[name] for name in names]
    found["select"] = dict(metric="loss")
    found["sharing"] = dict(blocks=1)
    found["stages"] = [
        dict(name="heads", duration="2 epochs", train="head", lr=1e-2),
        dict(name="all", duration="4 epochs", train="all", lr=1e-2),
    ]
    return {**found, **changes}


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "two"
    return workdir, run(config(root, report=dict(enabled=True)), workdir, quiet=True)


def test_each_task_learns_and_is_measured(finished):
    workdir, result = finished
    assert list(result["tasks"]) == ["disc", "size"]
    assert result["tasks"]["disc"]["test"]["auroc"]["value"] > 0.8
    assert result["tasks"]["size"]["test"]["r2"]["value"] > 0.2
    assert "2 tasks (disc, size) share the stem and 1 of 2 blocks" in (workdir / "plan.txt").read_text()
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert any({"loss", "loss/disc", "loss/size"} <= line.keys() for line in lines)
    assert any({"val/loss", "val/disc/auroc", "val/size/rmse"} <= line.keys() for line in lines)


def test_each_is_a_finished_run_of_its_own(finished, root, tmp_path):
    workdir, _ = finished
    with pytest.raises(WorkdirError, match="several tasks; name one: disc, size"):
        open_run(workdir)
    out = tmp_path / "p.csv"
    arguments = [f"--workdir={workdir / 'size'}", f"--input={root / 'table'}", f"--output={out}"]
    assert predict.main(["", *arguments]) == 0
    assert evaluate.main(["", f"--workdir={workdir / 'disc'}", f"--output={tmp_path / 'e'}"]) == 0
    page = (workdir / "disc" / "report.html").read_text()
    assert "blocks" in page
    pages = (workdir / "report.html").read_text()
    assert "disc/report.html" in pages
    assert "size/report.html" in pages


def test_what_is_shared_is_the_same_and_the_rest_is_not(finished):
    workdir, _ = finished
    leaves = [split(open_run(workdir / name).model)[1] for name in ("disc", "size")]
    for path in leaves[0]:
        same = np.array_equal(leaves[0][path], leaves[1][path])
        assert same == path.startswith(("stem", "blocks/0/")), path


def test_the_gradient_is_the_sum_of_each_tasks(root):
    """Of what is shared; of what is not, the task's own alone."""
    jobs = job.prepare(complete(config(root)), say=lambda line: None)
    batches = {
        name: {"image": one.data.train.images[:8], "label": one.data.train.labels[:8]}
        for name, one in jobs.each.items()
    }
    key = jax.random.key(0)

    for one in jobs.each.values():
        one.plans[1].set_modes(one.model)
    graphs = {name: split(one.model)[0] for name, one in jobs.each.items()}

    @jax.jit
    def gradient(weights):
        parts = {name: (graphs[name], one.recipe, weights[name]) for name, one in jobs.each.items()}
        plan = jobs.plans[1]
        trained, frozen = plan.partition(jax.tree.map(jnp.asarray, jobs.base_params))
        moving, still = plan.partition_statistics(jax.tree.map(jnp.asarray, jobs.base_stats))
        state = program.State(trained, moving, {}, {})
        fixed = program.Fixed(frozen, still, {}, jobs.class_weights)
        return program.gradients(jobs.union, parts, state, fixed, batches, key)

    both, stats, told = gradient({"disc": 1.0, "size": 1.0})
    disc, _, alone = gradient({"disc": 1.0, "size": 0.0})
    size, _, other = gradient({"disc": 0.0, "size": 1.0})
    np.testing.assert_allclose(told["loss"], alone["loss"] + other["loss"], rtol=1e-5)
    for path, leaf in both.items():
        np.testing.assert_allclose(leaf, disc[path] + size[path], rtol=1e-3, atol=1e-5, err_msg=path)
        if path.startswith("tasks/disc/"):
            assert not np.any(size[path])
    assert all(path.startswith(("tasks/disc/", "tasks/size/")) for path in stats)


@pytest.mark.slow
def test_one_task_is_what_it_is_alone(root, tmp_path):
    """With nobody to share with, the union changes nothing."""
    several = config(root, names=("disc",), batch_size=8)
    several["tasks"][0]["augment"] = {}  # random numbers are drawn for each task
    several["model"] = dict(arch=tiny.ARCH)
    together = run(several, tmp_path / "together", quiet=True)
    alone = {key: value for key, value in several.items() if key not in ("tasks", "sharing", "select")}
    own = several["tasks"][0]
    alone |= {key: own[key] for key in ("data", "augment", "evaluation")}
    single = run(alone, tmp_path / "alone", quiet=True)
    ours, theirs = together["tasks"]["disc"]["val"], single["val"]
    assert ours["nll"]["value"] == pytest.approx(theirs["nll"]["value"], rel=1e-2)


@pytest.mark.slow
def test_interrupted_it_ends_with_the_same_numbers(finished, root, tmp_path):
    _, result = finished

    class After(Stop):
        left = 25

        def check(self):
            self.left -= 1
            if self.left < 0:
                raise Interrupted("enough")

    with pytest.raises(Interrupted):
        run(config(root), tmp_path / "run", stop=After(), quiet=True)
    assert Workdir(tmp_path / "run").last.exists()
    again = run(config(root), tmp_path / "run", quiet=True)
    for name, own in result["tasks"].items():
        assert again["tasks"][name]["test"] == own["test"]


@pytest.mark.slow
def test_learned_weights_and_micro_batches(root, tmp_path):
    found = config(
        root, sharing=dict(blocks=-1, weights="uncertainty"), accumulate=2, report=dict(enabled=True)
    )
    found["stages"] = [dict(train="all", duration="20 steps", lr=1e-2)]
    result = run(found, tmp_path / "run", quiet=True)
    assert all(value > 0 and value != 1 for value in result["weights"].values())
    assert "Learned weight" in (tmp_path / "run" / "report.html").read_text()
    shared, other = (split(open_run(tmp_path / "run" / name).model)[1] for name in ("disc", "size"))
    assert all(np.array_equal(shared[p], other[p]) for p in shared if not p.startswith("head/"))


def test_what_cannot_be_shared_is_told(root):
    found = config(root)
    found["model"] = dict(arch=tiny.VIT)
    found["tasks"][1]["data"]["image_size"] = 64
    with pytest.raises(ValueError, match=r"cannot share a network(?s:.*)stem/positions.*'disc'.*'size'"):
        job.prepare(complete(found), say=lambda line: None)
    with pytest.raises(ValueError, match=r"sharing\.blocks=7: this network has 2 blocks"):
        job.prepare(complete(config(root, sharing=dict(blocks=7))), say=lambda line: None)
    broken = config(root)
    broken["tasks"][1]["data"]["manifest"] = "nowhere.csv"
    with pytest.raises(ValueError, match=r"task 'size': .*nowhere\.csv"):
        job.prepare(complete(broken), say=lambda line: None)


def test_a_config_that_does_not_fit_is_told_before_anything_is_read(root):
    found = config(root, select={}, sharing=dict(blocks=-2))
    found["tasks"][1] |= dict(name="disc", weight=-1.0, loss=dict(l2_sp=0.1))
    found["tasks"][0]["data"]["root"] = ""
    with pytest.raises(ConfigError) as caught:
        complete(found)
    for words in (
        "select.metric: found 'nll'; weights of several tasks are chosen by \"loss\"",
        "tasks[1].name: found 'disc', which another task is called already",
        "tasks[1].weight",
        "tasks[1].loss.l2_sp: is for all tasks together",
        "tasks[0].data.root: is empty",
        "sharing.blocks",
    ):
        assert words in str(caught.value)
