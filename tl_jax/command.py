"""How a command ends: a problem of the user's is a message and an exit code, not a traceback."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable

from tl_jax import memory
from tl_jax.completion import ConfigError
from tl_jax.interrupt import Interrupted

EXPECTED = (ValueError, OSError, RuntimeError, ArithmeticError)
"""What bad input raises. Anything else is a fault of the program and shows its traceback."""


def line() -> str:
    """How this process was started, for a shell."""
    module = getattr(sys.modules["__main__"], "__spec__", None)
    program = ["-m", module.name.removesuffix(".__main__")] if module is not None else sys.argv[:1]
    return shlex.join(["python", *program, *sys.argv[1:]])


def run(main: Callable[[list[str]], int]) -> None:
    """Calls ``main(sys.argv)`` and exits: 0 done, 1 a problem, 2 a wrong command line, 130 Ctrl-C,
    75 stopped by SIGTERM after saving (run the same command again)."""
    memory.tune()
    try:
        code = main(sys.argv)
    except ConfigError as error:
        print(error, file=sys.stderr)
        code = 2
    except EXPECTED as error:
        if os.environ.get("TL_JAX_TRACEBACK"):
            raise
        print(f"error: {error}\n(TL_JAX_TRACEBACK=1 shows where)", file=sys.stderr)
        code = 1
    except Interrupted as stop:
        # Threads of XLA and of readers may be at work; tearing the interpreter down under them may abort.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(str(stop.code)))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)
