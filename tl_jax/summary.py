"""``python -m tl_jax.summary --config=…``: the plan of a run and what it costs, without training."""

from __future__ import annotations

from tl_jax import command, flags


def main(argv: list[str]) -> int:
    """Prints how the weights were loaded and every stage's plan."""
    parsed = flags.parse(argv)

    from tl_jax import plan_table, prefix, programs
    from tl_jax.compilation import use_cache
    from tl_jax.job import prepare

    use_cache(parsed.config.compilation_cache)
    job = prepare(parsed.config)
    print(job.load_report.table())
    cuts = prefix.cuts(job)
    for note in prefix.notes(job):
        print(note)
    costs = [programs.cost(job, number, cut.start) for number, cut in enumerate(cuts)]
    print(plan_table.render(job, cuts, costs))
    return 0


if __name__ == "__main__":
    command.run(main)
