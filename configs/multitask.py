"""Two tasks on one network: chest X-rays (normal or pneumonia) and skin lesions (nevus or melanoma).

    python -m tl_jax.main --config=configs/multitask.py \
        --config.tasks[0].data.root=/data/chest_xray --config.tasks[1].data.root=/data/skin \
        --config.model.pretrained=WinKawaks/vit-tiny-patch16-224

The argument says how much they share: without one the whole backbone; :8 is the stem and the first 8 blocks,
and each task has its own copy of those above; :0 is nothing but the stem. Half of each batch is of either
task. Whether that helps is what experiments.sharing asks: against each task alone, at the same budget.
"""

import ml_collections


def get_config(arg=""):
    if arg and not arg.isdecimal():
        raise ValueError(
            f"configs/multitask.py takes no argument, or how many blocks are shared; not {arg!r}"
        )
    c = ml_collections.ConfigDict()
    c.batch_size = 32
    c.model = dict(pretrained="WinKawaks/vit-tiny-patch16-224", dropout=0.1)
    c.tasks = [
        dict(
            name="xray",
            # Kaggle's names: person12_virus_34.jpeg, NORMAL2-IM-0115-0001.jpeg. One patient, one split.
            data=dict(source="folder", group=r"person\d+|IM-\d+"),
            augment=dict(scale=(0.8, 1.0), rotate=5.0, shift=0.03, brightness=0.1, contrast=0.2),
        ),
        dict(
            name="skin",
            data=dict(source="folder", classes=("nevus", "melanoma"), min_val=30),
            augment=dict(scale=(0.6, 1.0), flip=True, flip_vertical=True, rotate=180.0, brightness=0.15),
        ),
    ]
    c.sharing = dict(blocks=int(arg) if arg else -1)
    c.select = dict(metric="loss")
    c.stages = [
        dict(name="heads", train="head", duration="2 epochs", lr=1e-3),
        dict(name="all", train="all", duration="8 epochs", lr=1e-4, layer_decay=0.8, warmup="10%"),
    ]
    for stage in c.stages:
        stage.update(weight_decay=0.05)
    return c
