"""What both command lines share: where they print, and how they end on an error."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable

from peewee import DatabaseError, InterfaceError
from rich.console import Console

from foundry.errors import FoundryError

INTERRUPTED = 130
"""What a shell expects of a command ended by Ctrl-C."""


def console_for(options: argparse.Namespace, *, stderr: bool = False) -> Console:
    """Return the console for results, without colour where `--no-color` or NO_COLOR say so."""
    return Console(stderr=stderr, no_color=True if options.no_color else None, highlight=False)


def fail(run: Callable[[], int], *, verbose: bool = False) -> int:
    """Call `run` and return its exit code; an error becomes one line on stderr."""
    try:
        return run()
    except FoundryError as error:
        code, line = error.exit_code, str(error)
    except (DatabaseError, InterfaceError) as error:
        # Only the first line: DETAIL would show the row.
        code, line = 2, str(error).strip().splitlines()[0]
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output is gone: nobody wants to hear of it
        return 1
    except Exception as error:
        # A defect of foundry or of a file it ran. The text may hold anything, the type not.
        code, line = 2, f"unexpected {type(error).__name__}; run with -v to see where"
    except KeyboardInterrupt:
        code, line = INTERRUPTED, "interrupted; the same command takes up where this one stopped"
    if verbose:
        traceback.print_exc()
    print(f"error: {line}", file=sys.stderr)
    return code
