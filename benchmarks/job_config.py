"""The recipes of `benchmarks.probe`, `.cut`, `.start` and `.ladder` (both "full"), as tl_jax takes them.

python -m tl_jax.main --config=benchmarks/job_config.py:probe --config.data.root=… --config.model.pretrained=…
"""

import ml_collections

TRAIN = {"probe": "head", "cut": "last 2", "full": "all"}
LR = {"probe": 1e-3, "cut": 1e-4, "full": 1e-4}
BATCH, EPOCHS, WEIGHT_DECAY = 32, 10, 0.01


def get_config(arg="probe"):
    c = ml_collections.ConfigDict()
    c.batch_size = BATCH
    c.stages = [
        dict(
            name=arg,
            train=TRAIN[arg],
            duration=f"{EPOCHS} epochs",
            lr=LR[arg],
            weight_decay=WEIGHT_DECAY,
            clip=0.0,
        )
    ]
    return c
