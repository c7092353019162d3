"""Skin lesions under the dermatoscope: melanoma, or nevus?

    python -m tl_jax.main --config=configs/skin.py --config.data.root=/data/skin \
        --config.model.pretrained=WinKawaks/vit-tiny-patch16-224

A few hundred pictures, so the recipe is careful: much augmentation, as a lesion has neither up nor down; the
head first, then everything, each block more slowly than the one above; classes with equal say, however rare
one is. What counts is how many melanomas are found when 95 of 100 nevi are left alone:
`sensitivity_at_95_specificity`, and the sensitivity at the threshold that validation chose for that.
"""

import ml_collections


def get_config():
    c = ml_collections.ConfigDict()
    c.batch_size = 32
    c.data = dict(source="folder", fit="squash", classes=("nevus", "melanoma"), min_val=30)
    c.model = dict(pretrained="WinKawaks/vit-tiny-patch16-224", dropout=0.1)
    c.augment = dict(
        scale=(0.6, 1.0),
        ratio=(0.8, 1.25),
        flip=True,
        flip_vertical=True,
        rotate=180.0,
        brightness=0.15,
        contrast=0.2,
        erase=0.1,
    )
    c.loss = dict(class_weights="balanced", label_smoothing=0.05)
    c.stages = [
        dict(name="head", train="head", duration="5 epochs", lr=1e-3),
        dict(name="all", train="all", duration="20 epochs", lr=2e-4, layer_decay=0.75, warmup="10%"),
    ]
    for stage in c.stages:
        stage.update(weight_decay=0.05)
    c.evaluation = dict(threshold="specificity>=0.95", positive="melanoma")
    return c
