"""Finished runs on corrupted versions of their test pictures: what each arm loses out of distribution."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from tl_jax import compilation
from tl_jax.data import Split
from tl_jax.data.shift import Shift
from tl_jax.data.sources.errors import counted
from tl_jax.finished import Finished, open_run
from tl_jax.lab.compare import Comparison, answers, arms, combined, own_test, predictions, rises
from tl_jax.lab.records import RECORDS, Record, Records
from tl_jax.pooled import Fold
from tl_jax.workdir import Workdir, WorkdirError


@dataclass(frozen=True)
class Shifted:
    """``within``: on the test pictures as they are; ``versions``: (corruption, severity) → on those; every
    comparison is of the same arms. ``measure``: what arms are judged by. ``missing``: what was left out."""

    within: Comparison
    versions: Mapping[tuple[str, int], Comparison]
    measure: str
    missing: Sequence[str] = ()

    def at(self, severity: int | None = None) -> Comparison:
        """Out of distribution: the mean over all versions, or over those of one severity."""
        chosen = [one for (_, own), one in self.versions.items() if severity in (None, own)]
        return combined([(1 / len(chosen), one) for one in chosen])

    @property
    def lost(self) -> Comparison:
        """From within to out of distribution; of the measure that arms are judged by, more is worse."""
        sign = 1 if rises(self.measure) else -1
        return combined([(sign, self.within), (-sign, self.at())])

    @property
    def severities(self) -> list[int]:
        return sorted({severity for _, severity in self.versions})


def finished(root: Path) -> tuple[list[Record], list[str]]:
    """The finished runs of a grid, of the seeds that all its arms have; and the names of the others. Raises
    WorkdirError where there are none."""
    last = {line["name"]: line for line in Records(root / RECORDS).read()}
    records = [line for name, line in last.items() if Workdir(root / name).result.exists()]
    if not records:
        raise WorkdirError(
            f"--workdir={root} holds no finished runs of a grid ({RECORDS}): give the folder of an "
            "experiment, such as one of experiments.seeds"
        )
    seeds: dict[str, set[int]] = {}
    for line in records:
        seeds.setdefault(line["variation"], set()).add(line["seed"])
    common = set.intersection(*seeds.values())
    kept = [line for line in records if line["seed"] in common]
    if not kept:
        raise WorkdirError(f"{root}: its arms have no seed in common")
    return kept, [line["name"] for line in records if line["seed"] not in common]


def measured(
    root: Path,
    records: Sequence[Record],
    versions: Sequence[tuple[str, int]],
    *,
    measure: str = "",
    missing: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> Shifted:
    """The runs, each with its own decision, on every version of their test pictures. Pictures are read once,
    and corrupted once a version; all networks stay in memory meanwhile.

    Raises ValueError where the runs cannot be compared, or pictures are not those they were measured on.
    """
    runs = {line["name"]: open_run(root / line["name"]) for line in records}
    config = next(iter(runs.values())).config
    settings = config.evaluation
    compilation.use_cache(config.compilation_cache)
    within = Comparison(arms(records, partial(predictions, root)), settings)
    measure, found = within.measure(measure), {}
    tests = _tests(runs)
    with compilation.shared():
        for corruption, severity in versions:
            began, shift = time.monotonic(), Shift(corruption, severity)
            changed = {name: _corrupted(split, shift) for name, split in tests.items()}
            told = arms(records, partial(_answers, runs, changed))
            found[corruption, severity] = Comparison(told, settings)
            seconds = time.monotonic() - began
            say(f"{corruption}, severity {severity}: {counted(len(runs), 'run')}, {seconds:.1f} s")
    return Shifted(within, found, measure, missing)


def _tests(runs: Mapping[str, Finished]) -> dict[str, Split]:
    """Test splits by the fingerprint of the data that they are of."""
    found: dict[str, Split] = {}
    for run in runs.values():
        if run.fingerprint not in found:
            found[run.fingerprint] = own_test(run)
    return found


def _corrupted(split: Split, shift: Shift) -> Split:
    images = [shift.corrupted(split.images[i], name) for i, name in enumerate(split.ids.tolist())]
    return replace(split, images=np.stack(images))


def _answers(runs: Mapping[str, Finished], tests: Mapping[str, Split], record: Record) -> Fold:
    run = runs[record["name"]]
    return answers(run, tests[run.fingerprint])
