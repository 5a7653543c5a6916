"""The session that a run works in: its own, on a direct connection, and as files find it."""

from __future__ import annotations

from contextlib import suppress

from peewee import DataError, PostgresqlDatabase

# A file may have changed these for its own session (pg_dump's output sets search_path);
# what comes after it starts as the first one did. Dollar quoting aside, every literal we
# send relies on standard_conforming_strings, and the driver reads no other DateStyle. Rows that
# row security hides would be in nobody's way and in no maximum: the server refuses instead.
# What the role may have for its application, a few seconds for a statement, is none for a build.
_PLAIN = (
    "RESET SESSION AUTHORIZATION; RESET ALL; SET TIME ZONE 'UTC'; SET DateStyle = 'ISO';"
    " SET IntervalStyle = 'postgres'; SET standard_conforming_strings = on;"
    " SET row_security = off; SET statement_timeout = 0;"
    " SET idle_in_transaction_session_timeout = 0; SET idle_session_timeout = 0;"
    " SET extra_float_digits = 1; SET array_nulls = on;"
    # A client whose machine or network is gone closes no connection; the server has to ask.
    " SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10;"
    " SET tcp_keepalives_count = 3; SET tcp_user_timeout = '60s'"
)
_SINCE_17 = "; SET transaction_timeout = 0"

# So that the statement of a client that was killed ends, and its locks with it.
_CHECKING = "SET client_connection_check_interval = '1s'"

# In a transaction that nothing but the run's own statements are in there is nothing to think
# about: a client that is stopped in it, not gone, must not keep its locks for ever.
PRESENT = "SET LOCAL idle_in_transaction_session_timeout = '60s'"

_SHORTEST, _LONGEST = 0.1, 2**31 / 1000 - 1


def begin(database: PostgresqlDatabase, *, wait: float) -> None:
    """Set the session up for a file; `database` must be a direct connection of the run's own.

    No statement waits for one lock longer than `wait` seconds, those aside that are watched
    or tried again, which bound that themselves.
    """
    milliseconds = round(min(max(wait, _SHORTEST), _LONGEST) * 1000)
    later = _SINCE_17 if database.server_version >= 170000 else ""
    database.execute_sql(f"{_PLAIN}{later}; SET lock_timeout = {milliseconds}")
    # Servers that cannot see it (PostgreSQL 15 on a Mac, any on Windows) refuse the setting.
    with suppress(DataError), database.atomic():
        database.execute_sql(_CHECKING)
