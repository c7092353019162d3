"""``python -m tl_jax.evaluate --workdir=RUN --data.root=FOLDER [--data.KEY=VALUE …] [--by=site,sex]``

A finished run on other labelled pictures, with its own calibration and threshold: over all of them and,
with ``--by``, for each value of the named columns (of a CSV manifest). Every key of ``config.data``
(docs/config.md) can be set; what is not set stays as the run had it. ``--data.shift.corruption=noise`` and
``--data.shift.severity=5``, for one, measure it on corrupted pictures. ``--evaluation.prevalence``,
``--evaluation.bootstrap`` and ``--evaluation.batch_size`` can be set too. Splits and folds are not looked
at: every picture counts.

evaluation.json and predictions.csv go to ``--output``, or to a new folder in RUN/evaluations.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from absl import flags as absl_flags

from tl_jax import agreement, command, flags, outputs, overrides, schema
from tl_jax.completion import ConfigError, Problem

if TYPE_CHECKING:
    from ml_collections import ConfigDict

SETTABLE = re.compile(r"\A--?(?:config\.)?((?:data|evaluation)[.\[])")
FIXED = {
    "data.image_size": "the network",
    "data.canvas": "training",
    "data.fit": "the network",
    "evaluation.threshold": "the run's validation",
    "evaluation.positive": "the run",
}
"""Keys that stay as they were, and what has settled them."""


def _define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_list("by", [], "columns whose values are measured apart", flag_values=values)
    absl_flags.DEFINE_string(
        "output", "", "the folder to write (default: a new one in RUN/evaluations)", flag_values=values
    )


def main(argv: list[str]) -> int:
    # --data.root=… is --config.data.root=… of the run's own config.
    sets, rest = overrides.take([SETTABLE.sub(r"--config.\1", argument) for argument in argv[1:]])
    parsed = flags.parse([argv[0], *rest], define=_define, takes_config=False)
    began = time.monotonic()

    from tl_jax import config as configs
    from tl_jax import data, subgroups
    from tl_jax.compilation import use_cache
    from tl_jax.finish import predictions
    from tl_jax.finished import open_run
    from tl_jax.workdir import write_json, write_text
    from tl_jax.writing import judged

    output = outputs.folder(parsed.flags.output) if parsed.flags.output else None
    run = open_run(parsed.workdir)
    config = changed(run.config, sets)
    settings = config.data.copy_and_resolve_references()
    if not any("config.data.classes" in argument for argument in sets):
        _limit_to_known(settings, run.classes)
    use_cache(config.compilation_cache)
    pictures, notes = data.load_labelled_by(
        run.reader(), settings, classes=run.classes, say=print, labels=run.task.labels
    )
    for line in notes:
        print(line)
    if not any("config.data." in argument and "data.shift." not in argument for argument in sets):
        print(f"note: these are the run's own {run.noun}s, those it was trained on and tuned by among them")
    groups = subgroups.find(pictures, parsed.flags.by)
    logits = run.logits(pictures, config.evaluation.batch_size)
    if run.task.sequence:
        pictures, logits = judged(run.task, pictures, logits, run.writer(config.evaluation))

    def measure(rows: Any) -> dict[str, Any]:
        return run.task.measure(
            logits[rows],
            pictures.labels[rows],
            pictures.groups[rows],
            names=run.classes,
            decision=run.decision,
            settings=config.evaluation,
        )

    overall = measure(slice(None))
    by = {column: {name: measure(rows) for name, rows in values.items()} for column, values in groups.items()}
    print(f"{len(pictures)} {run.noun}s, measured with the run's own calibration and threshold:")
    print(run.task.table(overall))
    for column, values in by.items():
        print(subgroups.table(column, values, run.task.judged))

    output = output or _new_folder(run.workdir.root, config.data)
    write_text(output / "predictions.csv", predictions(run.task, pictures, logits, run.classes, run.decision))
    plain = json.loads(configs.to_json(config))
    result = {
        "overall": overall,
        "by": by,
        "classes": list(run.classes),
        "decision": run.decision.to_dict(),
        "data": plain["data"],
        "evaluation": plain["evaluation"],
        "notes": list(notes),
        "run": {"workdir": str(run.workdir.root), "weights": run.result.get("weights")},
        "seconds": time.monotonic() - began,
    }
    write_json(output / "evaluation.json", result)
    print(f"{output}: evaluation.json, predictions.csv")
    return 0


def changed(config: ConfigDict, sets: list[str]) -> ConfigDict:
    """The run's config with the flags applied. A wrong flag ends the process with exit code 2."""
    problems = []
    for argument in sets:
        key = argument.partition("=")[0].lstrip("-").removeprefix("config.")
        if key in FIXED:
            problems.append(Problem(f"--{key}", f"cannot be set: {FIXED[key]} has settled it"))
        elif not key.startswith(("data.", "evaluation.")):
            problems.append(Problem(f"--config.{key}", "cannot be set: only data.* and evaluation.* can"))
    if not problems:
        config, problems = overrides.apply(config, sets)
        # What this command does not use may well have been right for the run.
        own = [*schema.problems(config), *agreement.problems(config)]
        problems += [problem for problem in own if problem.path.startswith(("data.", "evaluation."))]
    if problems:
        print(ConfigError(problems, "the command line"), file=sys.stderr)
        raise SystemExit(2)
    return config


def _limit_to_known(settings: ConfigDict, classes: tuple[str, ...]) -> None:
    """Where the run was limited to some classes, so is this; but they need not all be there."""
    from tl_jax.data import sources

    if not settings.classes:
        return
    with settings.unlocked(), settings.ignore_type():
        settings.classes = ()
        there = set(sources.read(settings, training=False).labels.tolist())
        settings.classes = tuple(name for name in classes if name in there)


def _new_folder(root: Path, settings: ConfigDict) -> Path:
    """RUN/evaluations/<what the data are called, and how they are shifted>, with a number if that one is
    there already."""
    from tl_jax.data.shift import Shift

    named = PurePath(settings.manifest).stem if settings.manifest else PurePath(settings.root).name
    name = re.sub(r"[^\w.=+-]+", "-", named or settings.name or str(settings.source)).strip("-") or "data"
    name = "-".join([name, *Shift.of(settings.shift).words])
    folder, number = root / "evaluations" / name, 1
    while folder.exists():
        number += 1
        folder = folder.with_name(f"{name}-{number}")
    return folder


if __name__ == "__main__":
    command.run(main)
