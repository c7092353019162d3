"""Every key a config may hold, with its default: the one place to look a setting up.

A config file states what differs; `tl_jax.config` completes it from here before the command line
applies, so that every key below can be set by a flag even where the file does not mention it.
Durations are strings such as ``"3 epochs"``, ``"500 steps"``, ``"6400 examples"``, ``"20%"`` (of the
stage, or of all stages' epochs for a stage's own duration).
"""

from __future__ import annotations

from typing import Any


def config() -> dict[str, Any]:
    """The top level."""
    return dict(
        seed=0,  # initialisation, batch order, augmentation, dropout
        batch_size=32,
        accumulate=1,  # micro-batches a step; batch_size is divided among them
        precision="float32",  # "float32" | "bfloat16": compute; weights and statistics stay float32
        log_every="20 steps",
        task="classification",  # "multi_label" | "regression" (`tl_jax.tasks`), or a function giving a `Task`
        tasks=[],  # several on one backbone: see task(); then none of this level's task, data, augment, head
        sharing=sharing(),
        data=data(),
        preprocess=preprocess(),
        augment=augment(),
        model=model(),
        loss=loss(),
        ema=0.0,  # decay of the moving average of trained weights, 0 = off; evaluated in their place
        stages=[],  # ordered; each completed from `stage()`
        select=select(),
        early_stopping=early_stopping(),
        evaluation=evaluation(),
        checkpoint=dict(every="1 epochs"),
        cache=cache(),
        mesh=mesh(),
        report=report(),
        compilation_cache="auto",  # folder of compiled programs; "auto" = the user's cache, "" = none
    )


def task() -> dict[str, Any]:
    """One of several tasks. What stands here is its own; all else is that of the whole."""
    return dict(
        name="",
        task="classification",
        proportion=1.0,  # of a batch's examples, relative to the other tasks
        weight=1.0,  # what its loss counts
        data=data(),
        augment=augment(),
        head=head(),
        loss=loss(),
        evaluation=evaluation(),
    )


def sharing() -> dict[str, Any]:
    """How several tasks share a network."""
    return dict(
        blocks=-1,  # the stem and so many blocks; each task has its own copy of the rest; -1: all but heads
        weights="fixed",  # of losses: as each task says | "uncertainty": times a weight that is learned
    )


def data() -> dict[str, Any]:
    return dict(
        source="folder",  # "folder" | "csv" | "tfds" | "dicom", or a callable(config.data) → Table
        root="",  # the folder; for csv: what paths are relative to ("" = the manifest's folder)
        manifest="",  # csv, dicom: the table's file
        columns=columns(),
        name="",  # tfds: data set, with optional /config and :version
        features=dict(image="image", text="", label="label", group="", id=""),  # tfds: names; "" = none
        group="",  # regular expression on the id; its first group, or whole match, names the patient
        classes=(),  # keep these only, in this order; () = all, sorted
        fractions=dict(val=0.15, test=0.15),  # where no split is given
        fold="",  # "i/k", i in 0…k-1: part i of k is the test split
        split_seed=0,  # apart from `seed`: another seed never moves a patient
        train_fraction=1.0,  # few-label studies: this share of the training groups, by class
        train_seed=-1,  # which groups that share holds; < 0 = split_seed
        on_group_overlap="error",  # "error" | "drop_from_train" | "resplit"
        on_bad_image="error",  # "error" | "skip"
        min_val=50,  # a given validation split smaller than this is cut again from train
        max_pixels=100_000_000,  # a picture with more is refused
        image_size=0,  # pixels, side of what the network sees; 0 = what the weights were made with
        canvas=0,  # pixels, side of what is kept for augmentation; 0 = chosen (8/7 of image_size)
        fit="squash",  # "squash" | "pad" | "crop": how a picture meets the square
        tokenizer="",  # texts: folder or hub id with a tokenizer.json; "" = that of the weights
        separator="\n",  # translation: stands between a source and its target
        max_tokens=0,  # texts: longer ones are cut; 0 = as many as the network reads
        window=(),  # dicom: (centre, width); () = the file's own, else its full range
        shift=shift(),
        device_budget=2_000_000_000,  # bytes of pictures kept on the device; above: streamed, always with 0
        host_budget=8_000_000_000,  # bytes kept in host memory; above: read from the cache's file
        cache="auto",  # folder of decoded pictures; "auto" = the user's cache, "" = none
        workers=2,  # decoding threads
    )


def columns() -> dict[str, Any]:
    return dict(  # csv: what columns are called; "" = none such
        path="path",
        text="",
        target="",  # what is to be written after the text, such as its translation: see `task`
        label="label",
        labels=(),  # several columns of findings or numbers, in the place of `label`: see `task`
        group="",
        split="",
    )


def shift() -> dict[str, Any]:
    """Another distribution made from the same pictures, in all splits alike."""
    return dict(
        corruption="",  # what is done to pictures (`tl_jax.data.corruptions`), in this order; "" = nothing
        severity=3,  # of every corruption
        labels="",  # "flip": what is of class i is called i + 1, the last class the first; "" = as they are
        seed=0,  # of what is random in a corruption; each picture's is its own
    )


def preprocess() -> dict[str, Any]:
    return dict(mean=(), std=(), resample="")  # () and "" = what the weights came with


def augment() -> dict[str, Any]:
    return dict(
        scale=(1.0, 1.0),  # random resized crop: share of the area
        ratio=(1.0, 1.0),  # … and width : height
        flip=False,  # left–right; off: a mirrored chest has its heart on the wrong side
        flip_vertical=False,
        rotate=0.0,  # degrees, either way
        shift=0.0,  # share of the side, either way
        brightness=0.0,  # added, share of the range
        contrast=0.0,  # factor 1 ± this
        erase=0.0,  # probability of a random rectangle erased
        mixup=0.0,  # Beta(a, a); 0 = off
        cutmix=0.0,  # Beta(a, a); 0 = off
    )


def model() -> dict[str, Any]:
    return dict(
        pretrained="",  # hub id[@revision], folder, workdir of a run, "embedded"; "" = from scratch
        arch={},  # from scratch: a Hugging Face config, such as {"model_type": "resnet", …}
        keep="all",  # of the weights: "all" | "none" | "stem" | "first K" blocks; above, they are drawn anew
        pooling="",  # texts: "pooler" | "first" | "mean" | "last"; "" = as the weights' own classifier does
        gray="repeat",  # gray pictures, colour stem: "repeat" the channel | "sum" the kernel
        neck="",  # over a map: "pooled", its mean | "flatten", all of it | "" = the weights' own
        head=head(),
        dropout=0.0,  # before the head
        lora=lora(),
        cache_dir="",  # of downloads; "" = the hub client's own
        offline=False,
    )


def lora() -> dict[str, Any]:
    """Small updates beside linear layers that stay as they are (Hu et al. 2021); `train="lora"` trains
    them."""
    return dict(
        rank=0,  # 0 = none
        alpha=16.0,  # an update counts alpha / rank
        on=r".*/attention/(query|value|qkv)",  # regular expression that must match a layer's whole path
    )


def head() -> dict[str, Any]:
    return dict(
        name="",  # "linear" | "mlp" | "" = the weights' own kind; linear where they have none
        sizes=(),  # mlp: widths of its hidden layers, such as (256,)
        act="relu",  # mlp: after each of them
        dropout=0.0,  # mlp: after each of them
        output="softmax",  # a unit a class | "sigmoid": one unit for two classes, binary cross-entropy
    )


def loss() -> dict[str, Any]:
    return dict(
        label_smoothing=0.0,
        class_weights=(),  # a number a class (of findings, of their presence) | "balanced" | () = all one
        huber=0.0,  # regression: beyond so many standard deviations errors count linearly; 0 = squared all
        l2_sp=0.0,  # pull towards the pretrained weights: half this times the squared distance
    )


def stage() -> dict[str, Any]:
    return dict(
        name="",
        duration="1 epochs",
        train="all",  # "head" | "last K" | "level K" | "all" | "norms" | "biases" | "lora"
        rules=[],  # ordered dicts, first match wins, before `train`: see rule()
        optimizer="adamw",  # "adamw" | "adam" | "sgd"
        momentum=0.9,  # sgd
        b1=0.9,
        b2=0.999,
        lr=1e-3,
        schedule="cosine",  # "constant" | "cosine" | "linear", after the warm-up
        warmup="0 steps",
        final_lr=0.0,  # share of lr left at the end of the stage
        layer_decay=1.0,  # lr × this for each block further from the head
        weight_decay=0.0,  # decoupled; not on norms, biases, tokens, positions but by a rule; adam: none
        clip=1.0,  # global norm over all trained leaves; 0 = off
        batch_norm="auto",  # "auto" (train where weights train) | "frozen" | "adapt" | "train"
        restore_best=False,  # start from the best checkpoint so far, not from the last state (not in stage 0)
    )


def rule() -> dict[str, Any]:
    return dict(
        path="",  # regular expression; the whole path must match
        train=True,
        lr_scale=1.0,
        weight_decay=-1.0,  # < 0 = the stage's
        batch_norm="",  # "" = the stage's
    )


def select() -> dict[str, Any]:
    return dict(
        metric="nll", every="1 epochs"
    )  # which checkpoint is "best": a validation metric, how often it is measured


def early_stopping() -> dict[str, Any]:
    return dict(patience=0, min_delta=0.0)  # measurements without improvement of `select.metric`; 0 = off


def cache() -> dict[str, Any]:
    """What frozen blocks make of pictures, kept instead of computed at every step."""
    return dict(
        prefix="auto",  # "auto" (where it saves work) | "on" | "off"
        views=0,  # with augmentation: so many augmented views of each training picture are kept; 0 = none
        dtype="auto",  # "float32" | "bfloat16", half of it; "auto" = that of the computation
        dir="auto",  # folder that keeps it for other runs; "auto" = the user's cache, "" = none
        disk_budget=10_000_000_000,  # bytes in that folder; what was unused for longest is deleted
    )


def mesh() -> dict[str, Any]:
    return dict(
        data=0,  # devices along the batch alone; 0 = as many as divide it (over accumulate) evenly
        fsdp=1,  # devices along the batch among which large weights are cut, too; 1 = weights are copied
    )


def evaluation() -> dict[str, Any]:
    return dict(
        batch_size=64,
        positive="",  # two classes: the one to detect; "" = the last
        threshold="youden",  # "youden" | "sensitivity>=0.95" | "specificity>=0.95" | "f1"
        prevalence=-1.0,  # PPV and NPV also at this prevalence; < 0 = not asked for
        beams=1,  # translation: beginnings that are carried on together; 1 = the likeliest token alone
        length_penalty=1.0,  # translation, several beams: scores are divided by length to this power
        bootstrap=1000,
        seed=0,
    )


def report() -> dict[str, Any]:
    return dict(
        enabled=True  # whether a run ends with report.html in its folder
    )
