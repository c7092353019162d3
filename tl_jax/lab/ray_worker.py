"""What happens on the machines of a Ray cluster: a worker executes the runs that `ray_engine` sends.

Ray makes an actor of `Worker`; nothing here knows Ray. Runs are not in the main thread of their process, so
that no signal reaches them: `Worker.stop`, called in another thread, says the same. JAX is imported late, so
that a machine can be asked for its `problems` quickly.
"""

from __future__ import annotations

import importlib.metadata
import os
import pickle
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_jax import named, version
from tl_jax.interrupt import Interrupted, Stop
from tl_jax.workdir import LockedError, Workdir

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from tl_jax.lab.ledger import Ended

TOKEN = ".token"
"""File in the grid's folder by which a node knows that it is the same folder."""

PATIENCE = 600.0
"""Seconds that a run waits for its folder, which a worker that was given up may still hold."""


def versions() -> dict[str, str]:
    """What must be the same on all machines."""
    found = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib")}
    return {"tl_jax": version.code(), **found}


def functions(grid: Iterable[ConfigDict]) -> dict[str, str]:
    """Functions that configs name, and the folder from which this process imports each. Raises ValueError
    with all that another process could not import."""
    found, wrong = dict[str, str](), set[str]()
    for config in grid:
        for key, value in (("task", config.task), ("data.source", config.data.source)):
            if callable(value) and not named.is_importable(value):
                wrong.add(
                    f"{key} is a function that other processes cannot import; define it in a module of its "
                    "own and let the config import that"
                )
            elif callable(value) or named.is_name(value):
                name = value if isinstance(value, str) else f"{value.__module__}:{value.__qualname__}"
                try:
                    found[name] = named.folder(name, key)
                except ValueError as error:
                    wrong.add(str(error))
    if wrong:
        raise ValueError("\n".join(sorted(wrong)))
    return found


def here(root: Path, token: str, named_functions: Mapping[str, str]) -> dict[str, Any]:
    """What `problems` compares another machine with: this process, which has locked ``root`` and written
    ``token`` there."""
    return dict(
        theirs=versions(), cwd=os.getcwd(), root=str(root), token=token, named_functions=named_functions
    )


def problems(
    *, theirs: Mapping[str, str], cwd: str, root: str, token: str, named_functions: Mapping[str, str]
) -> list[str]:
    """What keeps this machine from taking part in the grid of another, where the command runs; a line for
    each. The arguments are what `here` says there."""
    found = [
        f"{name} is {own} and not {theirs.get(name)}, as where the command runs"
        for name, own in versions().items()
        if theirs.get(name) != own
    ]
    if not Path(cwd).is_dir():
        found.append(f"{cwd}, where the command was started, is no folder here: relative paths lead nowhere")
    found += _folder_problems(Path(root), token)
    for name, folder in named_functions.items():
        if folder and folder not in sys.path:
            sys.path.append(folder)
        try:
            named.imported(name, "a key of the config")
        except ValueError as error:
            found.append(str(error))
    return found


def _folder_problems(root: Path, token: str) -> list[str]:
    try:
        seen = (root / TOKEN).read_text()
    except OSError:
        return [f"{root} is not the folder that it is where the command runs: it must be shared"]
    if seen != token:
        return [f"{root} is another folder than where the command runs: it must be shared"]
    try:
        with Workdir(root).locked():
            return [
                f"{root} is shared, but locks (flock) in it are not, and without them two processes might "
                "come to run in one folder: mount it so that they are (NFS: without nolock and local_lock; "
                "Lustre: with flock)"
            ]
    except LockedError:
        return []
    except OSError as error:
        return [f"{root} cannot be written here: {error}"]


class Worker:
    """Executes runs one after the other, in one process, which shares its compiled programs between them."""

    def __init__(self) -> None:
        from tl_jax import compilation

        self._stop = Stop()
        self._life = ExitStack()
        self._life.enter_context(compilation.shared())

    def begin(self, gpus: int, there: Mapping[str, Any]) -> list[str]:
        """Makes the process ready to run. `problems`, given what is ``there``, and those of its GPUs."""
        found = problems(**there)
        if found:
            return found
        os.chdir(there["cwd"])
        return _gpu_problems(gpus) if gpus else []

    def run(self, config: str, folder: str) -> Ended | None:
        """Executes a run, or goes on with it; None where it was asked to stop, and has saved.

        ``config``: JSON. Where another process is at work in ``folder``, waits until that is gone, `PATIENCE`
        seconds at most: it may be a worker that was given up because its machine was cut off, and lives.
        """
        from tl_jax import config as configs
        from tl_jax.lab import runner

        until = time.monotonic() + PATIENCE
        while True:
            try:
                ended = runner.start(configs.from_json(config), Path(folder), stop=self._stop)
            except Interrupted:
                return None
            if not isinstance(ended.error, LockedError) or time.monotonic() > until:
                return (
                    ended
                    if ended.error is None
                    else replace(ended, error=_portable(ended.error, ended.trace))
                )
            time.sleep(1)

    def stop(self) -> bool:
        """Asks the run to save and stop. False where it has nothing to save and would not be asked for long:
        then its process may as well be ended."""
        if self._stop.graceful:
            self._stop.signal = signal.SIGTERM
        return self._stop.graceful


def _gpu_problems(gpus: int) -> list[str]:
    import jax

    devices = jax.local_devices()
    if jax.default_backend() == "gpu" and len(devices) == gpus:
        return []
    return [f"JAX finds {devices} and not {gpus} GPUs: is it installed with CUDA or ROCm?"]


def _portable(error: Exception, trace: str) -> Exception:
    """The error, or one that says the same where it cannot be sent; with ``trace``, which would be lost on
    the way."""
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        copy = None
    same = type(copy) is type(error) and str(copy) == str(error)
    sent = error if same else RuntimeError(f"{type(error).__name__}: {error}")
    sent.add_note(trace)
    return sent
