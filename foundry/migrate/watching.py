"""A second session that looks at the first one while a statement there takes long."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace

import psycopg2
from peewee import PeeweeException
from psycopg2.extensions import cursor as Cursor

from foundry.database import Target, open_connection
from foundry.errors import FoundryError
from foundry.migrate import queries
from foundry.migrate.blockers import Blocker, blocking, named, timed_out
from foundry.migrate.failure import told

APPLICATION = "foundry watch"

_EVERY = 0.25
_FIRST = 1.0
"""Seconds that a wait may take without being worth a line."""
_AGAIN = 30.0
_RECONNECT = 2.0
_LAST_WORD = 5.0
_CONNECT = 5
_CANCELED, _TIMED_OUT = "57014", "55P03"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a statement is, as the server tells it."""

    phase: str
    """The server's words, "building index: scanning table" for one."""
    done: int
    total: int
    """0 where the phase has no measure."""
    unit: str
    """"blocks", "rows" or "transactions"."""
    waits: tuple[Blocker, ...] | None = None
    """Who is in the way now, none when nobody is any more; the rest says nothing then."""


WORKING = Progress(phase="working", done=0, total=0, unit="")
"""Of a step that has begun, and of one that the server tells nothing of."""


def waiting(blockers: tuple[Blocker, ...]) -> Progress:
    """Return what says who is in the way of a step, or that nobody is any more."""
    return replace(WORKING, phase="waiting", waits=blockers)


@contextmanager
def watching(
    target: Target,
    pid: int,
    *,
    what: str,
    wait: float,
    report: Callable[[str], None],
    progress: Callable[[Progress], None] = lambda seen: None,
) -> Iterator[None]:
    """Watch server process `pid` of the same role while the block runs a long statement there.

    `report` gets a line about who is in the way of it after a second, when others are, and
    every 30 s; `progress` what the server tells, when it changed. Both are called in another
    thread. A statement that waits for others for `wait` seconds in sum is cancelled and the
    block raises LockTimeout. Without a second connection, or when that is lost, one line says
    so, the block goes on, and the connection is tried again every few seconds; the session's own
    lock_timeout, which should be `wait`, bounds each wait then.
    """
    watched = _Watched(pid=pid, what=what, wait=wait, report=report, progress=progress)
    try:
        with polling(target, watched.poll, every=_EVERY, lost=watched.lost):
            yield
    except Exception as error:
        if watched.cancelled and sqlstate(error) == _CANCELED:
            raise timed_out(what, wait, watched.cancelled) from error
        if sqlstate(error) == _TIMED_OUT:
            raise timed_out(what, wait, watched.blockers) from error
        raise


@contextmanager
def following(target: Target, pid: int, *, progress: Callable[[Progress], None]) -> Iterator[None]:
    """Show how far a statement in the block is, if that takes more than a second.

    As `watching` does, for what bounds its waits itself: nothing is told of who is in the way.
    """
    watched = _Watched(pid=pid, what="", wait=0, report=lambda line: None, progress=progress)
    with polling(target, watched.show, every=_EVERY, lost=watched.lost, after=_FIRST):
        yield


@contextmanager
def polling(
    target: Target,
    poll: Callable[[Cursor], None],
    *,
    every: float,
    lost: Callable[[str], None],
    after: float = 0.0,
) -> Iterator[None]:
    """Call `poll` every so many seconds, in a thread with a session of its own, for a block.

    A block that is over `after` so many seconds, or sooner, gets no session.

    Nothing that goes wrong there comes into the block: `lost` is told the reason, and a new
    connection is tried. When the block is over no `poll` runs any more, and the session is
    closed unless it was still being opened.
    """
    stop, connected = threading.Event(), threading.Lock()
    owner = os.getpid()

    def session() -> None:
        # A pooler may take the connection and have no session for it.
        params = {**target.params, "connect_timeout": str(_CONNECT)}
        direct = replace(target, params=params)
        with closing(open_connection(direct, application_name=APPLICATION)) as conn, connected:
            while not stop.wait(every):
                with conn.cursor() as cursor:
                    poll(cursor)

    threading.Thread(
        target=_repeated, args=(session, stop, lost, after), name=APPLICATION, daemon=True
    ).start()
    try:
        yield
    finally:
        stop.set()
        # A forked child has the lock as it was, and no thread that would give it back.
        if os.getpid() == owner and connected.acquire(timeout=_LAST_WORD):
            connected.release()


def _repeated(
    session: Callable[[], None],
    stop: threading.Event,
    lost: Callable[[str], None],
    after: float,
) -> None:
    stop.wait(after)
    while not stop.is_set():
        try:
            session()
        except Exception as error:
            # A report that fails must not end this either.
            with suppress(Exception):
                lost(str(error) if isinstance(error, FoundryError) else told(error))
            stop.wait(_RECONNECT)


def sqlstate(error: BaseException) -> str:
    """Return the SQLSTATE of the driver's error that an exception was made from, or ""."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, psycopg2.Error):
            return cause.pgcode or ""
        # Peewee raises its own without "from".
        cause = cause.__cause__ or (
            cause.__context__ if isinstance(cause, PeeweeException) else None
        )
    return ""


@dataclass(slots=True, kw_only=True)
class _Watched:
    """What the thread has seen of a statement so far."""

    pid: int
    what: str
    wait: float
    report: Callable[[str], None]
    progress: Callable[[Progress], None]
    cancelled: tuple[Blocker, ...] = ()
    """Who was in the way when the statement was cancelled."""
    blockers: tuple[Blocker, ...] = ()
    """Who was in the way at the last look."""
    _seen: float = field(default_factory=time.monotonic)
    _blocked: float = 0.0
    _at_a_time: float = 0.0
    _told: frozenset[str] = frozenset()
    _told_at: float = 0.0
    _shown: Progress | None = None
    _alone: bool = False

    def poll(self, cursor: Cursor) -> None:
        self.show(cursor)
        found = blocking(cursor, self.pid)
        now = time.monotonic()
        # Only what was seen counts: not before the first look, nor while the connection was lost.
        passed = min(now - self._seen, 2 * _EVERY) if self.blockers else 0.0
        if {b.pid for b in found} != {b.pid for b in self.blockers}:
            self.progress(waiting(found))
        self._seen, self.blockers = now, found
        self._at_a_time = self._at_a_time + passed if found else 0.0
        if not found:
            return
        self._blocked += passed
        if self._blocked >= self.wait:
            self._cancel(cursor, found)
        elif self._at_a_time >= _FIRST:
            self._tell(found, now)

    def lost(self, reason: str) -> None:
        if not self._alone:
            self._alone = True
            self.report(f"progress and waits are not shown, --wait bounds each by itself: {reason}")

    def show(self, cursor: Cursor) -> None:
        cursor.execute(queries.text("progress"), {"pid": self.pid})
        row = cursor.fetchone()
        if row is None:
            return
        phase, done, total, unit = row
        seen = Progress(phase=phase, done=min(done, total), total=total, unit=unit)
        if seen != self._shown:
            self._shown = seen
            self.progress(seen)

    def _tell(self, found: tuple[Blocker, ...], now: float) -> None:
        who = frozenset(f"{b.pid} {b.application}" for b in found)
        changed = not who <= self._told and now >= self._told_at + _FIRST
        if changed or now >= self._told_at + _AGAIN:
            self._told, self._told_at = who, now
            self.report(f"{self.what} waits for {named(found)}")

    def _cancel(self, cursor: Cursor, found: tuple[Blocker, ...]) -> None:
        # Before it happens: the block may see the error before this thread the answer.
        before, self.cancelled = self.cancelled, found
        cursor.execute(queries.text("cancel_waiting"), {"pid": self.pid})
        if cursor.fetchone() != (True,):
            self.cancelled = before
