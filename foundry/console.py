"""What both command lines share: where they print, and how they end on an error."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from peewee import DatabaseError, InterfaceError
from rich.console import Console
from rich.text import Text

from foundry import masking
from foundry.errors import FoundryError

INTERRUPTED = 130
"""What a shell expects of a command ended by Ctrl-C."""

TERMINATED = 143
"""What a shell expects of a command ended by SIGTERM."""

HUNG_UP = 129
"""What a shell expects of a command whose terminal went away (SIGHUP)."""

_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^\s]*(@)|(password=)\S+", re.IGNORECASE)


def console_for(options: argparse.Namespace, *, stderr: bool = False) -> Console:
    """Return the console for results, without colour where `--no-color` or NO_COLOR say so."""
    return _Console(stderr=stderr, no_color=True if options.no_color else None, highlight=False)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Go on without output: rich would end the process in the middle of a migration."""
        self.quiet = True
        _close_stdout()


def printable(text: str) -> str:
    """Return `text` with control characters as escapes: a name must not command a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def cell(text: str) -> Text:
    """Return a table cell that shows `text` and nothing else."""
    return Text(printable(text))


def say(console: Console, line: str) -> None:
    """Print a line; a reader that has gone away does not stop the work it is about."""
    with suppress(OSError):
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


class _Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP came: what is open is closed and dropped as after Ctrl-C."""

    code = TERMINATED


class _HungUp(_Terminated):
    code = HUNG_UP


def exit_code_of(run: Callable[[], int], *, verbose: bool = False) -> int:
    """Call `run` and return its exit code; an error becomes one line on stderr."""
    with _terminating():
        return _exit_code_of(run, verbose=verbose)


@contextmanager
def _terminating() -> Iterator[None]:
    before = {}
    try:
        for name, error in (("SIGTERM", _Terminated), ("SIGHUP", _HungUp)):
            number = getattr(signal, name, None)
            # nohup ignores it on purpose.
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, _raising(error))
    except ValueError:  # not the main thread: signals are somebody else's
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raising(error: type[_Terminated]) -> Callable[..., NoReturn]:
    def stop(*_: object) -> NoReturn:
        raise error

    return stop


def _exit_code_of(run: Callable[[], int], *, verbose: bool) -> int:
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks is no reason to stop a migration.
        with suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = run()
        sys.stdout.flush()
        return code
    except FoundryError as error:
        return _ended(error, error.exit_code, str(error), verbose=verbose)
    except (DatabaseError, InterfaceError) as error:
        driver = masking.driver_error(error)
        told = masking.primary(driver) if driver else f"unexpected {type(error).__name__}"
        return _ended(error, 2, told, verbose=verbose)
    except BrokenPipeError:
        _close_stdout()
        return 0
    except KeyboardInterrupt as error:
        told = "interrupted; the same command takes up where this one stopped"
        code = error.code if isinstance(error, _Terminated) else INTERRUPTED
        return _ended(error, code, told, verbose=verbose)
    except Exception as error:
        # A defect of foundry or of a file it ran. The text may hold anything, the type not.
        told = f"unexpected {type(error).__name__}; run with -v to see where"
        return _ended(error, 2, told, verbose=verbose)


def _ended(error: BaseException, code: int, line: str, *, verbose: bool) -> int:
    if verbose:
        print(_redacted(masking.trace(error)), end="", file=sys.stderr)
    print(f"error: {printable(_redacted(line))}", file=sys.stderr)
    return code


def _close_stdout() -> None:
    # Nobody reads on, and Python would complain once more when it flushes at the end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _redacted(text: str) -> str:
    return _PASSWORD.sub(lambda m: f"{m[1] or m[3]}***{m[2] or ''}", text)
