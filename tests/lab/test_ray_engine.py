"""The Ray engine on real clusters of real processes on this machine, some of which die."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests import tiny
from tests.commands import pictures
from tl_jax.completion import plain_copy
from tl_jax.config import complete
from tl_jax.lab import ray_engine
from tl_jax.lab.grid import Variation, grid, patched
from tl_jax.lab.ray_cluster import Resources
from tl_jax.lab.records import Records

try:
    import ray
    from ray.cluster_utils import Cluster
except ImportError:
    ray = None

ROOT = Path(__file__).resolve().parents[2]
FLAGS = "--xla_force_host_platform_device_count=1 --xla_backend_optimization_level=0"
STAGE = dict(name="all", train="all", duration="3 steps", lr=1e-3)
LONG = {"stages[0].duration": "60 steps", "checkpoint.every": "4 steps", "select.every": "30 steps"}
QUICK_TO_BURY = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
"""A machine that does not answer for three seconds is dead."""

slow = pytest.mark.slow
needs_ray = pytest.mark.skipif(ray is None, reason="needs Ray: pip install 'tl_jax[ray]'")


def test_without_ray_it_says_what_to_install(tmp_path):
    folder = tiny.make_folder(tmp_path / "pictures")
    file = pictures.write_config(tmp_path / "my.py", tiny.config(folder, stages=[STAGE]))
    code = """if True:
        import sys
        sys.modules["ray"] = None  # as if it were not installed
        from experiments import seeds
        from tl_jax import command
        command.run(seeds.main)"""
    flags = [f"--config={file}", f"--workdir={tmp_path / 'w'}", "--engine=ray"]
    environment = {**os.environ, "TL_JAX_MALLOC": "0"}
    ended = subprocess.run(
        [sys.executable, "-c", code, *flags], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: --engine=ray needs Ray")
    assert "pip install 'tl_jax[ray]'" in ended.stderr
    assert [path.name for path in (tmp_path / "w").iterdir()] == [".lock"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tiny.make_folder(tmp_path_factory.mktemp("pictures"))
    programs = str(tmp_path_factory.mktemp("programs"))
    return complete(tiny.config(folder, stages=[STAGE], compilation_cache=programs, cache=dict(dir="")))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head on which nothing runs; tests add machines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        earlier = set(descendants(os.getpid()))  # such as a resource tracker
        made = Cluster(
            True, head_node_args=dict(num_cpus=0, include_dashboard=False, _system_config=QUICK_TO_BURY)
        )
        processes = [pid for pid in descendants(os.getpid()) if pid not in earlier]
        yield made
        made.shutdown()
        gone(processes)


@contextmanager
def machine(cluster: Cluster, **options) -> Iterator[int]:
    """One with a CPU; the id of its raylet."""
    added = cluster.add_node(num_cpus=1, **options)
    raylet = added.all_processes["raylet"][0].process.pid
    try:
        yield raylet
    finally:
        kill(raylet)
        cluster.remove_node(added, allow_graceful=False)
        wait_for(lambda: added.node_id not in alive(cluster))


def alive(cluster: Cluster) -> set[str]:
    """The machines that the cluster does not know to be dead, which it learns after a while."""
    return {node["NodeID"] for node in cluster.global_state.node_table() if node["Alive"]}


def kill(raylet: int) -> None:
    """As when its plug is pulled: all processes of the machine at once."""
    for pid in [*descendants(raylet), raylet]:
        send(pid, signal.SIGKILL)


def send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def descendants(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        state, parent = text.rpartition(")")[2].split()[:2]
        if state != "Z":
            parents.setdefault(int(parent), []).append(int(stat.parent.name))
    found, next_ones = [], [pid]
    while next_ones:
        next_ones = [child for one in next_ones for child in parents.get(one, [])]
        found += next_ones
    return found


def gone(processes: list[int], seconds: float = 30.0) -> None:
    """Fails where one of them lives on."""
    until = time.monotonic() + seconds
    while living := [pid for pid in processes if Path(f"/proc/{pid}").exists() and not is_zombie(pid)]:
        assert time.monotonic() < until, f"still there: {living}"
        time.sleep(0.2)


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def worker(raylet: int) -> int | None:
    """The process of the machine that executes a run."""
    for pid in descendants(raylet):
        with suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_text().startswith("ray::Worker.run"):
                return pid
    return None


def is_at(pid: int | None, folder: Path) -> bool:
    """Whether a process holds the lock of a run."""
    with suppress(OSError):
        return any(os.readlink(file) == str(folder / ".lock") for file in Path(f"/proc/{pid}/fd").iterdir())
    return False


def wait_for(what: Callable[[], bool], seconds: float = 200.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.05)


class Meanwhile(threading.Thread):
    """Does something while the main thread is in the engine, and fails there where that failed."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.act, self.error = act, None

    def run(self) -> None:
        try:
            self.act()
        except BaseException as error:
            self.error = error

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self.join()
        if self.error is not None:
            raise self.error


def is_saved(folder: Path) -> bool:
    """Whether a run has made a checkpoint, and is not finished."""
    saved = any(path.name.isdigit() for path in (folder / "checkpoints" / "last").glob("*"))
    return saved and not (folder / "result.json").exists()


@pytest.fixture(autouse=True)
def _one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the processes that tests start compute with, workers too."""
    monkeypatch.setenv("XLA_FLAGS", FLAGS)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def execute(runs, root: Path, cluster: Cluster, said: list[str] | None = None):
    said = [] if said is None else said
    return ray_engine.execute(
        runs, root, address=cluster.address, resources=Resources(cpus=1), say=said.append
    )


def locally(file: Path, root: Path, *flags: str, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "experiments.seeds", f"--config={file}", f"--workdir={root}", *flags]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, **options
    )


@slow
@needs_ray
def test_a_machine_dies_and_no_run_is_lost(base, cluster, tmp_path):
    """Of two machines, each at a run, one is killed: all runs end, each once, with the bits of the local
    engine on one processor."""
    runs, root, said = grid(base, [Variation("long", LONG)], range(4)), tmp_path / "ray", []
    folders = [root / run.name for run in runs]
    with machine(cluster) as one, machine(cluster) as other:

        def one_dies() -> None:
            wait_for(lambda: any(map(is_saved, folders)))
            saved = next(filter(is_saved, folders))
            kill(one if is_at(worker(one), saved) else other)

        with Meanwhile(one_dies):
            outcome = execute(runs, root, cluster, said)
    assert not outcome.failed
    names = [run.name for run in runs]
    assert [line["name"] for line in outcome.records] == names
    assert sorted(line["name"] for line in Records(root / "runs.jsonl").read()) == names
    again = [line for line in said if "its worker died; the run is started again (1 of 3 times)" in line]
    assert len(again) == 1
    hurt = again[0].split()[1]
    for run in runs:
        log = (root / run.name / "log.txt").read_text()
        assert ("going on from step" in log) == (run.name == hurt)
        assert log.count("result:") == 1

    settings = json.loads((root / names[0] / "config.json").read_text())
    file = pictures.write_config(tmp_path / "long.py", settings)
    alone = locally(
        file,
        tmp_path / "local",
        "--seeds=4",
        preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
    )
    told = alone.communicate()
    assert alone.returncode == 0, told
    for name in names:
        for part in ("model/model.safetensors", "predictions_test.csv"):
            assert (root / name / part).read_bytes() == (tmp_path / "local" / name / part).read_bytes()
    assert execute(runs, root, cluster, said).records == outcome.records
    assert said[-1] == "4 of 4 runs are finished already"


KILLING = """
import os, signal

def read(data):
    with open(data.root + "/starts", "a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@slow
@needs_ray
def test_what_a_run_raises_is_told_once_and_what_kills_its_worker_a_few_times(
    base, cluster, tmp_path, monkeypatch
):
    (tmp_path / "killing.py").write_text(KILLING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(ray_engine, "RETRIES", 1)
    variations = [
        Variation("fine", {}),
        Variation("killing", {"data.source": "killing:read", "data.root": str(tmp_path)}),
        Variation("broken", {"stages[0].lr": 1e30, "stages[0].clip": 0.0}),
    ]
    said: list[str] = []
    with machine(cluster):
        outcome = execute(grid(base, variations, [0]), tmp_path / "grid", cluster, said)
    assert [line["variation"] for line in outcome.records] == ["fine"]
    assert list(outcome.failed) == ["killing/seed-0", "broken/seed-0"]
    assert outcome.failed["broken/seed-0"].startswith("FloatingPointError: ")
    assert "Traceback" in (tmp_path / "grid" / "broken" / "seed-0" / "failure.txt").read_text()
    assert sum(line.startswith("[3/3] broken/seed-0") for line in said) == 1
    assert "its worker died 2 times" in outcome.failed["killing/seed-0"]
    assert (tmp_path / "starts").read_text() == "xx"
    assert len(Records(tmp_path / "grid" / "runs.jsonl").read()) == 1


@slow
@needs_ray
def test_machines_that_differ_are_refused(base, cluster, tmp_path, monkeypatch):
    """One has other code; and what is called /proc/self/cwd is another folder for every process."""
    shutil.copytree(
        ROOT / "tl_jax", tmp_path / "other" / "tl_jax", ignore=shutil.ignore_patterns("__pycache__")
    )
    with open(tmp_path / "other" / "tl_jax" / "step.py", "a") as file:
        file.write("\n# another version\n")
    runs = grid(base, [Variation("fine", {})], [0])
    with machine(cluster, env_vars={"PYTHONPATH": str(tmp_path / "other")}):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ValueError) as caught:
            execute(runs, Path("/proc/self/cwd/grid"), cluster)
    head, *lines = str(caught.value).splitlines()
    assert head == "machines of the cluster cannot take part:"
    assert len(lines) == 2
    assert ": tl_jax is " in lines[0]
    assert "it must be shared" in lines[1]
    assert [path.name for path in (tmp_path / "grid").iterdir()] == [".lock"]


@slow
@needs_ray
def test_a_machine_that_is_cut_off_but_lives_keeps_its_run_to_itself(base, cluster, tmp_path):
    """It is frozen, so that Ray buries it; the run's second start, on the other machine, waits for the first,
    which then ends it."""
    runs, root, said = grid(base, [Variation("long", LONG)], [0]), tmp_path / "grid", []
    folder = root / runs[0].name
    with machine(cluster) as one, machine(cluster) as other:

        def freeze_and_thaw() -> None:
            wait_for(lambda: is_saved(folder))
            lost, heir = (one, other) if is_at(worker(one), folder) else (other, one)
            at_work = worker(lost)
            assert at_work is not None
            send(lost, signal.SIGSTOP)
            send(at_work, signal.SIGSTOP)
            wait_for(lambda: worker(heir) is not None)
            lines = (folder / "metrics.jsonl").read_text()
            time.sleep(3)
            assert (folder / "metrics.jsonl").read_text() == lines
            send(at_work, signal.SIGCONT)

        with Meanwhile(freeze_and_thaw):
            outcome = execute(runs, root, cluster, said)
    assert [line["name"] for line in outcome.records] == [runs[0].name]
    assert any("its worker died; the run is started again" in line for line in said)
    log = (folder / "log.txt").read_text()
    assert "going on from step" not in log
    assert log.count("result:") == 1
    assert "holds a finished run" in log, "which the second start found"
    assert len(Records(root / "runs.jsonl").read()) == 1


@slow
@needs_ray
def test_ctrl_c_saves_and_the_same_command_goes_on(base, tmp_path):
    """On a Ray that the command starts itself, of which nothing is left."""
    settings = plain_copy(patched(base, {**LONG, "stages[0].duration": "300 steps"}))
    file, root = pictures.write_config(tmp_path / "long.py", settings), tmp_path / "grid"
    flags = ("--seeds=2", "--engine=ray", "--cpus=1")
    folders = [root / "long" / f"seed-{seed}" for seed in range(2)]
    command = locally(file, root, *flags)
    wait_for(lambda: any(map(is_saved, folders)) or command.poll() is not None)
    assert command.poll() is None, command.communicate()
    saved, processes = next(filter(is_saved, folders)), descendants(command.pid)
    command.send_signal(signal.SIGINT)
    out, told = command.communicate()
    assert command.returncode == 130, out + told
    assert f"long/{saved.name}  interrupted: the same command goes on from here" in out
    gone(processes)
    assert "asked to stop: saved step" in (saved / "log.txt").read_text()
    assert not (root / "runs.jsonl").exists()

    command = locally(file, root, *flags)
    out, told = command.communicate()
    assert command.returncode == 0, out + told
    assert not told, "the screen is readable"
    assert len(Records(root / "runs.jsonl").read()) == 2
    assert "going on from step" in (saved / "log.txt").read_text()
