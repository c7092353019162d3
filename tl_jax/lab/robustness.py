"""Finished runs on corrupted versions of their test pictures: what each arm loses, and whether it notices."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from tl_jax import compilation
from tl_jax.adaptation import Adapter
from tl_jax.data import Split
from tl_jax.data.shift import Shift
from tl_jax.data.sources.errors import counted
from tl_jax.evaluation.estimate import Estimate
from tl_jax.evaluation.novelty import Novelty
from tl_jax.finished import Finished, open_run
from tl_jax.lab.compare import Comparison, answers, arms, combined, estimate, own_test, predictions, rises
from tl_jax.lab.records import RECORDS, Record, Records
from tl_jax.pooled import Fold
from tl_jax.tasks import classes_only
from tl_jax.workdir import Workdir, WorkdirError

Version = tuple[str, int]


@dataclass(frozen=True)
class Robustness:
    """``within``: on the test pictures as they are; ``versions``: (corruption, severity) → on those, with
    ``ood_auroc`` beside the other measures; every comparison is of the same arms. ``measure``: what arms are
    judged by; ``reference``: the arm that corruption errors are relative to. ``shown``: (corruption,
    severity) → one test picture (h, w, c) uint8, and ("", 0) → it as it is. ``missing``: what was left
    out."""

    within: Comparison
    versions: Mapping[Version, Comparison]
    measure: str
    reference: str
    shown: Mapping[Version, np.ndarray]
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

    @property
    def corruptions(self) -> list[str]:
        return list(dict.fromkeys(name for name, _ in self.versions))

    def corruption_errors(self, arm: str, *, relative: bool = False) -> dict[str, Estimate]:
        """Corruption → the arm's error, summed over severities, as a share of the reference's; and "mean",
        which is the mCE (Hendrycks and Dietterich 2019, section 4). ``relative``: of what errors rise by from
        pictures as they are. NaN where the reference makes no errors, or none more."""
        points, replicates = [], []
        for name in self.corruptions:
            both = [self._errors(name, one, relative) for one in (arm, self.reference)]
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where(both[1] > 0, both[0] / both[1], np.nan)
            points.append(float(ratio[0]))
            replicates.append(ratio[1:])
        names = [*self.corruptions, "mean"]
        points.append(float(np.mean(points)))
        replicates.append(np.mean(replicates, axis=0))
        return dict(zip(names, map(estimate, points, replicates), strict=True))

    def _errors(self, corruption: str, arm: str, relative: bool) -> np.ndarray:
        """The sum over severities: its value first, then its replicates."""
        every = [one for (name, _), one in self.versions.items() if name == corruption]
        errors = np.sum([1 - _with_replicates(one, arm) for one in every], axis=0)
        return errors - len(every) * (1 - _with_replicates(self.within, arm)) if relative else errors


def _with_replicates(compared: Comparison, arm: str) -> np.ndarray:
    return np.concatenate([[compared.points[arm]["accuracy"]], compared.replicates[arm]["accuracy"]])


def finished(root: Path, against: Sequence[Path] = ()) -> tuple[list[Record], list[str]]:
    """Of a grid, the finished runs of the seeds that all its arms have, and the names of the others; or else
    the run in ``root`` and those in ``against``, an arm each. Raises WorkdirError where there are none."""
    if Workdir(root).config.exists():
        return _alone([root, *against]), []
    if against:
        raise WorkdirError(
            f"--against takes finished runs, to compare with the one in --workdir={root}: none is"
        )
    last = {line["name"]: line for line in Records(root / RECORDS).read()}
    records = [line for name, line in last.items() if Workdir(root / name).result.exists()]
    if not records:
        raise WorkdirError(
            f"--workdir={root} holds neither a finished run nor those of a grid ({RECORDS}): give the folder "
            "of a run, or of an experiment such as experiments.seeds"
        )
    seeds: dict[str, set[int]] = {}
    for line in records:
        seeds.setdefault(line["variation"], set()).add(line["seed"])
    common = set.intersection(*seeds.values())
    kept = [line for line in records if line["seed"] in common]
    if not kept:
        raise WorkdirError(f"{root}: its arms have no seed in common")
    return kept, [line["name"] for line in records if line["seed"] not in common]


def _alone(folders: Sequence[Path]) -> list[Record]:
    """Runs of no grid, as if they were of one: called by the shortest end of their paths that tells them
    apart."""
    whole = list(dict.fromkeys(folder.resolve() for folder in folders))
    parts = next(n for n in range(1, 99) if len({one.parts[-n:] for one in whole}) == len(whole))
    names = ["/".join(one.parts[-parts:]).lstrip("/") for one in whole]
    return [
        {"name": str(one), "variation": name, "seed": 0, "facts": {}}
        for one, name in zip(whole, names, strict=True)
    ]


def of_a_grid(records: Sequence[Record]) -> list[Record]:
    """Those that have a line in a grid's records."""
    return [one for one in records if "config" in one]


def measured(
    root: Path,
    records: Sequence[Record],
    versions: Sequence[Version],
    *,
    adapt: Sequence[str] = (),
    measure: str = "",
    reference: str = "",
    missing: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> Robustness:
    """The runs, each with its own decision, on every version of their test pictures. Pictures are read once,
    and corrupted once a version; all networks stay in memory meanwhile. ``adapt``: ways of
    `tl_jax.adaptation` in which each run is an arm once more, fitted to each version without its labels.

    Raises ValueError where the runs cannot be compared, or pictures are not those they were measured on.
    """
    runs = {line["name"]: open_run(root / line["name"]) for line in records}
    texts = [name for name, run in runs.items() if run.model.spec.text is not None]
    if texts:
        raise ValueError(f"corruptions are of pictures; these runs read texts: {', '.join(texts)}")
    config = next(iter(runs.values())).config
    settings = config.evaluation
    compilation.use_cache(config.compilation_cache)
    tests = _tests(runs)
    adapters = {(name, how): Adapter(run, how) for how in adapt for name, run in runs.items()}
    every = [*records, *(_adapted(line, how) for how in adapt for line in records)]
    answered = partial(_answers, runs, adapters)

    def as_they_are(record: Record) -> Fold:
        return answered(tests, record) if "how" in record else predictions(root, record)

    with compilation.shared():
        known = arms(every, as_they_are)
    classes_only(next(iter(known.values()))[0].task, "a test of robustness")
    within = Comparison(known, settings)
    measure, found = within.measure(measure), {}
    reference = reference or next(iter(known))
    if reference not in known:
        raise ValueError(f"--reference={reference}: the arms are {', '.join(known)}")
    one = next(iter(tests.values()))
    shown: dict[Version, np.ndarray] = {("", 0): one.images[0]}
    with compilation.shared():
        for corruption, severity in versions:
            began, shift = time.monotonic(), Shift(corruption, severity)
            changed = {name: _corrupted(split, shift) for name, split in tests.items()}
            told = arms(every, partial(answered, changed))
            novelty = {arm: list(map(Novelty, known[arm], told[arm])) for arm in told}
            found[corruption, severity] = Comparison(told, settings, beside=novelty)
            shown[corruption, severity] = next(iter(changed.values())).images[0]
            seconds = time.monotonic() - began
            say(f"{corruption}, severity {severity}: {counted(len(runs), 'run')}, {seconds:.1f} s")
    return Robustness(within, found, measure, reference, shown, missing)


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


def _adapted(record: Record, how: str) -> Record:
    """The run as an arm of its own, fitted to what it is measured on."""
    arm = record["facts"].get("arm", record["variation"])
    return {**record, "facts": {"arm": f"{arm} + {how}"}, "how": how}


def _answers(
    runs: Mapping[str, Finished],
    adapters: Mapping[tuple[str, str], Adapter],
    tests: Mapping[str, Split],
    record: Record,
) -> Fold:
    run = runs[record["name"]]
    pictures = tests[run.fingerprint]
    if "how" in record:
        run = adapters[record["name"], record["how"]](pictures)
    return answers(run, pictures)
