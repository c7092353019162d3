"""A run that is interrupted anywhere ends with the bits of one that is not."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import orbax.checkpoint as ocp
import pytest

from tests import tiny
from tl_jax.interrupt import EXIT_CODES, Interrupted, Stop
from tl_jax.runs import run
from tl_jax.workdir import WorkdirError

FREE = {"examples_per_second", "seconds"}
"""What may differ between two runs: times."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.make_folder(tmp_path_factory.mktemp("pictures"))


STAGES = {
    "two stages": {},
    "averages, accumulated": dict(ema=0.9, accumulate=2),
    "early stop, best restored": dict(
        early_stopping=dict(patience=1),
        select=dict(metric="auroc", every="2 steps"),
        checkpoint=dict(every="3 steps"),
        stages=[
            dict(name="head", duration="30 steps", train="head", lr=0.1),
            dict(name="top", duration="5 steps", train="last 1", lr=1e-3, restore_best=True),
            dict(name="sgd", duration="4 steps", train="all", lr=1e-2, optimizer="sgd", batch_norm="adapt"),
        ],
    ),
    "the frozen prefix kept": dict(
        augment={},
        cache=dict(prefix="on"),
        stages=[
            dict(name="head", duration="2 epochs", train="head", lr=1e-2),
            dict(name="top", duration="3 epochs", train="last 1", lr=3e-3),
        ],
    ),
    "views of the frozen prefix kept": dict(
        cache=dict(prefix="on", views=2, dir=""),
        stages=[
            dict(name="head", duration="2 epochs", train="head", lr=1e-2),
            dict(name="top", duration="3 epochs", train="last 1", lr=3e-3),
        ],
    ),
    "unfreezing": dict(
        stages=[
            dict(name=f"last {k}", duration="3 steps", train=train, lr=1e-3)
            for k, train in enumerate(["head", "last 1", "biases"])
        ]
    ),
}


def outcome(workdir: Path) -> dict:
    """Everything a run leaves that must not depend on its interruptions."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((workdir / "result.json").read_text())
    del result["seconds"], result["command"]
    return {
        "weights": (workdir / "model" / "model.safetensors").read_bytes(),
        "metrics": [{k: v for k, v in line.items() if k not in FREE} for line in lines],
        "result": result,
        "predictions": (workdir / "predictions_test.csv").read_text(),
    }


class StopAfter(Stop):
    """Asks to stop when it has been polled ``polls`` times."""

    def __init__(self, polls: int) -> None:
        super().__init__()
        self.polls = polls

    def check(self) -> None:
        self.polls -= 1
        if self.graceful and self.polls < 0:
            raise Interrupted(EXIT_CODES[signal.SIGTERM])


LONG = STAGES.keys() - {"two stages"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in STAGES]
)
def test_stopped_again_and_again_it_ends_the_same(name, folder, tmp_path):
    config = tiny.config(folder, **STAGES[name])
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(config, whole)

    rng, stops = random.Random(name), 0
    while True:
        stop = StopAfter(rng.randrange(3, 9))
        try:
            run(config, broken, stop=stop)
            break
        except Interrupted:
            stops += 1
    assert stops >= 2
    assert outcome(broken) == outcome(whole)


def test_the_time_of_a_resumed_run_goes_on(folder, tmp_path):
    config = tiny.config(
        folder, stages=[dict(duration="6 steps", train="head")], select=dict(every="2 steps"), augment={}
    )
    with pytest.raises(Interrupted):
        run(config, tmp_path / "w", stop=StopAfter(5))
    before = seconds(tmp_path / "w")
    result = run(config, tmp_path / "w")
    after = seconds(tmp_path / "w")
    assert 0 < len(before) < len(after) == 3
    assert after[: len(before)] == before
    assert 0 < after[0] < after[1] < after[2] <= result["seconds"]["train"]


def seconds(workdir: Path) -> list[float]:
    """Of training, at each validation."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [line["seconds"] for line in lines if "val/nll" in line]


def test_asked_to_stop_twice_at_one_step_a_run_keeps_its_last_checkpoint(folder, tmp_path, monkeypatch):
    """A checkpoint of the same step must not take the place of the one that is there before it is whole."""
    config = tiny.config(folder, stages=[dict(duration="6 steps", train="head")])
    with pytest.raises(Interrupted):
        run(config, tmp_path / "w", stop=StopAfter(3))

    class Killed(BaseException):
        pass

    def killed(*arguments, **named):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(ocp.CheckpointManager, "save", killed)
        with pytest.raises(Killed):
            run(config, tmp_path / "w", stop=StopAfter(0))
    run(config, tmp_path / "w")
    assert "going on from step 3" in (tmp_path / "w" / "log.txt").read_text()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_what_a_step_costs_is_told_once(accumulate, folder, tmp_path):
    stages = [dict(name="all", duration="4 steps", train="all")]
    config = tiny.config(folder, accumulate=accumulate, stages=stages)
    with pytest.raises(Interrupted):
        run(config, tmp_path / "w", stop=StopAfter(2))
    run(config, tmp_path / "w")
    told = re.findall(r"stage 'all', a step: (\S+) GFLOP", (tmp_path / "w" / "plan.txt").read_text())
    assert len(told) == 1
    assert 1e-5 < float(told[0]) < 1e-2
    assert (tmp_path / "w" / "log.txt").read_text().count("compiled in") == 2


def test_a_resumed_run_refuses_other_data(folder, tmp_path):
    config = tiny.config(folder, stages=[dict(duration="6 steps", train="head")])
    with pytest.raises(Interrupted):
        run(config, tmp_path / "w", stop=StopAfter(3))
    picture = next((folder / "train" / "a").iterdir())
    bytes_ = picture.read_bytes()
    try:
        other = next((folder / "train" / "b").iterdir())
        picture.write_bytes(other.read_bytes())
        with pytest.raises(WorkdirError, match="the data changed"):
            run({**config, "data": {**config["data"], "on_group_overlap": "error"}}, tmp_path / "w")
    finally:
        picture.write_bytes(bytes_)


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [[signal.SIGKILL], [signal.SIGTERM], [signal.SIGTERM, signal.SIGKILL]])
@pytest.mark.parametrize("name", ["two stages", "early stop, best restored"])
def test_killed_processes_end_with_the_same_bits(name, numbers, folder, tmp_path):
    """Real processes, killed at random moments of start-up, training, saving and evaluation."""
    config = tiny.config(folder, **{**STAGES[name], "compilation_cache": str(tmp_path / "programs")})
    file = tmp_path / "config.py"
    file.write_text(f"def get_config(arg=''):\n    return {config!r}\n")

    def start(workdir: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "tl_jax.main", f"--config={file}", f"--workdir={tmp_path / workdir}"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def lines() -> int:
        metrics = tmp_path / "broken" / "metrics.jsonl"
        return metrics.read_text().count("\n") if metrics.exists() else 0

    assert start("whole").wait() == 0
    rng, kills, codes = random.Random(f"{name} {numbers}"), 0, set()
    for _ in range(6):
        # A little further each time, or nothing would ever be finished; then at any moment.
        process, goal = start("broken"), lines() + rng.randrange(4)
        while process.poll() is None and lines() < goal:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.5))
        if process.poll() is None:
            os.kill(process.pid, numbers[kills % len(numbers)])
            kills += 1
            codes.add(process.wait())
    last = start("broken")
    assert last.wait() == 0, last.stdout.read()
    assert kills >= 3
    assert codes <= {-9, 75, 0, -15}
    assert codes == {-9} or signal.SIGTERM in numbers
    assert outcome(tmp_path / "broken") == outcome(tmp_path / "whole")
    again = start("broken")
    assert "finished" in again.communicate()[0]
    assert again.returncode == 0
