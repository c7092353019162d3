"""``python -m tl_jax.export --workdir=RUN --output=FOLDER``: the trained model as a Hugging Face folder.

`transformers`, and tl_jax itself, load the folder as they load one from the hub. ``--dtype=float16`` or
``bfloat16`` makes a file of half the size.
"""

from __future__ import annotations

from absl import flags as absl_flags

from tl_jax import command, flags


def _define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_string("output", "", "the folder to write", flag_values=values)
    absl_flags.register_validator("output", bool, "is missing; name the folder to write", flag_values=values)
    absl_flags.DEFINE_string("dtype", "float32", "or float16, or bfloat16", flag_values=values)


def main(argv: list[str]) -> int:
    parsed = flags.parse(argv, define=_define, takes_config=False)

    from tl_jax import pretrained
    from tl_jax.finished import open_run

    run = open_run(parsed.workdir)
    pretrained.export(run.model, parsed.flags.output, classes=run.classes, dtype=parsed.flags.dtype)
    print(f"{parsed.flags.output}: config.json, model.safetensors, preprocessor_config.json")
    return 0


if __name__ == "__main__":
    command.run(main)
