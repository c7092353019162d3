"""Whatever a table of pictures says of them: findings that are there or not, or numbers.

    python -m tl_jax.main --config=configs/table.py:multi_label --config.data.manifest=/data/findings.csv \
        --config.data.columns.labels="('Atelectasis', 'Effusion')" --config.data.columns.group=patient

A row a picture: its path, and 1, 0 or nothing in the column of each finding; what is empty, or -1, is left
out of the loss and of every measure. With :regression the columns hold numbers, and what is learned, told and
exported is in their units; `--config.loss.huber=1` makes outliers count less. docs/tasks.md says more.
"""

import ml_collections

METRICS = {"multi_label": "auroc", "regression": "rmse"}


def get_config(arg=""):
    if arg not in METRICS:
        raise ValueError(f"configs/table.py takes one of {', '.join(METRICS)} as its argument; not {arg!r}")
    c = ml_collections.ConfigDict()
    c.batch_size = 32
    c.task = arg
    c.data = dict(source="csv")
    c.model = dict(pretrained="WinKawaks/vit-tiny-patch16-224")
    c.augment = dict(scale=(0.8, 1.0), rotate=5.0, shift=0.03, brightness=0.1, contrast=0.1)
    c.select = dict(metric=METRICS[arg])
    c.stages = [
        dict(name="head", train="head", duration="5 epochs", lr=1e-3),
        dict(name="all", train="all", duration="15 epochs", lr=1e-4, layer_decay=0.8, warmup="10%"),
    ]
    for stage in c.stages:
        stage.update(weight_decay=0.05)
    return c
