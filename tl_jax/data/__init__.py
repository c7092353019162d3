"""Data: sources, splits by patient, pictures decoded once, batches in a pure order, augmentation."""

from tl_jax.data.examples import Rows, Split
from tl_jax.data.load import Data, load, load_by, load_labelled, load_labelled_by
from tl_jax.data.sources.errors import SourceError

__all__ = ["Data", "Rows", "SourceError", "Split", "load", "load_by", "load_labelled", "load_labelled_by"]
