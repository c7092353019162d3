"""What is lost on other pictures? Finished runs on corrupted versions of their test pictures, in pairs.

    python -m experiments.robustness --workdir=FOLDER [--against=RUN,RUN,…] [--reference=ARM]
        [--adapt=batch_norm] [--adapt=coral] [--corruptions=contrast,noise,blur] [--severities=1,2,3,4,5]
        [--measure=auroc]

FOLDER is that of a finished run, to be compared with those of ``--against``, or that of an experiment with
finished runs, such as `experiments.seeds` of two configs. Nothing is trained: every run measures, with its
own calibration and threshold, its test pictures as they are and with each corruption (docs/data.md) at each
severity. Told are accuracy and calibration against severity; which arm loses less, and by how much, for the
mean of all versions (Kumar et al. 2022 found that a head trained first loses less); the mean corruption error
relative to ``--reference`` (Hendrycks and Dietterich 2019); and whether a run notices that pictures are not
what it knows, by the energy of its logits (Liu et al. 2020). With ``--adapt`` each run is an arm once more,
fitted to each version's test pictures without their labels (docs/adaptation.md).

FOLDER gets robustness.txt, .csv, .json and .png, a page, and robustness-pictures.png with what was shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags as absl_flags

from tl_jax import command, flags, schema
from tl_jax.completion import ConfigError, Problem
from tl_jax.lab import command as lab

if TYPE_CHECKING:
    from collections.abc import Sequence


def define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_list(
        "corruptions", list(schema.CORRUPTIONS), 'each may be several, as "noise+blur"', flag_values=values
    )
    absl_flags.DEFINE_list("severities", ["1", "2", "3", "4", "5"], "from 1 to 5", flag_values=values)
    absl_flags.DEFINE_list("against", [], "folders of other finished runs", flag_values=values)
    absl_flags.DEFINE_multi_enum(
        "adapt", [], schema.ADAPTATIONS, "adaptation without labels; may be given twice", flag_values=values
    )
    absl_flags.DEFINE_string(
        "reference",
        "",
        "the arm that corruption errors are relative to (default: the first)",
        flag_values=values,
    )
    absl_flags.DEFINE_string(
        "measure", "", "what arms are judged by (default: auroc, or accuracy)", flag_values=values
    )


def main(argv: list[str]) -> int:
    parsed = flags.parse(argv, define=define, takes_config=False)
    given = parsed.flags
    wanted = versions(given.corruptions, given.severities)

    from tl_jax.lab import robustness, robustness_tables

    root = Path(parsed.workdir)
    records, missing = robustness.finished(root, [Path(one) for one in given.against])
    found = robustness.measured(
        root,
        records,
        wanted,
        adapt=given.adapt,
        measure=given.measure,
        reference=given.reference,
        missing=missing,
    )
    lab.tell(parsed, robustness_tables.told(found), robustness.of_a_grid(records))
    return 0


def versions(corruptions: Sequence[str], severities: Sequence[str]) -> list[tuple[str, int]]:
    """Every corruption at every severity. Raises `ConfigError` with all that there are not."""
    problems = []
    named, levels = (schema.CHECKS[f"data.shift.{key}"] for key in ("corruption", "severity"))
    for name in corruptions:
        text = named.problem(name) if name else "is empty"
        problems += [Problem("--corruptions", text)] if text else []
    wrong = [text for text in severities if not text.isdigit() or not levels.accepts(int(text))]
    if wrong or not severities:
        text = (
            f"found {', '.join(wrong) or 'none'}; give whole numbers from 1 to 5, such as --severities=1,3,5"
        )
        problems.append(Problem("--severities", text))
    if not corruptions:
        problems.append(Problem("--corruptions", f"found none; there are {', '.join(schema.CORRUPTIONS)}"))
    if problems:
        raise ConfigError(problems, "the command line")
    return [
        (name, severity)
        for name in dict.fromkeys(corruptions)
        for severity in sorted({int(text) for text in severities})
    ]


if __name__ == "__main__":
    command.run(main)
