"""How long until something happens: ``--help``, and the first step of a job, cold and warm.

    python -m benchmarks.start

The job fine-tunes a network on simulated X-rays. Cold: no compiled program and no decoded picture is kept
from before. Warm: the same job was started before. A start lasts from the beginning of the process until
the first step begins, all that it needs being there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import pairs, record, xrays
from benchmarks.jobs import ROOT, run
from benchmarks.models import MODELS
from benchmarks.sides import set_threads

DESCRIPTION = "Seconds of --help, and of cold and warm starts to the first step."
GLANCE = 0.01  # seconds between looks at the record of a run


class Starts:
    """Starts of one job, which writes below ``scratch``."""

    def __init__(self, model: str, data: Path, scratch: Path) -> None:
        self.arch, self.data, self.scratch = MODELS[model].arch, data, scratch

    def help(self) -> None:
        run("tl_jax.main", "--help")

    def cold(self) -> None:
        shutil.rmtree(self.scratch / "cold", ignore_errors=True)
        self._start("cold")

    def warm(self) -> None:
        self._start("warm")

    def _start(self, name: str) -> None:
        kept = self.scratch / name
        workdir = Path(tempfile.mkdtemp(dir=self.scratch))
        settings = {
            "data.root": str(self.data),
            "data.group": xrays.GROUP,
            "data.image_size": "224",
            "data.cache": str(kept / "pictures"),
            "compilation_cache": str(kept / "programs"),
            "log_every": "1 steps",
            "model.arch": json.dumps(dict(self.arch)),
        }
        command = [sys.executable, "-m", "tl_jax.main", f"--config={ROOT}/benchmarks/job_config.py:full"]
        command += [f"--config.{key}={value}" for key, value in settings.items()]
        with (workdir / "screen.txt").open("w") as screen:
            job = subprocess.Popen([*command, f"--workdir={workdir / 'run'}"], stdout=screen, stderr=screen)
            try:
                _wait(job, workdir / "run" / "log.txt", ": compiled in ")
            finally:
                job.kill()
                job.wait()
        shutil.rmtree(workdir)


def _wait(job: subprocess.Popen[bytes], path: Path, text: str) -> None:
    """Returns when the text stands in the file. Raises `pairs.NoResult` where the job ends without it."""
    while not (path.exists() and text in path.read_text()):
        if job.poll() is not None:
            raise pairs.NoResult((path.parents[1] / "screen.txt").read_text())
        time.sleep(GLANCE)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=DESCRIPTION)
    parser.add_argument("--model", choices=MODELS, default="vit-tiny")
    parser.add_argument("--rounds", type=int, default=3, help="clean samples of each (%(default)s)")
    record.add_flag(parser)
    flags = parser.parse_args(argv)
    set_threads(0)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    print(f"{record.describe()}; median of {flags.rounds} samples", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        starts = Starts(flags.model, xrays.write(Path(folder) / "data"), Path(folder))
        starts.warm()  # a cold one, which fills the caches
        ways = {"--help": starts.help, "cold": starts.cold, "warm": starts.warm}
        found = pairs.turns(ways, rounds=flags.rounds, warm_up=0)
    for name, samples in found.items():
        print(f"{name:<7} {samples.median:>6.2f} s")
    ratio = found["warm"].median / found["cold"].median
    print(f"warm ÷ cold {ratio:.2f}")
    record.write(flags.json, "start", dict(model=flags.model, ratio=ratio), found)
    return 0


if __name__ == "__main__":
    pairs.run(main)
