"""A model as a complete Hugging Face folder, which `load` reads back, and transformers or timm (with torch).

These two know no head but the linear one, and no neck but the family's own: docs/heads.md.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax import backbones
from tl_jax.backbones import heads
from tl_jax.backbones.anatomy import Backbone, Leaves, Spec, split
from tl_jax.pretrained import labels, timm
from tl_jax.pretrained.errors import PretrainedError
from tl_jax.pretrained.files import CONFIG, PREPROCESSOR, SAFETENSORS, read_json
from tl_jax.pretrained.preprocess import to_processor
from tl_jax.pretrained.rules import to_theirs
from tl_jax.pretrained.tokenizer import COMPANIONS, TOKENIZER

DTYPES = ("float32", "float16", "bfloat16")

_PROBLEMS = {"multi_label": "multi_label_classification", "regression": "regression"}
"""What transformers calls them; it takes anything else for classes."""

_STALE = (  # facts of the source's file, not of ours
    "_name_or_path",
    "dtype",
    "pretrained_cfg",
    "problem_type",
    "torch_dtype",
    "transformers_version",
)


def export(
    model: Backbone,
    folder: str | os.PathLike[str],
    *,
    classes: Sequence[str],
    problem: str = "",
    dtype: str = "float32",
    tokenizer: Path | None = None,
) -> Path:
    """Writes ``config.json``, ``model.safetensors`` and, of a model that reads pictures,
    ``preprocessor_config.json``.

    A new folder appears whole or not at all. In one that is there already these files are replaced one
    by one, each whole, and other files stay.

    Args:
      model: with its weights, in any mode.
      folder: where to.
      classes: names of the head's outputs, in order; of a language model's nothing is written.
      problem: what they are: "multi_label", "regression", or classes by anything else.
      dtype: of the file's numbers, one of `DTYPES`; half of them halves the file, and rounds.
      tokenizer: a ``tokenizer.json`` that is copied, with what transformers reads beside it.

    Raises:
      PretrainedError: if the names do not fit the head, a number is not finite, or the folder holds
        something else.
    """
    _, params, stats = split(model)
    leaves = {**params, **stats}
    return export_leaves(
        model.spec, leaves, folder, classes=classes, problem=problem, dtype=dtype, tokenizer=tokenizer
    )


def export_leaves(
    spec: Spec,
    leaves: Leaves,
    folder: str | os.PathLike[str],
    *,
    classes: Sequence[str],
    problem: str = "",
    dtype: str = "float32",
    tokenizer: Path | None = None,
) -> Path:
    """As `export`, for a model that is taken apart: its parameters and statistics by path."""
    if dtype not in DTYPES:
        raise PretrainedError(f"dtype={dtype!r} is none of {', '.join(DTYPES)}")
    folder, classes = Path(folder), tuple(map(str, classes))
    if (folder / CONFIG).is_file() and "model_type" not in read_json(folder / CONFIG):
        raise PretrainedError(
            f"{folder} holds a {CONFIG} that is not a model's, such as a run's, and would be lost; choose "
            "another folder"
        )
    leaves = jax.device_get(leaves)
    config = {key: value for key, value in spec.config.items() if key not in _STALE}
    if not spec.sequence:  # else its outputs are words, which the tokenizer names
        units = leaves["head/linear/kernel"].shape[-1]
        if units != heads.units(spec.config, len(classes)):
            raise PretrainedError(f"{len(classes)} class names for a head of {units} outputs")
        config = labels.renamed(config, classes)
    config = {**config, **timm.written(spec, classes), "dtype": dtype}
    config |= {"problem_type": _PROBLEMS[problem]} if problem in _PROBLEMS else {}
    arrays = to_theirs(leaves, backbones.table(config))
    with np.errstate(over="ignore"):
        arrays = {
            name: array.astype(jnp.dtype(dtype)) if array.dtype.kind == "f" else array
            for name, array in arrays.items()
        }
    if not_finite := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
        raise PretrainedError(
            f"arrays with NaN or infinity in {dtype} are not written: {', '.join(not_finite)}"
        )
    writers: dict[str, Callable[[Path], None]] = {  # the config last: it makes the folder a model
        SAFETENSORS: lambda path: _write_arrays(path, arrays),
        **_beside(tokenizer),
        CONFIG: lambda path: _write_json(path, config),
    }
    if spec.text is None:
        writers = {PREPROCESSOR: lambda path: _write_json(path, to_processor(spec.preprocess)), **writers}
    _write_folder(folder, writers)
    return folder


def _beside(tokenizer: Path | None) -> dict[str, Callable[[Path], None]]:
    """Copies the tokenizer's files."""
    if tokenizer is None:
        return {}
    files = {TOKENIZER: tokenizer, **{name: tokenizer.with_name(name) for name in COMPANIONS}}
    return {name: partial(_copy, file) for name, file in files.items() if file.is_file()}


def _copy(file: Path, path: Path) -> None:
    shutil.copyfile(file, path)
    _sync(path)


def _write_folder(folder: Path, writers: Mapping[str, Callable[[Path], None]]) -> None:
    aside = folder.parent / f".{folder.name}.partial"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        for name, write in writers.items():
            write(aside / name)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    _sync(aside)
    if not folder.exists():
        os.rename(aside, folder)
    else:
        for name in writers:
            os.replace(aside / name, folder / name)
        aside.rmdir()
        _sync(folder)
    _sync(folder.parent)


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    from safetensors.numpy import save_file

    path.touch()
    mode = path.stat().st_mode  # what the umask gives; safetensors would leave a file for its owner alone
    save_file(dict(arrays), str(path), metadata={"format": "pt"})  # transformers insists on the format
    path.chmod(mode)
    _sync(path)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    _sync(path)


def _sync(path: Path) -> None:
    """Waits until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
