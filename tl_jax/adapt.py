"""``python -m tl_jax.adapt --workdir=RUN --input=FOLDER [--how=batch_norm|coral] [--output=FOLDER]``

A finished run, fitted to unlabelled pictures of the place where it is to be used: another scanner, another
hospital (docs/adaptation.md). ``--output``, by default RUN/adapted/HOW, is then the folder of a run that
`tl_jax.predict`, `tl_jax.evaluate`, `tl_jax.features` and `tl_jax.export` take as ``--workdir``; calibration
and threshold are those of RUN, and are best looked at again.
"""

from __future__ import annotations

from absl import flags as absl_flags

from tl_jax import command, derived, flags, schema


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

    output = derived.folder(options.output or f"{parsed.workdir}/adapted/{options.how}")
    run = open_run(parsed.workdir)
    adapter = Adapter(run, options.how)
    use_cache(run.config.compilation_cache)
    examples = predict.read(run, options.input, on_bad_image=options.on_bad_image)
    told = {"how": options.how, "from": str(run.workdir.root), "examples": len(examples)}
    derived.write(adapter(examples), output, adapted=told)
    print(f"{output}: {parsed.workdir} fitted to {len(examples):,} {run.noun}s by {options.how}")
    return 0


if __name__ == "__main__":
    command.run(main)
