"""Who stands in the way: sessions and prepared transactions that a server process waits for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from peewee import Database
from psycopg2.extensions import cursor as Cursor

from foundry.errors import LockTimeout
from foundry.migrate import queries
from foundry.migrate.modes import Mode

PREPARED = "prepared transaction"
AUTOVACUUM = "autovacuum worker"

_LONGEST = 200
_SHOWN = 3
_MASK = "?"

# One token of PostgreSQL's lexer (scan.l), the literals closed or cut off. A word is taken
# whole: the "$" or "E" inside it begins nothing.
_TOKEN = re.compile(
    r"""
    (?P<line>--[^\n\r]*)
  | (?P<block>/\*)
  | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*(?:'|\\?\Z))
  | (?P<string>(?:[bBnNxX]|[uU]&)?'(?:[^']|'')*(?:'|\Z))
  | (?P<name>"(?:[^"]|"")*")
  | (?P<word>[A-Za-z_\u0080-\U0010ffff][\w$\u0080-\U0010ffff]*)
  | (?P<parameter>\$\d+)
  | (?P<number>\.?\d(?:[eE][+-]?\d|[\w.])*)
  | (?P<dollar>\$(?P<tag>(?:[A-Za-z_\u0080-\U0010ffff][\w\u0080-\U0010ffff]*)?)\$)
  | (?P<rest>["$])
    """,
    re.X | re.S,
)
_COMMENT_END = re.compile(r"/\*|\*/")
# With standard_conforming_strings off, which nobody can see from another session, \' does
# not end a string.
_DOUBTFUL = r"\'"
_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """A session, or a prepared transaction, that another one waits for."""

    pid: int
    """0 for a prepared transaction."""
    application: str
    """The identifier of a prepared transaction."""
    user: str
    """Empty for a process of the server's own."""
    kind: str = "client backend"
    """As backend_type of pg_stat_activity has it, or "prepared transaction"."""
    state: str = ""
    """Empty where this role may not see it."""
    age: float | None = None
    """Seconds since its transaction began, or was prepared; None outside one or unseen."""
    query: str | None = ""
    """Its last statement with every literal masked; None where this role may not see it."""

    @property
    def told(self) -> str:
        """One line for an operator."""
        if self.kind == PREPARED:
            return f'{PREPARED} "{_line(self.application)}"{self._by}{self._since(" for")}'
        name = self._name
        state = f", {self.state}{self._since(' for')}" if self.state else ""
        query = f": {self.query}" if self.query else ""
        unseen = "" if self.query is not None else "; pg_read_all_stats would show what it runs"
        return f"server process {self.pid}{name}{state}{query}{unseen}"

    def values(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "pid": self.pid,
            "application": _line(self.application),
            "user": self.user,
            "kind": self.kind,
            "state": self.state,
            "seconds": None if self.age is None else round(max(self.age, 0), 1),
            "query": self.query,
        }

    @property
    def remedy(self) -> str:
        """The statement that ends it."""
        if self.kind == PREPARED:
            return "ROLLBACK PREPARED '" + self.application.replace("'", "''") + "'"
        return f"SELECT pg_terminate_backend({self.pid})"

    @property
    def _by(self) -> str:
        return f" of {_line(self.user)}" if self.user else ""

    @property
    def _name(self) -> str:
        if not self.user:
            return f" ({self.kind})"
        return f' ("{_line(self.application)}" as {_line(self.user)})'

    def _since(self, word: str) -> str:
        return "" if self.age is None else f"{word} {max(self.age, 0):.0f} s"


def blocking(database: Database | Cursor, pid: int) -> tuple[Blocker, ...]:
    """Return who stands in the way of server process `pid`; asks from another session.

    Those that hold what it waits for come before those that wait for it too, the oldest
    transaction first.
    """
    found = _asked(database, "blocking_sessions", pid)
    sessions = tuple(_session(row) for row in found if row[0])
    if len(sessions) == len(found):
        return sessions
    return (*_prepared(_asked(database, "blocking_prepared", pid)), *sessions)


def named(blockers: Sequence[Blocker]) -> str:
    """Return the first few of them in one line."""
    more = len(blockers) - _SHOWN
    shown = "; ".join(blocker.told for blocker in blockers[:_SHOWN])
    return f"{shown}; and {more} more" if more > 0 else shown


def timed_out(what: str, wait: float, blockers: Sequence[Blocker]) -> LockTimeout:
    """Return what to raise when they have been in the way of `what` for `wait` seconds."""
    who = f": {named(blockers)}" if blockers else ""
    ways = _remedies(blockers)
    them = "that" if len(blockers) == 1 else "them"
    end = f"end {them} ({ways})" if ways else "look into pg_stat_activity for who holds it"
    whom = "them" if len(blockers) > 1 else "it"
    return LockTimeout(
        f"{what} waited {wait:g} s for a lock{who}",
        f"wait for {whom} to end, {end}, or give --wait more seconds, and run it again",
    )


def _remedies(blockers: Sequence[Blocker]) -> str:
    """Return what ends all of them: ending one does not help while others are in the way."""
    prepared = [blocker.remedy for blocker in blockers if blocker.kind == PREPARED]
    sessions = [blocker for blocker in blockers if blocker.kind != PREPARED]
    if len(sessions) < 2:
        return "; ".join([*prepared, *(blocker.remedy for blocker in sessions)])
    pids = ", ".join(str(blocker.pid) for blocker in sessions)
    one = f"SELECT pg_terminate_backend(pid) FROM unnest(ARRAY[{pids}]) AS pid"
    return "; ".join([*prepared, one])


def masked(query: str) -> str:
    """Return a query in one line of at most 200 characters, without literals and comments.

    Names are kept, quoted ones too. What is cut off is masked to its end, and so is what
    follows a string whose end depends on the session's settings.
    """
    pieces = []
    at = 0
    while at < len(query):
        found = _TOKEN.match(query, at)
        piece, at = _piece(found, query) if found else (query[at], at + 1)
        pieces.append(piece)
    line = _line("".join(pieces)).rstrip("; ")
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _piece(found: re.Match[str], query: str) -> tuple[str, int]:
    """Return what stands for a token, and where the next one begins."""
    text, end = found[0], found.end()
    match found.lastgroup:
        case "name" | "word" | "parameter":
            return text, end
        case "line":
            return " ", end
        case "block":
            return " ", _comment_end(query, end)
        case "dollar":
            last = query.find(text, end)
            return _MASK, len(query) if last < 0 else last + len(text)
        case "string" if _DOUBTFUL not in text:
            return _MASK, end
        case "escaped" | "number":
            return _MASK, end
        case _:
            return _MASK, len(query)


def _comment_end(query: str, at: int) -> int:
    depth = 1
    while depth:
        found = _COMMENT_END.search(query, at)
        if found is None:
            return len(query)
        depth += 1 if found[0] == "/*" else -1
        at = found.end()
    return at


def _session(row: Sequence[Any]) -> Blocker:
    pid, application, user, kind, state, age, query = row
    return Blocker(
        pid=pid,
        application=application,
        user=user,
        kind=kind,
        state=state,
        age=age,
        query=None if query is None else masked(query),
    )


def _prepared(rows: Sequence[Sequence[Any]]) -> tuple[Blocker, ...]:
    found = {
        gid: Blocker(pid=0, application=gid, user=owner, kind=PREPARED, state="prepared", age=age)
        for wanted, has, gid, owner, age in rows
        if _mode(wanted).conflicts(_mode(has))
    }
    return tuple(found.values())


def _mode(name: str) -> Mode:
    """Return the mode that pg_locks calls "AccessShareLock"."""
    return Mode[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.removesuffix("Lock")).upper()]


def _line(text: str) -> str:
    return _BLANK.sub(" ", text).strip()


def _asked(database: Database | Cursor, name: str, pid: int) -> list[Any]:
    parameters = {"pid": pid}
    if isinstance(database, Database):
        return list(database.execute_sql(queries.text(name), parameters).fetchall())
    database.execute(queries.text(name), parameters)
    return database.fetchall()
