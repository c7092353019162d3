"""One small run that all tests of the commands look at, and none changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.commands import pictures
from tl_jax.runs import run


@pytest.fixture(scope="session")
def photographs(tmp_path_factory) -> Path:
    return pictures.make(tmp_path_factory.mktemp("photographs"))


@pytest.fixture(scope="session")
def finished(photographs, tmp_path_factory) -> Path:
    """The workdir of a finished run on `photographs`."""
    # The caches of the other tests are kept out of the user's folders a test at a time; this outlives one.
    os.environ.setdefault("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    run(pictures.config(photographs, report=dict(enabled=True)), workdir)
    return workdir
