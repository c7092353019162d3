"""Data: sources, splits by patient, pictures decoded once, batches in a pure order, augmentation."""

from tl_jax.data.load import Data, Split, load, load_labelled
from tl_jax.data.sources.errors import SourceError

__all__ = ["Data", "SourceError", "Split", "load", "load_labelled"]
