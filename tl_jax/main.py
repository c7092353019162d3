"""``python -m tl_jax.main --config=FILE[:ARGUMENT] [--config.KEY=VALUE …] [--workdir=FOLDER]``

Trains what the config says; see `tl_jax.run` for the story. The same command again goes on where an
interrupted run stopped. On several hosts every process is given the same command (docs/devices.md).
"""

from __future__ import annotations

from tl_jax import command, distributed, flags


def main(argv: list[str]) -> int:
    parsed = flags.parse(argv, define=distributed.define)

    with distributed.joined(parsed.flags):
        from tl_jax.runs import run  # late, so that --help is quick

        run(parsed.config, parsed.workdir)
    return 0


if __name__ == "__main__":
    command.run(main)
