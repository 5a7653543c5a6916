"""Is this session the server's own, or does a pooler lend it out between transactions?"""

from __future__ import annotations

import random
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from peewee import PeeweeException, PostgresqlDatabase
from psycopg2.extensions import POLL_OK, POLL_READ, connection

from foundry.database import Target
from foundry.errors import MigrationError
from foundry.migrate import queries
from foundry.migrate.failure import told

Session = tuple[int, str]
"""Process and start of a server's session: what no two sessions of all servers share."""

# A pool that is busy may give both clients what they had by chance; after this many rounds
# of two to four questions that has become impossible.
_ROUNDS = 20
_PAUSE = 0.005
# A pooler serves who waits in order: when one client was answered this often meanwhile, and
# for so long, the other waits for a server connection that the first keeps for itself.
_PASSED = 25
_STARVED = 1.0
_CONNECT = 30.0


def require_direct(database: PostgresqlDatabase, target: Target) -> None:
    """Raise MigrationError when a pooler gives this session's server to others meanwhile.

    One round trip where there is no pooler. `database` must not be in a transaction; nothing
    is set on any session, and a pooler of sessions is as good as none.
    """
    text = queries.text("server_session")
    mine = _asked(database, text)
    # What a server tells libpq at the start is its own process; a pooler makes a number up,
    # by which it knows whom a request to cancel comes from.
    if mine[0] == database.connection().info.backend_pid:
        return
    try:
        with _second(target) as other:
            shared = _shared(database, other, text)
    except (psycopg2.Error, PeeweeException, UnicodeDecodeError) as error:
        failure, cause = _untold(error, target), error
    else:
        if not shared:
            return
        raise MigrationError(
            f"the pooler on {target.where} gives each transaction another server session, "
            f"where locks and settings of a run would stay behind: use the URL of the server "
            f"itself, or a pool of sessions (pool_mode = session in PgBouncer)"
        )
    # Without its frames: they have the connection parameters, and with them the password.
    raise failure from cause.with_traceback(None)


def _untold(error: BaseException, target: Target) -> MigrationError:
    return MigrationError(
        f"it cannot be told whether the pooler on {target.where} pools sessions: "
        f"{target.scrubbed(told(error))}; use the URL of the server itself"
    )


def _asked(database: PostgresqlDatabase, text: str) -> Session:
    pid, started = database.execute_sql(text).fetchone()
    return pid, started


def _shared(database: PostgresqlDatabase, other: _Client, text: str) -> bool:
    """Let two clients ask in turn which session serves them; each has one, or they share.

    No order of the pool stands this for long: last in, first out hands the second client what
    the first has just left; first in, first out moves a client that asks twice. The pauses
    are for pools that clean a session before they hand it on.
    """
    home, theirs = _asked(database, text), None
    for _ in range(_ROUNDS):
        for _ in range(random.randint(1, 3)):
            if _asked(database, text) != home:
                return True
        time.sleep(random.uniform(0, _PAUSE))
        other.ask(text)
        since, passed = time.monotonic(), 0
        while (answer := other.answer(within=_PAUSE)) is None:
            if _asked(database, text) != home:
                return True
            passed += 1
            if passed >= _PASSED and time.monotonic() - since >= _STARVED:
                return False
        if answer == home or answer != (theirs or answer):
            return True
        theirs = answer
        time.sleep(random.uniform(0, _PAUSE))
    return False


class _Client:
    """A second connection by the same URL, which never makes anybody wait."""

    def __init__(self, conn: connection) -> None:
        self._connection = conn
        self._cursor = conn.cursor()

    def ask(self, text: str) -> None:
        self._cursor.execute(text)

    def answer(self, *, within: float) -> Session | None:
        """Return the answer to what was asked; None while there is none yet."""
        if not _settled(self._connection, within):
            return None
        pid, started = self._cursor.fetchone() or (0, "")
        return pid, started


@contextmanager
def _second(target: Target) -> Iterator[_Client]:
    params: dict[str, Any] = dict(target.params, fallback_application_name="foundry migrate")
    conn: connection = psycopg2.connect(**params, async_=True)
    try:
        if not _settled(conn, _CONNECT):
            raise psycopg2.OperationalError(f"it takes no second connection in {_CONNECT:g} s")
        yield _Client(conn)
    finally:
        conn.close()


def _settled(conn: connection, seconds: float) -> bool:
    """Wait until the connection has nothing left to do; False when the time is over."""
    deadline = time.monotonic() + seconds
    while (state := conn.poll()) != POLL_OK:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        watched = select.poll()
        watched.register(conn.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        watched.poll(left * 1000)
    return True
