"""Weights into a model, strictly: every array and every leaf is accounted for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from tl_jax import backbones
from tl_jax.backbones.anatomy import Backbone, Preprocess, merge
from tl_jax.pretrained import facts, files, labels, renewed
from tl_jax.pretrained import top as tops
from tl_jax.pretrained.build import Build, abstract_model, apart, initial, made, outline
from tl_jax.pretrained.errors import PretrainedError, listed
from tl_jax.pretrained.gray import first_kernel, fold
from tl_jax.pretrained.preprocess import fit_channels, resized
from tl_jax.pretrained.report import Initialised, LoadReport, account
from tl_jax.pretrained.rules import Ignore, Rule, Translation, TranslationError, to_ours

GRAY = ("repeat", "sum")
_ADVICE = (
    "What to do: if arrays are missing, the file may be incomplete, or of a base model without a classifier "
    "(give num_classes for a new one); if they are unexpected or misshapen, config.json describes another "
    "network (model_type, architectures, sizes, id2label)."
)


def load(
    name_or_folder: str | os.PathLike[str],
    *,
    num_classes: int | None = None,
    classes: Sequence[str] | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    pooling: str = "",
    gray: str = "repeat",
    keep: str = renewed.ALL,
    top: Mapping[str, Any] | None = None,
    dropout: float = 0.0,
    preprocess: Preprocess | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    seed: int = 0,
) -> tuple[Backbone, LoadReport]:
    """A pretrained model in inference mode, and the account of its weights.

    Args:
      name_or_folder: hub id with optional ``@revision``, folder, workdir of an earlier run, ``"embedded"``.
      num_classes: outputs of the head. The checkpoint's head is kept where it has as many.
      classes: their names; a head whose classes have other names is made anew.
      image_size: pixels, side of the pictures; position embeddings are resized to it.
      channels: of the pictures. 1 with a colour checkpoint is left to ``gray``.
      pooling: how the tokens of a text become one vector, if not as the checkpoint's config says.
      gray: ``"repeat"`` keeps the colour stem, for pictures repeated to three channels; ``"sum"``
        folds it into a stem of one channel that computes the same (see `tl_jax.pretrained.gray`).
      keep: ``"all"``, ``"none"``, ``"stem"`` or ``"first K"``: blocks above, neck and head are initialised
        anew, statistics too (see `tl_jax.pretrained.renewed`).
      top: another neck or head than the checkpoint's own (see `tl_jax.pretrained.top.entries`).
      dropout: probability, before the head.
      preprocess: in the place of the checkpoint's own.
      cache_dir, offline: see `tl_jax.pretrained.hub.locate`.
      seed: of what is initialised anew, which is a function of it and of the architecture alone.

    Returns:
      the model, which maps normalised float32 images (B, height, width, channels), or tokens (B, n) int32, to
      logits (B, classes), and the report.

    Raises:
      PretrainedError: saying what cannot be had or does not fit, all of it, and what to do.
    """
    found = facts.inspect(name_or_folder, pooling=pooling, cache_dir=cache_dir, offline=offline)
    assert found.folder is not None
    summed = _stem_is_summed(found.channels, channels, gray)
    colour = fit_channels(preprocess or found.preprocess, found.channels)
    config, fresh = tops.wanted(found, top or {}, num_classes, classes)
    build = Build(
        config,
        preprocess=resized(colour, image_size),
        channels=1 if summed else None,
        image_size=image_size,
        dropout=dropout,
        seed=seed,
    )
    abstract = abstract_model(build, found.source)
    graph, shapes = apart(abstract)
    own = outline(found) if tops.are_said(found.config, config) else abstract
    heads = {**apart(own)[1], **shapes}
    head = [path for path in heads if path.startswith("head/")]
    # The outputs of a language model are words, not classes.
    fresh = "" if abstract.spec.sequence else fresh or tops.why_anew(own.spec, abstract.spec)
    anew = dict.fromkeys(head, fresh) if fresh else {}
    anew |= renewed.leaves(abstract, shapes, keep)
    arrays = files.read(found.folder)
    rules = backbones.table(config)
    lacking = {rule.ours: rule.lacking for rule in rules if isinstance(rule, Rule) and rule.lacking}
    lacking |= dict.fromkeys(head, "the checkpoint has no head")
    headless = num_classes is not None or classes is not None
    try:
        translation = to_ours(arrays, rules, shapes, fresh=anew, optional=lacking if headless else None)
    except TranslationError as error:
        what = f"{found.source} does not fit its {files.CONFIG} ({len(error.problems)} problems):"
        raise listed(what, list(error.problems), _ADVICE) from error
    _check_numbers(found.source, arrays, translation)
    if not summed:
        _check_channels(found, arrays, translation, rules)
    leaves, notes = translation.leaves, found.notes
    kernel = first_kernel(rules)
    if summed and (kernel is None or kernel in leaves):  # drawn anew, it takes one channel as it is
        leaves, note = fold(translation, arrays, rules, colour, abstract.spec.preprocess)
        notes = (*notes, note)
    given = {path: jnp.asarray(leaf) for path, leaf in leaves.items()}
    model = merge(graph, given, initial(build, translation.initialised))
    report = account(found.source, arrays, shapes, translation, notes)
    return model, report


def scratch(
    arch: Mapping[str, Any],
    *,
    num_classes: int,
    image_size: int | None = None,
    channels: int | None = None,
    top: Mapping[str, Any] | None = None,
    dropout: float = 0.0,
    preprocess: Preprocess | None = None,
    seed: int = 0,
) -> tuple[Backbone, LoadReport]:
    """A model with random weights, a function of ``arch`` and ``seed`` alone, in inference mode.

    Args:
      arch: a Hugging Face config with its ``model_type``; what it lacks is the family's default.

    The rest is as in `load`; ``channels`` comes before the config's.
    """
    found = facts.from_scratch(arch)
    chosen = preprocess or found.preprocess
    build = Build(
        tops.put(top or {}, labels.renamed(found.config, labels.default(num_classes))),
        preprocess=resized(fit_channels(chosen, channels or found.channels), image_size),
        channels=channels,
        image_size=image_size,
        dropout=dropout,
        seed=seed,
    )
    model = made(build, "model.arch")  # array by array: compiling all of it as one program takes longer
    _, shapes = apart(model)
    report = LoadReport(
        source=found.source,
        initialised=tuple(
            Initialised(path, tuple(leaf.shape), "from scratch") for path, leaf in shapes.items()
        ),
    )
    return model, report


def load_pretrained(
    name_or_folder: str | os.PathLike[str],
    num_classes: int | None = None,
    *,
    image_size: int | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    seed: int = 0,
) -> tuple[Backbone, LoadReport]:
    """A pretrained model for notebooks and experiments, in inference mode, and its load report.

    Calling the model maps normalised float32 images (B, height, width, channels) to logits; how to
    normalise is in ``model.spec.preprocess``. Arguments and errors are those of `load`.

        model, report = tl_jax.load_pretrained("microsoft/resnet-50")
        print(report.table())
        logits = model(images)
    """
    return load(
        name_or_folder,
        num_classes=num_classes,
        image_size=image_size,
        cache_dir=cache_dir,
        offline=offline,
        seed=seed,
    )


def _check_numbers(source: str, arrays: files.Arrays, translation: Translation) -> None:
    used = sorted({name for names in translation.sources.values() for name in names})
    broken = [name for name in used if not np.isfinite(arrays[name]).all()]
    if broken:
        raise listed(f"{source} holds arrays with NaN or infinity:", broken, "Export or download them again.")


def _check_channels(
    found: facts.Facts, arrays: files.Arrays, translation: Translation, rules: Sequence[Rule | Ignore]
) -> None:
    """A colour kernel fits a gray model by its sum, which only ``gray="sum"`` may ask for."""
    names = translation.sources.get(first_kernel(rules) or "")
    if names and (channels := arrays[names[0]].shape[1]) != found.channels:
        raise PretrainedError(
            f"{found.source} does not fit its {files.CONFIG}: array {names[0]!r} takes {channels} channels, "
            f"num_channels says {found.channels}"
        )


def _stem_is_summed(has: int, wanted: int | None, how: str) -> bool:
    """Whether the stem of a checkpoint of ``has`` channels is folded into one of a single channel."""
    if how not in GRAY:
        raise PretrainedError(f"gray={how!r} must be one of {', '.join(map(repr, GRAY))}")
    if wanted in (None, has):
        return False
    if wanted != 1:
        raise PretrainedError(f"the checkpoint takes pictures of {has} channels, not {wanted}")
    return how == "sum"
