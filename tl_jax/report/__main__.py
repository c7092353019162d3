"""``python -m tl_jax.report --workdir=RUN``: writes the report of a finished run anew.

It is made of what lies in the folder; pictures are read from where the run's config says. Where they are not
there any more the report says so and goes without.
"""

from __future__ import annotations

from tl_jax import command, flags


def main(argv: list[str]) -> int:
    parsed = flags.parse(argv, takes_config=False)

    from tl_jax import run_report
    from tl_jax.compilation import use_cache
    from tl_jax.finished import open_run

    run = open_run(parsed.workdir)
    if "stages" not in run.result:
        raise ValueError(
            f"{run.workdir.root} holds a network that was made of finished runs, and no training of its own "
            "to report; name one of these"
        )
    use_cache(run.config.compilation_cache)
    evidence = run_report.of_folder(run)
    run_report.write(run.workdir, evidence)
    if evidence.absent:
        print(f"note: without pictures, as {evidence.absent}")
    print(run.workdir.report)
    return 0


if __name__ == "__main__":
    command.run(main)
