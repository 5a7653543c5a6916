"""What went wrong in a migration, in one line without rows and secrets."""

from __future__ import annotations

import re
import traceback

import psycopg2
from peewee import PeeweeException

from foundry.errors import FoundryError
from foundry.migrate.files import MigrationFile

# What to do about an error of the server, by SQLSTATE.
_ADVICE = {
    "42501": "; run it as a role that owns the tables and may create in the schema",
    "25006": "; the session is read-only: use the primary, or turn off "
    "default_transaction_read_only",
    "53200": "; raise max_locks_per_transaction of the server, or run one command at a time",
    "53100": "; free space on the server and run it again",
    "55P03": "; another session holds the lock: end that (pg_stat_activity has it), or give --wait "
    "more seconds",
    "57014": "; somebody ended the statement: run it again",
    "23502": "; correct the rows that are in the way and run it again",
    "23503": "; correct or delete the rows that are in the way and run it again",
    "23505": "; correct or delete the rows that have the same and run it again",
    "23514": "; correct or delete the rows that are in the way and run it again",
    "23P01": "; correct or delete the rows that are in the way and run it again",
    "25001": "; hand it to migrator.migrate by itself, in a file with atomic = False",
    "2D000": "; hand it to migrator.migrate by itself, in a file with atomic = False",
    "57P01": "; the server ended the connection: run it again",
}

# Python's own complaints about code name code; other exceptions may carry anything, a
# URL with its password for one.
_ABOUT_CODE = (
    *(ImportError, NameError, SyntaxError, AttributeError, TypeError, IndexError),
    NotImplementedError,
)


def told(error: BaseException, file: MigrationFile | None = None) -> str:
    """Return the reason in one line, and the line of the file it came from if there is one."""
    return f"{_reason(error)}{_place(error, file) if file else ''}"


def said(error: BaseException) -> str:
    """Return the reason in one line, of this package's own errors too."""
    return str(error) if isinstance(error, FoundryError) else told(error)


def _reason(error: BaseException) -> str:
    driver = _driver_error(error)
    if driver is not None:
        return _server_said(driver)
    if isinstance(error, SystemExit):
        return "it calls exit()"
    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, IndexError) and "tuple index" in text:
        return "IndexError: write a literal % in SQL as %%"
    if isinstance(error, _ABOUT_CODE) and text:
        return f"{type(error).__name__}: {text}"
    return type(error).__name__


def _driver_error(error: BaseException) -> psycopg2.Error | None:
    if isinstance(error, psycopg2.Error):
        return error
    if isinstance(error, PeeweeException) and isinstance(error.__context__, psycopg2.Error):
        return error.__context__
    return None


def _server_said(error: psycopg2.Error) -> str:
    primary = error.diag.message_primary or (str(error).strip().splitlines() or ["unknown"])[0]
    state = error.pgcode or ""
    if error.diag.message_primary is None and "closed" in primary:
        return "the connection to the server was lost: start the server and run it again"
    if state.startswith("22"):
        # Data exceptions quote the value: 'invalid input syntax for type integer: "…"'.
        primary = re.sub(r'"[^"]*"', '"…"', primary)
    if state == "2BP01":
        # Names of what rests on it, and no rows.
        primary += f" ({', '.join((error.diag.message_detail or '').splitlines())})"
    if "row-level security" in primary:
        return f"{primary}; run it as a role with BYPASSRLS"
    return primary + _ADVICE.get(state, "")


def _place(error: BaseException, file: MigrationFile) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file.path)]
    if isinstance(error, SyntaxError) and error.lineno:
        lines.append(error.lineno)
    return f" (line {lines[-1]})" if lines else ""
