"""Connections: opening one, and a pool of them for Peewee.

Stock playhouse.pool asks the server `SELECT 1` at every checkout and opens connections while
it holds the pool's lock. Here a checkout asks the kernel whether the idle socket has something
to say, which costs no round trip, and a slow connect stops nobody else.
"""

from __future__ import annotations

import math
import os
import select
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import closing
from typing import Any

import peewee
import psycopg2
from playhouse.pool import PoolConnection
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection

from foundry import explain
from foundry.errors import ConnectionFailed, PoolExhausted
from foundry.transactions import Transactional
from foundry.url import Target

# Firewalls and address translators forget idle connections without a word to either end,
# after minutes at the earliest: only a round trip finds those.
_TRUSTED_IDLE = 30.0

_MAY_CONNECT = (
    "SELECT pg_catalog.has_database_privilege(oid, 'CONNECT') "
    "FROM pg_catalog.pg_database WHERE datname = %s"
)


def open_connection(
    target: Target, *, dbname: str | None = None, application_name: str = "foundry"
) -> connection:
    """A direct connection to `target`, or to `dbname` beside it; autocommit, time zone UTC.

    Raises ConnectionFailed or DatabaseMissing. `application_name` yields to the URL's own.
    """
    name = dbname if dbname is not None else target.dbname
    try:
        return _connected(target, name, application_name)
    except (psycopg2.Error, UnicodeDecodeError) as error:
        failure, cause = _failure(error, target, name)
    # Without its frames: test runners print their arguments, and those have the password.
    raise failure from cause and cause.with_traceback(None)


def _connected(target: Target, dbname: str, application_name: str) -> connection:
    params: dict[str, Any] = dict(target.params, fallback_application_name=application_name)
    if dbname:
        params["dbname"] = dbname
    conn: connection = psycopg2.connect(**params)
    conn.autocommit = True
    _use_utc(conn)
    return conn


def _use_utc(conn: connection) -> None:
    """Sets the time zone of a session that reports another.

    Not through the `options` of the start-up packet: PgBouncer before 1.20 refuses those
    ("unsupported startup parameter"), and the URL may carry its own. The server reports every
    change of TimeZone, so looking costs nothing, and PgBouncer hands the value on to whichever
    server connection it picks next.
    """
    if conn.get_parameter_status("TimeZone") != "UTC":
        with conn.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")


def _failure(
    error: psycopg2.Error | UnicodeDecodeError, target: Target, dbname: str
) -> tuple[ConnectionFailed, BaseException | None]:
    """What to raise for a driver's error, and the cause unless that holds a secret."""
    if isinstance(error, UnicodeDecodeError):
        # Messages of the connection phase come in the server's encoding, whatever that is.
        text = error.object.decode("utf-8", "replace")
    else:
        text = str(error)
    failure = (
        explain.explained(text, target, dbname=dbname)
        or _probed(target, dbname)
        or explain.unexplained(text, target, dbname=dbname)
    )
    return failure, error if target.scrubbed(text) == text else None


def _probed(target: Target, dbname: str) -> ConnectionFailed | None:
    """What the server itself says about `dbname`, asked from its maintenance database.

    Connection errors carry no SQLSTATE and their text follows the server's lc_messages, so a
    server that does not speak English is asked instead of read.
    """
    try:
        conn = _connected(target, "postgres", "foundry")
        with closing(conn), conn.cursor() as cursor:
            cursor.execute(_MAY_CONNECT, (dbname,))
            row = cursor.fetchone()
    except (psycopg2.Error, UnicodeDecodeError):
        return None
    if row is None:
        return explain.missing(target, dbname)
    return None if row[0] else explain.denied(target, dbname)


class _Turns:
    """Who waits for a free connection, first come first served; all calls hold the pool's lock.

    It stands where Peewee's pool keeps a Condition and takes the same two signals. A Condition
    lets a thread that returns a connection take it again before the woken one runs, and under
    load the waiting starve.
    """

    def __init__(self, free: Callable[[], bool]) -> None:
        self._free = free
        self._waiting: deque[threading.Event] = deque()

    def join(self) -> threading.Event:
        turn = threading.Event()
        self._waiting.append(turn)
        return turn

    def leave(self, turn: threading.Event) -> None:
        self._waiting.remove(turn)
        self.notify()

    def is_first(self, turn: threading.Event) -> bool:
        return self._waiting[0] is turn

    def __len__(self) -> int:
        return len(self._waiting)

    def notify(self) -> None:
        if self._waiting and self._free():
            self._waiting[0].set()

    notify_all = notify


class Database(Transactional):
    """Peewee's pooled PostgreSQL database for one `target`, a connection per thread.

    At most `pool_size` + `max_overflow` connections are out at once and at most `pool_size`
    stay open when idle; the last one returned is the next one used. A thread waits up to
    `pool_timeout` seconds, then gets PoolExhausted. A connection older than `pool_recycle`
    seconds is not handed out again (0: no limit).
    """

    _connections: list[tuple[float, float, connection]]
    _in_use: dict[int, Any]

    def __init__(
        self,
        target: Target,
        *,
        pool_size: int = 20,
        max_overflow: int = 10,
        pool_timeout: float = 30,
        pool_recycle: float = 3600,
    ) -> None:
        if pool_size < 0 or max_overflow < 0 or pool_size + max_overflow < 1:
            raise ValueError("pool_size and max_overflow must allow at least one connection")
        self.target = target
        self.pool_size = pool_size
        self.max_overflow = max_overflow
        self.pool_timeout = pool_timeout
        self.pool_recycle = pool_recycle
        super().__init__(target.dbname or target.where, max_connections=pool_size + max_overflow)
        self._opening = 0
        self._pool_available = _Turns(self._has_room)
        _databases.add(self)

    def __repr__(self) -> str:
        return f"<foundry.Database {self.target.describe()}>"

    def connect(self, reuse_if_open: bool = False) -> bool:
        """Takes a connection for this thread; False when `reuse_if_open` and it has one."""
        if not self._state.closed:
            if reuse_if_open:
                return False
            raise peewee.OperationalError("Connection already opened.")
        conn = self._checkout()
        self._state.reset()
        self._state.set_connection(conn)
        if self.server_version is None:
            self._set_server_version(conn)
        self._initialize_connection(conn)
        return True

    def _has_room(self) -> bool:
        taken = len(self._in_use) + self._opening
        return bool(self._connections) or taken < self._max_connections

    def _checkout(self) -> connection:
        deadline = time.monotonic() + self.pool_timeout
        while True:
            entry = self._entry(deadline)
            if entry is None:
                return self._opened()
            born, idle_since, conn = entry
            alive = False
            try:
                alive = not self._is_stale(born) and _is_alive(conn, idle_since)
            finally:
                if not alive:
                    self._discard(conn)
            if alive:
                return conn

    def _discard(self, conn: connection) -> None:
        with self._pool_lock:
            self._in_use.pop(id(conn), None)
            self._pool_available.notify()
        self._close_raw(conn)

    def _entry(self, deadline: float) -> tuple[float, float, connection] | None:
        """An idle connection, or None for the right to open one; waits in line for either."""
        with self._pool_lock:
            if not self._pool_available and self._has_room():
                return self._taken()
            turn = self._pool_available.join()
        try:
            while True:
                turn.wait(max(0.0, deadline - time.monotonic()))
                with self._pool_lock:
                    turn.clear()
                    if self._pool_available.is_first(turn) and self._has_room():
                        return self._taken()
                    if time.monotonic() >= deadline:
                        raise self._exhausted()
        finally:
            with self._pool_lock:
                self._pool_available.leave(turn)

    def _taken(self) -> tuple[float, float, connection] | None:
        if not self._connections:
            self._opening += 1
            return None
        entry = self._connections.pop()
        born, _, conn = entry
        self._in_use[id(conn)] = PoolConnection(born, conn, time.time())
        return entry

    def _opened(self) -> connection:
        try:
            conn = open_connection(self.target)
        except BaseException:
            with self._pool_lock:
                self._opening -= 1
                self._pool_available.notify()
            raise
        with self._pool_lock:
            self._opening -= 1
            self._in_use[id(conn)] = PoolConnection(time.monotonic(), conn, time.time())
        return conn

    def _exhausted(self) -> PoolExhausted:
        return PoolExhausted(
            f"all {self._max_connections} connections are in use (pool_size {self.pool_size} + "
            f"max_overflow {self.max_overflow}) and none came back within {self.pool_timeout:g} "
            "seconds: return them sooner (`with db.connection_context():`) or raise pool_size"
        )

    def _is_stale(self, timestamp: float) -> bool:
        return time.monotonic() - timestamp > (self.pool_recycle or math.inf)

    def _can_reuse(self, conn: connection) -> bool:
        """Whether `conn` may be idle in the pool; rolls back what was left open."""
        if conn.closed or not super()._can_reuse(conn):
            return False
        if not conn.autocommit:
            conn.autocommit = True
        return True

    def _close(self, conn: connection, close_conn: bool = False) -> None:
        entry = self._in_use.get(id(conn))
        keep = False
        try:
            if entry is not None and not close_conn and not self._is_stale(entry.timestamp):
                keep = self._can_reuse(conn)
        finally:
            self._returned(conn, keep=keep)
        if close_conn and entry is None:
            self._close_raw(conn)

    def _returned(self, conn: connection, *, keep: bool) -> None:
        with self._pool_lock:
            entry = self._in_use.pop(id(conn), None)
            keep = keep and entry is not None and len(self._connections) < self.pool_size
            if keep:
                self._connections.append((entry.timestamp, time.monotonic(), conn))
            self._pool_available.notify()
        if not keep and entry is not None:
            self._close_raw(conn)

    def _forget_parent(self) -> None:
        """Leaves every connection to the process that opened it; runs in a forked child.

        The child's descriptors are pointed at /dev/null, so that neither a stray reference can
        write into the parent's session nor the child keep that session open.
        """
        inherited = [conn for _, _, conn in self._connections]
        inherited += [entry.connection for entry in self._in_use.values()]
        for conn in inherited:
            detach(conn)
        # Another thread of the parent may have held the locks at the moment of the fork.
        self._lock = threading.Lock()
        self._pool_lock = threading.RLock()
        self._pool_available = _Turns(self._has_room)
        self._connections, self._in_use, self._opening = [], {}, 0
        contexts = self._state.ctx
        self._state.reset()
        self._state.ctx = contexts


def _is_alive(conn: connection, idle_since: float) -> bool:
    """Whether an idle connection still works, and its session is on UTC.

    An idle server sends nothing: a readable socket means end of file, the last words of a
    session that was ended, or a notice; only then, or after long idling, is the server asked.
    """
    if conn.closed or conn.get_transaction_status() != TRANSACTION_STATUS_IDLE:
        return False
    try:
        if time.monotonic() - idle_since > _TRUSTED_IDLE or _is_readable(conn.fileno()):
            with conn.cursor() as cursor:
                cursor.execute("SELECT 1")
        _use_utc(conn)
    except (psycopg2.Error, OSError):
        return False
    return True


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def detach(conn: Any) -> None:
    """Point the descriptor of a session at /dev/null, in a child that was forked."""
    try:
        descriptor = conn.fileno()
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, descriptor, inheritable=False)
        os.close(null)
    except (psycopg2.Error, OSError):
        return


_databases: weakref.WeakSet[Database] = weakref.WeakSet()


def _after_fork() -> None:
    for database in list(_databases):
        database._forget_parent()


os.register_at_fork(after_in_child=_after_fork)
