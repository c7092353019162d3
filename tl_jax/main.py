"""``python -m tl_jax.main --config=FILE[:ARGUMENT] [--config.KEY=VALUE …] [--workdir=FOLDER]``"""

from __future__ import annotations

import sys


def main(argv: list[str]) -> int:
    """Trains what the flags say; the process's exit code."""
    from tl_jax import config as configs

    parsed = configs.parse(argv)

    from tl_jax.run import run

    run(parsed.config, parsed.workdir)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
