"""How a command ends: a problem of the user's is a message and an exit code, not a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from tl_jax import huge_pages
from tl_jax.completion import ConfigError
from tl_jax.interrupt import Interrupted

EXPECTED = (ValueError, OSError, RuntimeError, ArithmeticError)
"""What bad input raises. Anything else is a fault of the program and shows its traceback."""


def run(main: Callable[[list[str]], int]) -> None:
    """Calls ``main(sys.argv)`` and exits: 0 done, 1 a problem, 2 a wrong command line, 130 Ctrl-C,
    75 stopped by SIGTERM after saving (run the same command again)."""
    huge_pages.ask()
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
