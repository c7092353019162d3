"""``python -m tl_jax.predict --workdir=RUN --input=FILE_OR_FOLDER [--output=predictions.csv]
[--heatmaps=FOLDER]``

Calibrated probabilities and the decision of a finished run for new pictures (DICOM too), prepared as in
training. The CSV file has a row for each picture: its path below the folder, the decision, the probabilities
and the logits. A run that learned from texts takes a CSV file with the column that it learned from, or a file
with one text a line, and calls each by its line. ``--heatmaps`` writes each picture, as the network saw it,
under the Grad-CAM of the decision: FOLDER/ID.png.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from absl import flags as absl_flags

from tl_jax import command, flags, outputs

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from tl_jax.data import Split
    from tl_jax.finished import Finished


_AT_ONCE = 512
"""Heat maps that are held in memory."""


def _define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_string(
        "input",
        "",
        "a picture, or a folder of them; texts: a CSV file, or one with a text a line",
        flag_values=values,
    )
    absl_flags.DEFINE_string("output", "predictions.csv", "the CSV file to write", flag_values=values)
    absl_flags.DEFINE_integer("batch_size", 0, "pictures at once; 0: as in training", 0, flag_values=values)
    absl_flags.DEFINE_string(
        "heatmaps", "", "a folder for pictures with heat maps (default: none are made)", flag_values=values
    )
    absl_flags.DEFINE_enum(
        "on_bad_image",
        "error",
        ["error", "skip"],
        "what to do with unreadable pictures, empty texts",
        flag_values=values,
    )
    absl_flags.register_validator(
        "input",
        bool,
        "is missing; name a picture, a folder of pictures or a file of texts",
        flag_values=values,
    )


def main(argv: list[str]) -> int:
    options = (parsed := flags.parse(argv, define=_define, takes_config=False)).flags

    from tl_jax.compilation import use_cache
    from tl_jax.data.sources.errors import counted
    from tl_jax.finished import open_run
    from tl_jax.text_table import comma_separated
    from tl_jax.workdir import write_text

    output = outputs.file(options.output)
    folder = outputs.folder(options.heatmaps, flag="heatmaps") if options.heatmaps else None
    run = open_run(parsed.workdir)
    if folder and run.tokenizer is not None:
        raise ValueError(
            f"--heatmaps={options.heatmaps}: heat maps are drawn on pictures, and here are texts"
        )
    use_cache(run.config.compilation_cache)
    pictures = read(run, options.input, on_bad_image=options.on_bad_image)
    if run.task.sequence:
        texts = run.writer(run.config.evaluation)(pictures)
        write_text(output, comma_separated([["id", "hypothesis"], *zip(pictures.ids, texts, strict=True)]))
        print(f"{options.output}: {counted(len(texts), 'text')} written")
        return 0
    logits = run.logits(pictures, options.batch_size)
    answers = run.task.answers(logits, run.decision, run.classes)
    rows = zip(pictures.ids, *answers.values(), strict=True)
    write_text(output, comma_separated([["id", *answers], *rows]))
    if folder:
        draw(run, pictures, run.task.pointed(logits, run.decision), folder)
    told = run.task.summary(logits, run.decision, run.classes)
    print(f"{options.output}: {len(pictures)} {run.noun}s, {told}")
    return 0


def draw(run: Finished, pictures: Split, classes: np.ndarray, folder: Path) -> None:
    """Writes ID.png into the folder for each picture: under its heat map for its class, ``classes`` (n,)."""
    from PIL import Image

    from tl_jax import compilation
    from tl_jax.evaluation.grad_cam import heatmaps
    from tl_jax.report import images

    with compilation.shared():
        for start in range(0, len(pictures), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            shown = pictures.images[some]
            maps = heatmaps(run.model, run.recipe, shown, classes[some])
            for name, image, heat in zip(pictures.ids[some], shown, maps, strict=True):
                file = folder / f"{name}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(images.overlay(image, heat)).save(file)


def read(run: Finished, source: str, *, on_bad_image: str) -> Split:
    """The examples of a file or folder as a run saw its own; those that cannot be read are an error, or
    are named on stderr and left out."""
    from tl_jax.data.sources.errors import SourceError, counted, listed

    def tell(line: str) -> None:
        print(line, file=sys.stderr)

    pictures, bad, notes = run.unlabelled(source, say=tell)
    for line in notes:
        tell(line)
    if bad:
        shown = [*bad[:20], *([f"and {len(bad) - 20:,} more"] if len(bad) > 20 else [])]
        head = f"{counted(len(bad), run.noun)} cannot be used:"
        if on_bad_image == "error":
            raise listed(head, shown, "Mend or remove them, or leave them out with --on_bad_image=skip.")
        tell(str(listed(head, shown, "They are left out.")))
    if not len(pictures):
        raise SourceError(f"{source} holds no {run.noun} that can be read")
    return pictures


if __name__ == "__main__":
    command.run(main)
