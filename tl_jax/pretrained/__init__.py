"""Pretrained weights: a hub id, folder or earlier run in, a filled backbone and its load report out."""

from tl_jax.pretrained import renewed, top
from tl_jax.pretrained.errors import PretrainedError
from tl_jax.pretrained.export import export, export_leaves
from tl_jax.pretrained.facts import Facts, inspect
from tl_jax.pretrained.initial import redrawn
from tl_jax.pretrained.load import load, load_pretrained, outline, scratch
from tl_jax.pretrained.report import LoadReport

__all__ = [
    "Facts",
    "LoadReport",
    "PretrainedError",
    "export",
    "export_leaves",
    "inspect",
    "load",
    "load_pretrained",
    "outline",
    "redrawn",
    "renewed",
    "scratch",
    "top",
]
