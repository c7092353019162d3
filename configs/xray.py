"""Chest X-rays: normal, or pneumonia?

    python -m tl_jax.main --config=configs/xray.py

runs anywhere, without a download: simulated radiographs (`chest_phantom`) and a small network that this
project pretrained itself. The numbers say that the program works, nothing about patients.

    python -m tl_jax.main --config=configs/xray.py:resnet50 --config.data.root=/data/chest_xray

is the same recipe on real pictures, in folders train/, val/ and test/ by class; :resnet18 and :vit too.
"""

import ml_collections

HUB = {
    "resnet18": "microsoft/resnet-18",
    "resnet50": "microsoft/resnet-50",
    "vit": "google/vit-base-patch16-224",
}


def get_config(arg=""):
    if arg and arg not in HUB:
        raise ValueError(f"configs/xray.py takes no argument, or one of {', '.join(HUB)}; not {arg!r}")
    c = ml_collections.ConfigDict()
    c.seed = 0
    c.batch_size = 32
    if arg:
        # Kaggle's names: person12_virus_34.jpeg, NORMAL2-IM-0115-0001.jpeg. One patient, one split.
        c.data = dict(source="folder", group=r"person\d+|IM-\d+", fit="squash")
        c.model = dict(pretrained=HUB[arg])
    else:
        named = dict(group="patient", id="id")
        c.data = dict(source="tfds", name="chest_phantom", image_size=96, features=named)
        c.model = dict(pretrained="embedded")
    # No flips: a mirrored chest has its heart on the wrong side.
    c.augment = dict(scale=(0.8, 1.0), rotate=5.0, shift=0.03, brightness=0.1, contrast=0.2)
    epochs, lr = ("5 epochs", 1e-4) if arg else ("12 epochs", 1e-3)
    c.stages = [
        # The new head first, so that its random start does not disturb the features below.
        dict(name="head", train="head", duration="2 epochs", lr=3e-3),
        dict(name="all", train="all", duration=epochs, lr=lr),
    ]
    for stage in c.stages:
        stage.update(warmup="5%", weight_decay=0.02, layer_decay=0.9)
    return c
