"""``python -m tl_jax.predict --workdir=RUN --input=FILE_OR_FOLDER --output=predictions.csv``

Calibrated probabilities and the decision of a finished run for new pictures, prepared as in training.
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

from absl import flags as absl_flags

from tl_jax import command, flags


def _define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_string("input", "", "a picture, or a folder of them", flag_values=values)
    absl_flags.DEFINE_string("output", "predictions.csv", "the CSV file to write", flag_values=values)
    absl_flags.DEFINE_integer("batch_size", 64, "pictures at once", 1, flag_values=values)
    absl_flags.DEFINE_enum(
        "on_bad_image", "error", ["error", "skip"], "what to do with unreadable pictures", flag_values=values
    )


def main(argv: list[str]) -> int:
    parsed = flags.parse(argv, define=_define, takes_config=False)
    options = parsed.flags
    if not options.input:
        raise ValueError("--input is missing: name a picture or a folder of pictures")

    from tl_jax import evaluation
    from tl_jax.compilation import use_cache
    from tl_jax.finished import open_run, read_pictures
    from tl_jax.workdir import write_text

    run = open_run(parsed.workdir)
    use_cache(run.config.compilation_cache)
    pictures = read_pictures(run, options.input, max_pixels=run.config.data.max_pixels)
    if pictures.failed:
        told = "\n  ".join(pictures.failed[:20])
        more = f"\n  … and {len(pictures.failed) - 20} more" if len(pictures.failed) > 20 else ""
        text = f"{len(pictures.failed)} pictures cannot be read:\n  {told}{more}"
        if options.on_bad_image == "error":
            raise ValueError(f"{text}\n--on_bad_image=skip leaves them out")
        print(text, file=sys.stderr)
    logits = run.predictor().logits(*run.leaves(), pictures.images, options.batch_size)
    probabilities = evaluation.probabilities(logits, run.decision)
    decided = evaluation.decide(probabilities, run.decision)

    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["id", "decision", *(f"probability_{name}" for name in run.classes)])
    for name, row, choice in zip(pictures.names, probabilities, decided, strict=True):
        writer.writerow([name, run.classes[choice], *(f"{value:.6g}" for value in row)])
    write_text(Path(options.output), file.getvalue())
    print(f"{len(pictures)} pictures → {options.output}")
    return 0


if __name__ == "__main__":
    command.run(main)
