"""Does a larger data set cost more for each picture, or more memory? 1, 4 and 16 times as many pictures.

    python -m benchmarks.growth

Even the smallest set is larger than the memory it is allowed (`data.host_budget`, `data.device_budget`), so
that pictures stream. Each size is a process of its own, which says its time for a picture and its peak of
resident memory. With ``--prefix`` the lower blocks are frozen, and what they make of the pictures is computed
and kept on disk (`cache.prefix`) before the steps that are timed.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import pairs, record
from benchmarks.jobs import run
from tl_jax import memory

DESCRIPTION = "Time for a picture and peak memory with 1, 4 and 16 times the data."
TIMES = (1, 4, 16)
PICTURES, SIZE, BATCH, STEPS = 2048, 96, 32, 128
"""Of the smallest set; every size takes as many steps, so that only the set's size differs."""
ARCH = dict(
    model_type="vit",
    hidden_size=96,
    num_hidden_layers=4,
    num_attention_heads=3,
    intermediate_size=192,
    image_size=SIZE,
)
LIMIT = 1.1
"""How much more the largest may cost than the smallest."""


def one(pictures: int, prefix: bool, folder: str) -> dict[str, float]:
    """Trains on so many pictures in this process: seconds for a picture of training, peak of memory in MB."""
    from benchmarks import noise
    from tl_jax import run as train

    every, workdir = f"{STEPS} steps", Path(tempfile.mkdtemp(dir=folder))
    config = dict(
        batch_size=BATCH,
        log_every=f"{STEPS // 4} steps",
        data=dict(
            source=noise.source(pictures, 64, 64, SIZE),
            image_size=SIZE,
            cache=f"{folder}/pictures",
            host_budget=10**7,
            device_budget=0,
        ),
        model=dict(arch=ARCH),
        cache=dict(prefix="on" if prefix else "off", dir=str(workdir / "kept")),
        compilation_cache=f"{folder}/programs",
        select=dict(every=every),
        checkpoint=dict(every=every),
        evaluation=dict(bootstrap=0),
        stages=[dict(train="last 1" if prefix else "all", duration=every)],
    )
    began = time.perf_counter()
    train(config, workdir / "run")
    lines = [json.loads(line) for line in (workdir / "run" / "metrics.jsonl").read_text().splitlines()]
    rates = [line["examples_per_second"] for line in lines if "examples_per_second" in line]
    return {
        "milliseconds": 1e3 / float(np.median(rates[1:])),  # the first holds what is done once
        "whole": time.perf_counter() - began,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=DESCRIPTION)
    parser.add_argument(
        "--prefix", action="store_true", help="freeze the lower blocks and keep their outputs"
    )
    parser.add_argument("--rounds", type=int, default=1, help="clean samples of each size (%(default)s)")
    parser.add_argument("--one", type=int, help="train on so many pictures here, and print a line of JSON")
    parser.add_argument("--folder", help="of --one: where pictures and programs are kept")
    record.add_flag(parser)
    flags = parser.parse_args(argv)
    if flags.one:
        print(json.dumps(one(flags.one, flags.prefix, flags.folder)))
        return 0
    found: dict[str, list[dict[str, float]]] = {f"{times}×": [] for times in TIMES}
    with tempfile.TemporaryDirectory() as folder:

        def way(name: str, pictures: int) -> Any:
            def call() -> None:
                command = [f"--one={pictures}", f"--folder={folder}", *["--prefix"] * flags.prefix]
                found[name].append(json.loads(run("benchmarks.growth", *command).splitlines()[-1]))

            return call

        ways = {f"{times}×": way(f"{times}×", times * PICTURES) for times in TIMES}
        # The first call decodes the pictures.
        samples = pairs.turns(ways, rounds=flags.rounds, warm_up=1)
    print(f"{record.describe()}; a ViT of 4 layers, {SIZE} px, batch of {BATCH}, {STEPS} steps")
    print("pictures   ms a picture   peak MB")
    medians = {
        name: {key: float(np.median([run[key] for run in runs[1:]])) for key in ("milliseconds", "megabytes")}
        for name, runs in found.items()
    }
    for times, values in zip(TIMES, medians.values(), strict=True):
        print(f"{times * PICTURES:>8} {values['milliseconds']:>14.2f} {values['megabytes']:>9.0f}")
    first, last = medians[f"{TIMES[0]}×"], medians[f"{TIMES[-1]}×"]
    ratios = {key: last[key] / first[key] for key in first}
    print(f"{TIMES[-1]}× ÷ 1×: time {ratios['milliseconds']:.2f}, memory {ratios['megabytes']:.2f}")
    record.write(flags.json, "growth", dict(prefix=flags.prefix, medians=medians, ratios=ratios), samples)
    return 0 if max(ratios.values()) <= LIMIT else 1


if __name__ == "__main__":
    memory.tune()  # as a command of tl_jax does
    pairs.run(main)
