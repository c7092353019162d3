"""Steps of training and forward passes, tl_jax against PyTorch, on the same random pictures or texts.

    python -m benchmarks.steps                                    # all, minutes
    python -m benchmarks.steps --model=resnet50 --part=all

Parts: all of the network learns; its upper half; its last level (of a ViT: quarter); forward pass only.
Both sides start from the same weights, and their losses at the first step must agree, so that the same
work is compared; networks that read texts have dropout, as they come, and there the losses of a forward pass
without it must. The frozen part runs at every step on both sides.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import pairs, record
from benchmarks.models import MODELS, SIZE
from benchmarks.sides import Side, set_threads
from tl_jax import memory

DESCRIPTION = "Steps of training and forward passes, tl_jax against PyTorch."
PARTS = ("all", "half", "last", "forward")
TOLERANCE = 1e-3
SAMPLE = 1.0  # seconds that a sample lasts at least


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps", description=DESCRIPTION)
    parser.add_argument("--model", choices=MODELS, nargs="+", default=list(MODELS))
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=7, help="clean samples of each side (%(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="of each side; 0: one for each processor")
    record.add_flag(parser)
    flags = parser.parse_args(argv)
    threads = set_threads(flags.threads)
    print(f"{record.describe()}; {threads} threads a side, median of {flags.rounds} samples, examples/s")
    print("model      batch  part       tl_jax  PyTorch   ratio")
    contended = False
    for name in flags.model:
        model = MODELS[name]
        trained = {part: model.trained(part) for part in flags.part if part != "forward"}
        with Pair(model.arch, trained, model.batch, tokens=model.tokens) as pair:
            for part in flags.part:
                print(f"{model.title:<10} {model.batch:>5}  {part:<8} ", end="", flush=True)
                try:
                    steps, found = pair.compare(part, flags.rounds)
                except pairs.Contended as error:
                    contended = True
                    print(f"no result: {error}")
                    continue
                rates = {side: steps * model.batch / samples.median for side, samples in found.items()}
                ratio = rates["tl_jax"] / rates["torch"]
                print(f"{rates['tl_jax']:>8.1f} {rates['torch']:>8.1f} {ratio:>7.2f}", flush=True)
                facts = dict(model=name, part=part, batch=model.batch, steps=steps)
                record.write(
                    flags.json, "steps", {**facts, "images_per_second": rates, "ratio": ratio}, found
                )
    return 1 if contended else 0


class Pair:
    """Both sides with one network, that reads pictures, or texts of ``tokens`` tokens. ``trained``: blocks
    that learn, by part."""

    def __init__(
        self,
        arch: Mapping[str, Any],
        trained: Mapping[str, int],
        batch: int,
        size: int = SIZE,
        tokens: int = 0,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        weights = str(Path(self._folder.name) / "model")
        pages = memory.wanted()  # as a command of tl_jax has them
        given = (arch, trained, batch, size, tokens)
        ours = Side("tl_jax", "benchmarks.steps_jax:Steps", *given, environment=pages)
        self.sides = {"tl_jax": ours}
        try:
            ours.call("export", weights)
            self.sides["torch"] = Side(
                "torch", "benchmarks.steps_torch:Steps", trained, batch, size, weights, tokens
            )
        except BaseException:
            self.close()
            raise

    def compare(self, part: str, rounds: int) -> tuple[int, dict[str, pairs.Samples]]:
        """Steps in a sample, and the samples of both sides. Raises `pairs.Different`, `pairs.Contended`."""
        self.check(part)
        began = time.perf_counter()
        for side in self.sides.values():
            side.call("take", 2)
        once = (time.perf_counter() - began) / (2 * len(self.sides))
        steps = math.ceil(SAMPLE / once)
        ways = {name: partial(side.call, "take", steps) for name, side in self.sides.items()}
        return steps, pairs.turns(ways, rounds=rounds, pids={n: side.pid for n, side in self.sides.items()})

    def check(self, part: str) -> None:
        """Takes the first step. Raises `pairs.Different` where the losses do not agree."""
        losses = {name: side.call("start", part) for name, side in self.sides.items()}
        if not abs(losses["tl_jax"] - losses["torch"]) <= TOLERANCE:
            found = ", ".join(f"{loss:.6f} of {name}" for name, loss in losses.items())
            raise pairs.Different(
                f"part {part!r}: the losses of the first step differ by more than {TOLERANCE}: {found}"
            )

    def close(self) -> None:
        for side in self.sides.values():
            side.close()
        self._folder.cleanup()

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


if __name__ == "__main__":
    pairs.run(main)
