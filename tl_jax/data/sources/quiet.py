"""TFDS without its noise, and without taking a forbidden TensorFlow for a loaded one."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Around every use of TFDS: its advice is not logged, and it can be used where TensorFlow is forbidden.

    A None in ``sys.modules`` forbids an import; etils, on which TFDS stands, sees only that the name is
    there, and asks it for its types.
    """
    from absl import logging

    forbidden = "tensorflow" in sys.modules and sys.modules["tensorflow"] is None
    if forbidden:
        del sys.modules["tensorflow"]
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if forbidden:
            sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type]
