"""Which layers has training moved? A finished run's network against the weights that it began with.

    python -m experiments.drift --workdir=RUN

For every part: how far its weights went, relative to their length, and how alike its features of the test
pictures are before and after (linear CKA). RUN gets drift.txt, drift.json and drift.png.
"""

from __future__ import annotations

from tl_jax import command, flags
from tl_jax.lab import command as lab


def main(argv: list[str]) -> int:
    parsed = flags.parse(argv, takes_config=False)

    from tl_jax.lab import drift

    lab.tell(parsed, drift.told(drift.of(parsed.workdir)))
    return 0


if __name__ == "__main__":
    command.run(main)
