"""The last two blocks of a ViT-Tiny on 600 X-rays, 10 epochs: the whole job, tl_jax against PyTorch.

    python -m benchmarks.cut --data=FOLDER --weights=FOLDER

Without pictures and weights they are simulated, or random. PyTorch's side is `benchmarks.torch_job`.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import jobs, pairs

DESCRIPTION = (
    "The last two blocks of a ViT-Tiny on 600 X-rays, 10 epochs: the whole job, tl_jax against PyTorch."
)


def main(argv: Sequence[str]) -> int:
    return jobs.main("cut", DESCRIPTION, argv)


if __name__ == "__main__":
    pairs.run(main)
