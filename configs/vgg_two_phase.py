"""VGG16 on an image folder of two classes, in two phases: the recipe that courses teach.

    python -m tl_jax.main --config=configs/vgg_two_phase.py --config.data.root=/data/cats_and_dogs

After F. Chollet, "Building powerful image classification models using very little data" (2016). The network
is VGG16 without its top, at 150 pixels: its last map, flattened, then 256 units and one sigmoid unit, trained
by binary cross-entropy. Phase one trains these on what the convolutions make of the pictures, which is
computed once for each picture and kept; phase two trains the last three convolutions with them, slowly.

The argument ``rescale`` gives the network pixels between 0 and 1, as that recipe did, in the place of the
mean and deviation with which its weights were made.
"""

import ml_collections


def get_config(arg=""):
    if arg not in ("", "rescale"):
        raise ValueError(f"configs/vgg_two_phase.py takes no argument, or rescale; not {arg!r}")
    c = ml_collections.ConfigDict()
    c.batch_size = 32
    c.data = dict(source="folder", image_size=150, fit="squash")
    c.model = dict(
        pretrained="timm/vgg16.tv_in1k",
        neck="flatten",
        head=dict(name="mlp", sizes=(256,), act="relu", output="sigmoid"),
    )
    if arg == "rescale":
        c.preprocess = dict(mean=(0.0,), std=(1.0,))
    steady = dict(optimizer="adam", schedule="constant", clip=0.0, duration="10 epochs")
    c.stages = [
        dict(steady, name="top", train="head", lr=1e-3),
        dict(steady, name="last block", train="last 3", lr=1e-5),
    ]
    return c
