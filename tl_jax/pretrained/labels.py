"""The names of a checkpoint's classes, in and out of its ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tl_jax.backbones import hf_config
from tl_jax.pretrained.errors import PretrainedError


def names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Class names in the order of the head's outputs; ``LABEL_0``, … where the config has none. Raises
    PretrainedError where ``id2label`` does not number them."""
    given = config.get("id2label")
    if not given:
        return default(hf_config.outputs(config))
    try:
        by_number = {int(number): str(name) for number, name in given.items()}
    except (AttributeError, ValueError) as error:
        raise PretrainedError(f"id2label must map class numbers to names: {error}") from error
    if sorted(by_number) != list(range(len(by_number))):
        raise PretrainedError(f"id2label must number the classes 0 to {len(by_number) - 1}, without a gap")
    return tuple(by_number[number] for number in range(len(by_number)))


def default(count: int) -> tuple[str, ...]:
    """The names that transformers gives classes nobody named."""
    return tuple(f"LABEL_{number}" for number in range(count))


def renamed(config: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """The config with these classes."""
    rest = {key: value for key, value in config.items() if key != "num_labels"}
    return {
        **rest,
        "id2label": {str(number): name for number, name in enumerate(classes)},
        "label2id": {name: number for number, name in enumerate(classes)},
    }


def wanted(
    config: Mapping[str, Any], num_classes: int | None, classes: Sequence[str] | None
) -> tuple[tuple[str, ...], str]:
    """The names of the model's classes, and why its head is made anew ("" to keep the checkpoint's).

    Raises:
      PretrainedError: if the two arguments contradict each other.
    """
    had = names(config)
    if num_classes is None and classes is None:
        return had, ""
    if classes is not None and num_classes not in (None, len(classes)):
        raise PretrainedError(f"num_classes={num_classes}, but classes has {len(classes)} names")
    count = len(classes) if classes is not None else int(num_classes or 0)
    if count < 1:
        raise PretrainedError(f"a head needs one class at least, not {count}")
    if count != len(had):
        why = f"the checkpoint has {len(had)} classes, {count} are wanted"
        return tuple(classes) if classes is not None else default(count), why
    if classes is not None and tuple(classes) != had:
        return tuple(classes), f"the checkpoint's classes are others: {_few(had)}"
    return had, ""


def _few(values: Sequence[str]) -> str:
    return ", ".join(values[:4]) + (", …" if len(values) > 4 else "")
