"""``python -m tl_jax.soup --workdir=RUN --others=RUN,… [--output=FOLDER]``

One network whose weights are the mean of those of finished runs that began with the same pretrained network,
such as several seeds of a config (model soups: Wortsman et al. 2022, the uniform one). It costs what one run
costs. ``--output``, by default RUN/soup, is then the folder of a run for the commands with a ``--workdir``.
Calibration and threshold are fitted to the validation split anew, and the test split is measured with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from absl import flags as absl_flags

from tl_jax import command, derived, flags
from tl_jax.text_table import aligned, decimals

if TYPE_CHECKING:
    from pathlib import Path

    from tl_jax.backbones.anatomy import Backbone
    from tl_jax.finished import Finished


def _define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_string("others", "", "the other finished runs, by commas", flag_values=values)
    absl_flags.DEFINE_string("output", "", "the folder to write (default: RUN/soup)", flag_values=values)
    absl_flags.register_validator(
        "others", bool, "is missing; name one finished run or more", flag_values=values
    )


def main(argv: list[str]) -> int:
    options = (parsed := flags.parse(argv, define=_define, takes_config=False)).flags

    from tl_jax.compilation import use_cache
    from tl_jax.finished import open_run

    output = derived.folder(options.output or f"{parsed.workdir}/soup")
    runs = [open_run(name.strip()) for name in (parsed.workdir, *options.others.split(","))]
    if wrong := problems(runs):
        raise ValueError("these runs cannot be averaged:\n  " + "\n  ".join(wrong))
    use_cache(runs[0].config.compilation_cache)
    soup = replace(runs[0], model=averaged([run.model for run in runs]))
    found = measure(soup, output)
    named, weights = [str(run.workdir.root) for run in runs], soup.result["weights"]
    derived.write(soup, output, **found, weights=weights, soup=named)
    print(_compared(runs, found["val"]))
    print("test:")
    print(soup.task.table(found["test"]))
    print(f"{output}: the mean of {len(runs)} runs")
    return 0


def problems(runs: Sequence[Finished]) -> list[str]:
    """Why the weights of these runs cannot be averaged: each is compared with the first."""
    from tl_jax.backbones.anatomy import split

    def facts(run: Finished) -> dict[str, Any]:
        _, params, stats = split(run.model)
        return {
            "task": run.config.task,
            "classes": run.classes,
            "network": {path: leaf.shape for path, leaf in {**params, **stats}.items()},
            "pretrained weights": run.result.get("weights", {}).get("identity"),
            "data": run.fingerprint,
            "reading of examples": run.reading,
        }

    first, found = facts(runs[0]), []
    names = [str(run.workdir.root.resolve()) for run in runs]
    for name, run in zip(names, runs, strict=True):
        own = facts(run)
        if others := [what for what in own if own[what] != first[what]]:
            found.append(f"{name} differs from {names[0]} in its {', '.join(others)}")
        if not own["pretrained weights"]:
            found.append(f"{name} did not begin with pretrained weights, or does not say with which")
        if names.count(name) > 1:
            found.append(f"{name} is named {names.count(name)} times")
    return list(dict.fromkeys(found))


def averaged(models: Sequence[Backbone]) -> Backbone:
    """The network whose every parameter and BatchNorm statistic is the mean of theirs, which have the same
    shapes. Sums are in float64."""
    import jax
    import numpy as np

    from tl_jax.backbones.anatomy import merge, split

    graph, *_ = split(models[0])
    each = jax.device_get([split(model)[1:] for model in models])

    def mean(which: int) -> dict[str, Any]:
        return {
            path: np.mean([one[which][path] for one in each], axis=0, dtype=np.float64).astype(leaf.dtype)
            for path, leaf in each[0][which].items()
        }

    return merge(graph, mean(0), mean(1))


def measure(run: Finished, output: Path) -> dict[str, Any]:
    """What result.json says of a run whose network was not measured yet; ``output`` gets its predictions.
    Raises ValueError where the run's data are others now."""
    from tl_jax.finish import measured
    from tl_jax.workdir import Workdir

    data, settings = run.own_data(print), run.config.evaluation
    logits = {"val": run.logits(data.val), "test": run.logits(data.test)}
    write = run.writer(settings) if run.task.sequence else None
    return measured(run.task, data, logits, Workdir(output), settings=settings, write=write)


def _compared(runs: Sequence[Finished], measures: dict[str, Any]) -> str:
    """Validation, by which alone it may be decided whether the mean is worth more than one of them."""
    judged = runs[0].task.judged
    each = [(str(run.workdir.root), run.result["val"][judged]["value"]) for run in runs]
    rows = [["validation", judged.replace("_", " ")]]
    rows += [[name, decimals(value)] for name, value in [*each, ("their mean", measures[judged]["value"])]]
    return "\n".join(aligned(rows, left=1))


if __name__ == "__main__":
    command.run(main)
