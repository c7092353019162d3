"""Batches for the compiled step: from the device where the pictures fit, else streamed by Grain.

Either way batch t is the same, because `order.indices` says which rows it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from tl_jax.data import order
from tl_jax.data.examples import Split

Store = dict[str, jax.Array]


class Feed:
    """Batches of a split.

    Where the pictures take at most ``device_budget`` bytes they are put on every device once, and a
    batch is an index into them; else each batch is read by a thread, moved ahead of time and handed over.
    ``sharding`` lays the rows of a batch over the devices. With ``views`` the split holds so many of each
    picture, as `order.indices` numbers them.
    """

    def __init__(
        self,
        split: Split,
        *,
        batch_size: int,
        seed: int,
        device_budget: int,
        sharding: NamedSharding,
        views: int = 1,
    ) -> None:
        self.split, self.batch_size, self.seed, self.sharding = split, batch_size, seed, sharding
        self.views = views
        self.resident = split.images.nbytes <= device_budget
        self._stream: Any = None
        self._next = -1
        if self.resident:
            everywhere = NamedSharding(sharding.mesh, PartitionSpec())
            self._store: Store = {
                "image": jax.device_put(split.images[:], everywhere),
                "label": jax.device_put(split.labels, everywhere),
            }

    def batch(self, step: int) -> tuple[Store, jax.Array | None]:
        """Batch ``step``: pictures (N or B, h, w, c) uint8 and labels int32, and the rows (B,) int32 to
        take from them, or None where they are the batch already."""
        if self.resident:
            rows = self._rows(step)
            return self._store, jax.device_put(rows, self.sharding)
        if self._stream is None or step != self._next:
            self.close()
            self._stream = self._read_from(step)
        self._next = step + 1
        return next(self._stream), None

    def close(self) -> None:
        """Ends the reading threads."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _rows(self, step: int) -> np.ndarray:
        n = len(self.split) // self.views
        return order.indices(self.seed, step, self.batch_size, n, self.views)

    def _read_from(self, start: int) -> Iterator[Store]:
        import grain.python as grain

        def read(step: int) -> dict[str, np.ndarray]:
            rows = self._rows(step)
            return {"image": self.split.images[rows], "label": self.split.labels[rows]}

        steps = grain.MapDataset.range(start, start + 2**40).map(read)
        options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
        iterator = iter(steps.to_iter_dataset(options))
        try:
            ready: Store | None = None
            while True:
                # One batch ahead, so that the copy to the device overlaps the step before.
                coming = {k: jax.device_put(v, self.sharding) for k, v in next(iterator).items()}
                if ready is not None:
                    yield ready
                ready = coming
        finally:
            iterator.close()


def eval_batches(split: Split, batch_size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Pictures (batch_size, h, w, c) uint8 in order, each once; the last batch is padded with zeros.
    With each, how many are real."""
    for start in range(0, len(split), batch_size):
        images = split.images[start : start + batch_size]
        real = len(images)
        if real < batch_size:
            padding = np.zeros((batch_size - real, *images.shape[1:]), images.dtype)
            images = np.concatenate([images, padding])
        yield images, real
