"""Batches for the compiled step: from the device where the examples fit, else streamed by Grain.

Either way batch t is the same, because `order.indices` says which rows it holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from tl_jax.data import order
from tl_jax.data.examples import Split
from tl_jax.sharding import own_rows, put, put_rows

Store = dict[str, jax.Array]


class Feed:
    """Batches of a split.

    Where the examples take at most ``device_budget`` bytes they are put on every device once, and a
    batch is an index into them; else each batch is read by a thread, moved ahead of time and handed over.
    Texts of about one length come together, padded to one of the split's ``widths``.
    ``sharding`` lays the rows of a batch over the devices; a process reads the rows of its own devices. With
    ``views`` the split holds so many of each picture, as `order.indices` numbers them.
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
        self._own = own_rows(batch_size, sharding)
        if self.resident:
            self._everywhere = NamedSharding(sharding.mesh, PartitionSpec())
            self._labels = put(split.labels, self._everywhere)
            self._images: dict[int | None, jax.Array] = {}

    def batch(self, step: int) -> tuple[Store, jax.Array | None]:
        """Batch ``step``: examples (N or B, …) as the split has them and labels int32, and the rows (B,)
        int32 to take from them, or None where they are the batch already."""
        if self.resident:
            rows = self._rows(step)
            store = {"image": self._resident(self.split.width(rows)), "label": self._labels}
            return store, put_rows(rows[self._own], self.sharding)
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
        """The rows of batch ``step``."""
        n, sizes = len(self.split) // self.views, self.split.sizes
        return order.indices(self.seed, step, self.batch_size, n, self.views, sizes)

    def _resident(self, width: slice) -> jax.Array:
        """All examples on every device, cut to a width."""
        if width.stop not in self._images:
            self._images[width.stop] = put(self.split.images[:][:, width], self._everywhere)
        return self._images[width.stop]

    def _read_from(self, start: int) -> Iterator[Store]:
        import grain.python as grain

        def read(step: int) -> dict[str, np.ndarray]:
            rows = self._rows(step)
            own = rows[self._own]
            images = self.split.images[own][:, self.split.width(rows)]
            return {"image": images, "label": self.split.labels[own]}

        steps = grain.MapDataset.range(start, start + 2**40).map(read)
        options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
        iterator = iter(steps.to_iter_dataset(options))
        try:
            ready: Store | None = None
            while True:
                # One batch ahead, so that the copy to the device overlaps the step before.
                coming = {k: put_rows(v, self.sharding) for k, v in next(iterator).items()}
                if ready is not None:
                    yield ready
                ready = coming
        finally:
            iterator.close()


def eval_batches(
    split: Split,
    batch_size: int,
    own: slice = slice(None),
    order: np.ndarray | None = None,
    beside: Sequence[np.ndarray] = (),
) -> Iterator[tuple[Any, ...]]:
    """Examples (batch_size, …) as the split has them, in ``order`` (n,) or as they come, each once; the last
    batch is padded with zeros. With each, how many are real. Only the rows ``own`` of each batch are read and
    given. With an order texts are padded to one of the split's ``widths``, else all to the last. Between the
    two come the same rows of each array (n, …) of ``beside``."""
    first, end, _ = own.indices(batch_size)
    for start in range(0, len(split), batch_size):
        rows: Any = slice(start + first, min(start + end, len(split)))
        width = slice(None)
        if order is not None:
            width, rows = split.width(order[start : start + batch_size]), order[rows]
        batch = [split.images[rows][:, width], *(array[rows] for array in beside)]
        missing = end - first - len(batch[0])
        if missing > 0:
            batch = [
                np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)]) for part in batch
            ]
        yield *batch, min(batch_size, len(split) - start)
