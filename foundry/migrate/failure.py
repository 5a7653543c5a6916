"""What went wrong in a migration, in one line without rows and secrets."""

from __future__ import annotations

import re
import traceback

import psycopg2

from foundry.errors import FoundryError, LockTimeout
from foundry.masking import ABOUT_CODE, driver_error, primary
from foundry.migrate.files import MigrationFile
from foundry.migrate.spelling import quote

# What to do about an error of the server, by SQLSTATE.
_ADVICE = {
    "42501": "run it as a role that owns the tables and may create in the schema",
    "25006": "the session is read-only: use the primary, or turn off default_transaction_read_only",
    "53200": "raise max_locks_per_transaction of the server, or run one command at a time",
    "53100": "free space on the server and run it again",
    "55P03": "another session holds the lock: end that (pg_stat_activity has it), or give --wait "
    "more seconds",
    "57014": "somebody ended the statement, or a statement_timeout that the file sets did: run it "
    "again, or take that out",
    "23502": "correct the rows that are in the way and run it again",
    "23503": "correct or delete the rows that are in the way and run it again",
    "23505": "correct or delete the rows that have the same and run it again",
    "23514": "correct or delete the rows that are in the way and run it again",
    "23P01": "correct or delete the rows that are in the way and run it again",
    "25001": "hand it to migrator.migrate by itself, in a file with atomic = False",
    "2D000": "hand it to migrator.migrate by itself, in a file with atomic = False",
    "57P01": "an administrator ended the session: run it again",
}


def told(error: BaseException, file: MigrationFile | None = None, *, rows: str = "") -> str:
    """Return the reason in one line, and the line of the file it came from if there is one.

    `rows` is the query that finds the rows it is about.
    """
    happened, remedy = apart(error, file, rows=rows)
    return f"{happened}; {remedy}" if remedy else happened


def apart(
    error: BaseException, file: MigrationFile | None = None, *, rows: str = ""
) -> tuple[str, str]:
    """Return what happened and what to do, for who puts something between them.

    What foundry itself says is one text, unless the error keeps both apart.
    """
    if isinstance(error, LockTimeout):
        return error.happened, error.remedy
    if isinstance(error, FoundryError):
        return f"{error}{place(error, file) if file else ''}", ""
    at = place(error, file) if file else ""
    driver = driver_error(error)
    if driver is not None:
        happened, remedy = _server_said(driver)
        found = f"correct or delete the rows that are in the way ({rows}) and run it again"
        return f"{happened}{at}", found if rows else remedy
    return f"{_reason(error)}{at}", ""


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "it calls exit()"
    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, IndexError) and "tuple index" in text:
        return "IndexError: write a literal % in SQL as %%"
    if isinstance(error, ABOUT_CODE) and text:
        return f"{type(error).__name__}: {text}"
    return type(error).__name__


def _server_said(error: psycopg2.Error) -> tuple[str, str]:
    said, state = primary(error), error.pgcode or ""
    if error.diag.message_primary is None and "closed" in said:
        return "the connection to the server was lost: start the server and run it again", ""
    if state == "42501" and "row-level security" in said:
        return said, "run it as a role with BYPASSRLS"
    if state == "2BP01":
        # Names of what rests on it, and no rows.
        said += f" ({', '.join((error.diag.message_detail or '').splitlines())})"
    return said, _doubled(error) or _ADVICE.get(state, "")


def _doubled(error: psycopg2.Error) -> str:
    """Return how the rows are found that a unique index cannot be built over."""
    found, diag = None, error.diag
    if error.pgcode == "23505" and (diag.source_function or "").startswith("comparetup_index"):
        # 'Key (a, b)=(1, 2) is duplicated.': what is before the values, in any language.
        found = re.search(r"\((.+?)\)=\(", diag.message_detail or "")
    if found is None or not diag.table_name or not diag.schema_name:
        return ""
    table = f"{quote(diag.schema_name)}.{quote(diag.table_name)}"
    return (
        f"correct or delete the rows that have the same (SELECT {found[1]}, count(*) FROM {table} "
        f"GROUP BY {found[1]} HAVING count(*) > 1) and run it again"
    )


def place(error: BaseException, file: MigrationFile) -> str:
    """Return the line of the file that an error came from, in brackets; "" where there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file.path)]
    if isinstance(error, SyntaxError) and error.lineno:
        lines.append(error.lineno)
    return f" (line {lines[-1]})" if lines else ""
