"""``python -m tl_jax.adapt --workdir=RUN --input=FOLDER [--how=batch_norm|coral] [--output=FOLDER]``

A finished run, fitted to unlabelled pictures of the place where it is to be used: another scanner, another
hospital (docs/adaptation.md). ``--output``, by default RUN/adapted/HOW, is then the folder of a run that
`tl_jax.predict`, `tl_jax.evaluate`, `tl_jax.features` and `tl_jax.export` take as ``--workdir``; calibration
and threshold are those of RUN, and are best looked at again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags as absl_flags

from tl_jax import command, flags, outputs, schema

if TYPE_CHECKING:
    from pathlib import Path

    from tl_jax.finished import Finished


def _define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_string("input", "", "the unlabelled pictures: a folder", flag_values=values)
    absl_flags.DEFINE_enum(
        "how",
        "batch_norm",
        schema.ADAPTATIONS,
        "new statistics for BatchNorm layers, or what the head reads aligned",
        flag_values=values,
    )
    absl_flags.DEFINE_string(
        "output", "", "the folder to write (default: RUN/adapted/HOW)", flag_values=values
    )
    absl_flags.DEFINE_enum(
        "on_bad_image", "error", ["error", "skip"], "what to do with unreadable pictures", flag_values=values
    )
    absl_flags.register_validator("input", bool, "is missing; name a folder of pictures", flag_values=values)


def main(argv: list[str]) -> int:
    options = (parsed := flags.parse(argv, define=_define, takes_config=False)).flags

    from tl_jax import predict
    from tl_jax.adaptation import Adapter
    from tl_jax.compilation import use_cache
    from tl_jax.finished import open_run

    output = outputs.folder(options.output or f"{parsed.workdir}/adapted/{options.how}")
    if output.is_dir() and any(output.iterdir()):
        raise ValueError(f"{output} is not empty; choose another folder by --output")
    run = open_run(parsed.workdir)
    adapter = Adapter(run, options.how)
    use_cache(run.config.compilation_cache)
    examples = predict.read(run, options.input, on_bad_image=options.on_bad_image)
    told = {"how": options.how, "from": str(run.workdir.root), "examples": len(examples)}
    write(adapter(examples), output, told)
    print(f"{output}: {parsed.workdir} fitted to {len(examples):,} {run.noun}s by {options.how}")
    return 0


def write(run: Finished, folder: Path, adapted: dict[str, object]) -> None:
    """The folder of a run with this network. What was measured of the old one is left out."""
    from tl_jax import config as configs
    from tl_jax import pretrained
    from tl_jax.backbones.anatomy import split
    from tl_jax.workdir import Workdir, write_json, write_text

    workdir = Workdir(folder)
    _, params, stats = split(run.model)
    pretrained.export_leaves(
        run.model.spec, {**params, **stats}, workdir.model, classes=run.classes, tokenizer=run.tokenizer
    )
    write_text(workdir.config, configs.to_json(run.config))
    kept = {name: run.result[name] for name in ("classes", "decision", "input", "data")}
    # Last, since a folder with it is a finished run.
    write_json(workdir.result, {**kept, "adapted": adapted})


if __name__ == "__main__":
    command.run(main)
