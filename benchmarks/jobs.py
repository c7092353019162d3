"""Whole jobs, from the start of the process to the measures on the test split, tl_jax against PyTorch.

tl_jax runs cold (no compiled program is kept from before) and warm (those of the same job are). Pictures are
decoded anew every time, on both sides, and a frozen prefix is run anew.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import pairs, record, xrays
from benchmarks.job_config import LR
from benchmarks.sides import set_threads

ROOT = Path(__file__).resolve().parents[1]
NEAR = 0.03
"""The most that accuracies, and AUROCs, of both sides may differ by."""
BLOCKS = {"probe": 0, "cut": 2}


class Jobs:
    """Both sides of recipe ``name`` (see `benchmarks.job_config`), writing below ``scratch``. ``group``: see
    `data.group`."""

    def __init__(self, name: str, data: Path, weights: Path, group: str, scratch: Path) -> None:
        self.name, self.data, self.weights, self.group, self.scratch = name, data, weights, group, scratch
        self.found: dict[str, dict[str, float]] = {}

    def cold(self) -> None:
        shutil.rmtree(self.scratch / "cold", ignore_errors=True)
        self.found["tl_jax, cold"] = self._ours(self.scratch / "cold")

    def warm(self) -> None:
        self.found["tl_jax, warm"] = self._ours(self.scratch / "warm")

    def torch(self) -> None:
        command = [f"--data={self.data}", f"--weights={self.weights}"]
        command += [f"--blocks={BLOCKS[self.name]}", f"--lr={LR[self.name]}"]
        self.found["PyTorch"] = json.loads(run("benchmarks.torch_job", *command).splitlines()[-1])

    def _ours(self, programs: Path) -> dict[str, float]:
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            run(
                "tl_jax.main",
                f"--config={ROOT / 'benchmarks' / 'job_config.py'}:{self.name}",
                f"--config.data.root={self.data}",
                f"--config.data.group={self.group}",
                f"--config.data.cache={folder}/pictures",
                f"--config.cache.dir={folder}/prefix",
                f"--config.model.pretrained={self.weights}",
                f"--config.compilation_cache={programs}",
                f"--workdir={folder}/run",
            )
            result = json.loads((Path(folder) / "run" / "result.json").read_text())
        confusion = result["test"]["confusion"]["at_0.5"]
        right, everything = sum(confusion[i][i] for i in range(2)), sum(map(sum, confusion))
        return {"accuracy": right / everything, "auroc": result["test"]["auroc"]["value"]}


def main(name: str, description: str, argv: Sequence[str]) -> int:
    """The command of a benchmark of recipe ``name``."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--data", help="folder train/ val/ test/ of classes; without it, simulated X-rays")
    parser.add_argument("--group", default="", help="what names the patient in a file's name")
    parser.add_argument("--weights", help="Hugging Face folder of a ViT; without it, a ViT-Tiny at random")
    parser.add_argument("--rounds", type=int, default=3, help="clean samples of each side (%(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="of each side; 0: one for each processor")
    record.add_flag(parser)
    flags = parser.parse_args(argv)
    threads = set_threads(flags.threads)
    print(f"{record.describe()}; {threads} threads a side, median of {flags.rounds} samples", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if flags.data:
            data, group = Path(flags.data).resolve(), flags.group
        else:
            print("the X-rays are simulated: no patients", flush=True)
            data, group = xrays.write(scratch / "pictures"), xrays.GROUP
        weights = Path(flags.weights).resolve() if flags.weights else None
        if weights is None:
            print("the weights are random: both sides learn little, and take as long", flush=True)
            weights = scratch / "weights"
            run("benchmarks.random_weights", str(weights))
        jobs = Jobs(name, data, weights, group, scratch)
        jobs.warm()
        ways = {"tl_jax, cold": jobs.cold, "tl_jax, warm": jobs.warm, "PyTorch": jobs.torch}
        found = pairs.turns(ways, rounds=flags.rounds, warm_up=0)
    report(name, jobs.found, found, flags.json)
    return 0


def report(
    name: str, measures: dict[str, dict[str, float]], found: dict[str, pairs.Samples], path: str
) -> None:
    """Prints and records. Raises `pairs.Different` where the sides have not learnt the same."""
    for key in ("accuracy", "auroc"):
        values = {side: round(of[key], 3) for side, of in measures.items()}
        if max(values.values()) - min(values.values()) > NEAR:
            raise pairs.Different(f"{key} on the test split differs by more than {NEAR}: {values}")
    print("               seconds   ratio   accuracy   AUROC")
    ratios = {side: found["PyTorch"].median / samples.median for side, samples in found.items()}
    for side, samples in found.items():
        learnt = f"{measures[side]['accuracy']:>10.3f} {measures[side]['auroc']:>7.3f}"
        print(f"{side:<14} {samples.median:>7.1f} {ratios[side]:>7.2f} {learnt}")
    record.write(path, name, dict(measures=measures, ratios=ratios), found)


def run(module: str, *arguments: str) -> str:
    """What ``python -m module`` prints. Raises `pairs.NoResult` where it fails."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    if done.returncode:
        raise pairs.NoResult(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
