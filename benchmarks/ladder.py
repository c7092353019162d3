"""A freeze ladder, every cut with every seed: one command of tl_jax against a loop over PyTorch scripts.

    python -m benchmarks.ladder --data=FOLDER --weights=FOLDER [--cuts=0,6,9,10,11,12] [--seeds=5]

tl_jax's side is `experiments.freeze_ladder` from nothing: no decoded picture, no compiled program and no
prefix is kept from before. PyTorch's is `benchmarks.torch_job` once for each cut and seed; as seeds take
equally long there, ``--torch_seeds`` of them are run, and their time is multiplied. Where tl_jax's time
went is told from the lines of its runs.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import jobs, pairs, record
from benchmarks.contention import Counters
from benchmarks.job_config import LR
from benchmarks.sides import set_threads
from tl_jax.lab.records import Records

DESCRIPTION = "A freeze ladder of a ViT-Tiny, every cut with every seed: tl_jax against PyTorch."
BLOCKS = 12


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ladder", description=DESCRIPTION)
    parser.add_argument("--data", type=Path, required=True, help="folder train/ val/ test/ of classes")
    parser.add_argument("--group", default="", help="what names the patient in a file's name")
    parser.add_argument(
        "--weights", type=Path, required=True, help="Hugging Face folder of a ViT of 12 blocks"
    )
    parser.add_argument("--cuts", default="0,6,9,10,11,12", help="numbers of frozen blocks (%(default)s)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--torch_seeds", type=int, default=1)
    record.add_flag(parser)
    flags = parser.parse_args(argv)
    threads = set_threads(0)
    print(f"{record.describe()}; {threads} threads a side", flush=True)
    cuts = [int(cut) for cut in flags.cuts.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        ours, records = _ours(flags, Path(folder))
    theirs = _theirs(flags, cuts)
    return _report(flags, ours, records, theirs)


def _ours(flags: argparse.Namespace, scratch: Path) -> tuple[pairs.Samples, list[dict[str, Any]]]:
    root = scratch / "ladder"
    command = [
        f"--config={jobs.ROOT / 'benchmarks' / 'job_config.py'}:full",
        f"--config.data.root={flags.data.resolve()}",
        f"--config.data.group={flags.group}",
        f"--config.data.cache={scratch}/pictures",
        f"--config.cache.dir={scratch}/prefix",
        f"--config.model.pretrained={flags.weights.resolve()}",
        f"--config.compilation_cache={scratch}/programs",
        f"--config.stages[0].duration={flags.epochs} epochs",
        f"--cuts={flags.cuts}",
        f"--seeds={flags.seeds}",
        f"--workdir={root}",
    ]
    found = _sample(lambda: print(jobs.run("experiments.freeze_ladder", *command), flush=True))
    return found, Records(root / "runs.jsonl").read()


def _theirs(flags: argparse.Namespace, cuts: Sequence[int]) -> dict[str, pairs.Samples]:
    found = {}
    for cut in cuts:
        for seed in range(flags.torch_seeds):
            name = f"cut {cut}, seed {seed}"
            command = [f"--data={flags.data}", f"--weights={flags.weights}", f"--lr={LR['full']}"]
            command += [f"--blocks={BLOCKS - cut}", f"--epochs={flags.epochs}", f"--seed={seed}"]
            told: list[str] = []
            found[name] = _sample(
                lambda told=told, c=command: told.append(jobs.run("benchmarks.torch_job", *c))
            )
            learnt = json.loads(told[0].splitlines()[-1])
            print(f"PyTorch, {name}: {found[name].median:.1f} s, AUROC {learnt['auroc']:.4f}", flush=True)
    return found


def _sample(call: Callable[[], object]) -> pairs.Samples:
    """Once, however busy the machine is: that is told. These jobs are too long to be tried again."""
    counters = Counters()
    before = counters.read(os.getpid())
    call()
    after = counters.read(os.getpid())
    return pairs.Samples((after.wall - before.wall,), (after.others_since(before),), 0)


def _report(
    flags: argparse.Namespace,
    ours: pairs.Samples,
    records: Sequence[dict[str, Any]],
    theirs: dict[str, pairs.Samples],
) -> int:
    total = ours.median
    prefix = sum(one["seconds"]["prefix"] for one in records)
    steps = sum(one["seconds"]["train"] for one in records) - prefix
    loop = sum(found.median for found in theirs.values()) * flags.seeds / flags.torch_seeds
    busiest = max(found.others[0] for found in (ours, *theirs.values()))
    print(f"{len(records)} runs of {flags.epochs} epochs")
    print(
        f"tl_jax    {total:>7.0f} s: steps {steps / total:.1%}, prefixes {prefix / total:.1%}, all else "
        f"{1 - (steps + prefix) / total:.1%}"
    )
    print(f"PyTorch   {loop:>7.0f} s, from {flags.torch_seeds} of {flags.seeds} seeds")
    print(f"tl_jax takes {total / loop:.3f} of the time; others kept at most {busiest:.2f} processors busy")
    facts = dict(
        cuts=flags.cuts,
        seeds=flags.seeds,
        epochs=flags.epochs,
        torch_seeds=flags.torch_seeds,
        share=total / loop,
        steps=steps / total,
        prefixes=prefix / total,
    )
    record.write(flags.json, "ladder", facts, {"tl_jax": ours, **theirs})
    return 0


if __name__ == "__main__":
    pairs.run(main)
