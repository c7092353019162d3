"""Several processes of one job: real ones, on this machine, each with a device of its own."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import tiny
from tests.test_resume import outcome as bits
from tests.test_sharding import STAGES, VIT, assert_alike, outcome
from tl_jax import processes
from tl_jax.config import complete
from tl_jax.data import sources
from tl_jax.interrupt import EXIT_CODES, Interrupted, Stop

ROOT = Path(__file__).resolve().parents[1]
FLAGS = "--xla_force_host_platform_device_count=1 --xla_backend_optimization_level=0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.make_folder(tmp_path_factory.mktemp("pictures"))


def config(root, **changes):
    settings = tiny.config(root, **{"stages": STAGES, "select": dict(every="2 steps"), **changes})
    return {**settings, "mesh": dict(data=0), **changes}


def vit(root, fsdp=2, **changes):
    return config(root, model=dict(arch=VIT, dropout=0.1), mesh=dict(data=0, fsdp=fsdp), **changes)


def write(path: Path, settings: dict) -> Path:
    path.write_text(f"def get_config(arg=''):\n    return {settings!r}\n")
    return path


def start(file: Path, workdir: Path, *flags: str, cwd: Path = ROOT) -> subprocess.Popen:
    command = [sys.executable, "-m", "tl_jax.main", f"--config={file}", f"--workdir={workdir}", *flags]
    environment = {**os.environ, "XLA_FLAGS": FLAGS, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=cwd, env=environment)


def start_two(files, workdir: Path, *flags: str, cwds=(ROOT, ROOT)) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    files = files if isinstance(files, list) else [files, files]
    own = [f"--coordinator=localhost:{port}", "--processes=2", *flags]
    return [start(files[i], workdir, *own, f"--process_id={i}", cwd=cwds[i]) for i in range(2)]


def ended(several: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each."""
    told = [process.communicate(timeout=500) for process in several]
    return [(process.returncode, *texts) for process, texts in zip(several, told, strict=True)]


def kept_prefixes() -> set[Path]:
    return set((Path(os.environ["XDG_CACHE_HOME"]) / "tl_jax" / "prefix").glob("*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (config, dict(ema=0.9)),
        (config, dict(accumulate=2, data=dict(device_budget=0))),
        (config, dict(augment={}, cache=dict(prefix="on"), stages=[{**STAGES[1], "train": "last 1"}])),
        (vit, dict(cache=dict(prefix="on", views=2), stages=[{**STAGES[1], "train": "last 1"}])),
        (vit, dict(ema=0.9, data=dict(device_budget=0))),
    ],
    ids=[
        "BatchNorm, averages",
        "streamed, accumulated",
        "the frozen prefix kept",
        "views of it",
        "weights cut",
    ],
)
def test_two_processes_train_as_one(make, changes, folder, tmp_path):
    changes = dict(changes)
    data = changes.pop("data", {})
    for name, settings in dict(one=make(folder, **changes), two=make(folder, **changes)).items():
        settings["data"] = {**settings["data"], **data}
        if name == "one":
            settings["mesh"] = dict(data=1)
        write(tmp_path / f"{name}.py", settings)
    (code, _, told), *_ = ended([start(tmp_path / "one.py", tmp_path / "one")])
    assert code == 0, told
    held = kept_prefixes()
    first, second = ended(start_two(tmp_path / "two.py", tmp_path / "two"))
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert kept_prefixes() == held, "several processes keep nothing on disk"
    assert_alike(outcome(tmp_path / "two"), outcome(tmp_path / "one"))
    assert "mesh: 2 cpu devices of 2 processes" in first[1]
    own = [line for line in second[1].splitlines() if not line.startswith("[Gloo]")]
    assert not own, "the second process is silent"
    names = [{path.name for path in (tmp_path / name).iterdir()} for name in ("one", "two")]
    assert names[0] == names[1]
    assert (tmp_path / "two" / "log.txt").read_text().count("result:") == 1


@pytest.mark.slow
def test_each_process_decodes_its_share_of_the_pictures(tmp_path):
    """Neither host can read the pictures that are the other's to decode."""
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "whole"]
    for path in folders:
        tiny.make_folder(path / "pictures")
    settings = config("pictures")
    settings["data"]["cache"] = "cache"
    names = sources.read(complete(config(str(folders[0] / "pictures"))).data).ids
    half = len(names) // 2
    for path, others in zip(folders, (names[half:], names[:half], []), strict=True):
        for name in others:
            (path / "pictures" / name).write_bytes(b"")
    file = write(tmp_path / "c.py", settings)
    for path, told in zip(folders, ended(start_two(file, tmp_path / "two", cwds=folders[:2])), strict=False):
        assert told[0] == 0, told
        assert len(list((path / "cache").iterdir())) == 1
    (code, _, told), *_ = ended([start(file, tmp_path / "one", cwd=folders[2])])
    assert code == 0, told
    assert_alike(outcome(tmp_path / "two"), outcome(tmp_path / "one"))
    caches = [sorted((path / "cache").glob("*/*.npy")) for path in folders]
    assert len(caches[0]) == 4
    for files in zip(*caches, strict=True):
        assert len({path.read_bytes() for path in files}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_process_stops_both_and_they_go_on_to_the_same_bits(number, folder, tmp_path):
    file = write(tmp_path / "c.py", vit(folder, ema=0.9, stages=[{**STAGES[1], "duration": "30 steps"}]))
    assert [one[0] for one in ended(start_two(file, tmp_path / "whole"))] == [0, 0]

    rng, metrics = random.Random(int(number)), tmp_path / "broken" / "metrics.jsonl"
    for asked in (1, 0, 1):
        several, goal = start_two(file, tmp_path / "broken"), lines(metrics) + rng.randrange(2, 8)
        while several[0].poll() is None and lines(metrics) < goal:
            time.sleep(0.01)
        several[asked].send_signal(number)
        found = ended(several)
        assert [one[0] for one in found] == [EXIT_CODES[number]] * 2, found
        assert found[0][1].count("asked to stop: saved step") == 1
    found = ended(start_two(file, tmp_path / "broken"))
    assert [one[0] for one in found] == [0, 0], found
    assert "going on from step" in found[0][1]
    assert bits(tmp_path / "broken") == bits(tmp_path / "whole")
    again = ended(start_two(file, tmp_path / "broken"))
    assert [one[0] for one in again] == [0, 0]
    assert "holds a finished run" in again[0][1]


def lines(file: Path) -> int:
    return file.read_text().count("\n") if file.exists() else 0


@pytest.mark.slow
def test_processes_that_cannot_run_together_say_so(folder, tmp_path):
    a, b = write(tmp_path / "a.py", config(folder)), write(tmp_path / "b.py", config(folder, seed=1))
    (code, _, first), (other, _, second) = ended(start_two([a, b], tmp_path / "w"))
    assert (code, other) == (1, 1)
    assert "process 1 cannot take part; see what it says" in first
    assert "process 1 cannot take part:\n  seed: 0 → 1" in second
    assert not (tmp_path / "w").exists()

    (tmp_path / "file").write_text("")
    (code, _, first), (other, _, second) = ended(start_two(a, tmp_path / "file"))
    assert (code, other) == (1, 1)
    assert "is not a folder" in first
    assert "process 0 says: --workdir=" in second

    odd = write(tmp_path / "odd.py", config(folder, batch_size=9))
    (code, _, first), (other, _, _) = ended(start_two(odd, tmp_path / "w"))
    assert (code, other) == (1, 1)
    assert "cannot be taken from 2 processes in equal parts; they have 1, 1" in first


@pytest.mark.slow
def test_a_process_left_alone_gives_up(folder, tmp_path):
    file = write(tmp_path / "c.py", config(folder))
    for number in (0, 1):
        where = f"--coordinator=localhost:{random.randrange(20000, 30000)}"
        flags = [where, "--processes=2", f"--process_id={number}", "--start_timeout=3"]
        ((code, _, told),) = ended([start(file, tmp_path / "w", *flags)])
        assert code == 1
        assert "error: not all processes have met within 3 seconds" in told
        assert where in told


def test_a_process_alone_meets_nobody():
    assert processes.is_first()
    assert processes.from_first(lambda: {"a": (1,)}) == {"a": (1,)}, "nothing goes through JSON"
    assert processes.gather_values([1]) == [[1]]
    assert processes.together(lambda: 3) == 3
    processes.refuse([])
    processes.meet()
    with pytest.raises(ValueError, match="process 0 cannot take part:\n  it is odd"):
        processes.refuse(["it is odd"])
    ask = processes.highest()
    assert [ask(0), ask(15), ask(0)] == [0, 15, 0]


def test_a_request_to_stop_is_what_all_agree_on():
    asked: list[int] = []

    def agree(number: int) -> int:
        asked.append(number)
        return signal.SIGTERM if len(asked) == 3 else 0

    stop = Stop(agree)
    stop.graceful = True
    stop._handle(signal.SIGINT, None)
    stop.check()
    stop.check()
    with pytest.raises(Interrupted) as caught:
        stop.check()
    assert caught.value.code == EXIT_CODES[signal.SIGTERM]
    assert asked == [signal.SIGINT] * 3
    with pytest.raises(Interrupted) as caught:
        stop._handle(signal.SIGINT, None)
    assert caught.value.code == EXIT_CODES[signal.SIGINT]
