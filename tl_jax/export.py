"""``python -m tl_jax.export --workdir=RUN --output=FOLDER``: the trained model as a Hugging Face folder.

`transformers`, and tl_jax itself, load the folder as they load one from the hub. ``--dtype=float16`` or
``bfloat16`` makes a file of half the size.
"""

from __future__ import annotations

from absl import flags as absl_flags

from tl_jax import command, flags, outputs


def _define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_string("output", "", "the folder to write", flag_values=values)
    absl_flags.register_validator("output", bool, "is missing; name the folder to write", flag_values=values)
    absl_flags.DEFINE_enum(
        "dtype", "float32", ["float32", "float16", "bfloat16"], "of the file's numbers", flag_values=values
    )


def main(argv: list[str]) -> int:
    parsed = flags.parse(argv, define=_define, takes_config=False)

    from tl_jax import pretrained
    from tl_jax.finished import open_run

    output, run = outputs.folder(parsed.flags.output), open_run(parsed.workdir)
    if output.resolve() == run.workdir.model.resolve():
        raise ValueError(f"--output={output} is the run's own model; choose another folder")
    pretrained.export(
        run.model,
        output,
        classes=run.classes,
        problem=run.task.kind,
        dtype=parsed.flags.dtype,
        tokenizer=run.tokenizer,
    )
    print(f"{parsed.flags.output}: {', '.join(sorted(path.name for path in output.iterdir()))}")
    return 0


if __name__ == "__main__":
    command.run(main)
