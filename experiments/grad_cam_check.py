"""Does the mass of a heat map fall on the consolidation? Asked of simulated radiographs, where it is known.

    python -m tl_jax.main --config=configs/xray.py --workdir=RUN
    python -m experiments.grad_cam_check --workdir=RUN

Of the test pictures with pneumonia that the run calls so: the share of a map's mass on the consolidation,
against the share of the picture that it covers, and how often the hottest pixel is on it. Beside it the same
for networks made anew and for the mean map of other patients, and for maps at other depths. RUN gets
grad_cam.txt, grad_cam.json, grad_cam.csv, grad_cam-2.csv and grad_cam.png.
"""

from __future__ import annotations

from tl_jax import command, flags
from tl_jax.lab import command as lab


def main(argv: list[str]) -> int:
    parsed = flags.parse(argv, takes_config=False)

    from tl_jax.compilation import use_cache
    from tl_jax.finished import open_run
    from tl_jax.lab import heat_maps

    run = open_run(parsed.workdir)
    use_cache(run.config.compilation_cache)
    lab.tell(parsed, heat_maps.measured(run, heat_maps.known(run)))
    return 0


if __name__ == "__main__":
    command.run(main)
