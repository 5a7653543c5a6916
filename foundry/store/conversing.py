"""The steps of sessions and their messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from foundry.errors import DuplicateRow, InvalidValue, MissingRow, StoreError
from foundry.schema.conversations import DIMENSIONS, ROLES
from foundry.store import strict, vectors
from foundry.store.operations import (
    Atomic,
    Insert,
    Kind,
    Numbered,
    Query,
    Read,
    Statement,
    Steps,
    Target,
)
from foundry.store.rows import Counts, MessageRow, NewMessage, Rows, rows_of

Progress = Callable[[int], object]
"""Told how many have been written, now and then and at the end."""

CHUNK_ROWS = 500
"""Beyond a few hundred rows a COPY costs nothing any more, and waiting rows cost memory."""

CHUNK_CHARACTERS = 1_000_000

_START = Statement(
    "INSERT INTO sessions (id, user_id, type, started_at)"
    " VALUES ($1, $2, $3, coalesce($4::timestamptz, now()))"
)
_END = Statement(
    "UPDATE sessions SET ended_at = coalesce(ended_at, $2::timestamptz, now())"
    " WHERE id = $1 RETURNING ended_at"
)
_NOW = Statement("SELECT now()")
_APPEND = Statement(
    "INSERT INTO messages (session_id, role, content) VALUES ($1, $2, $3) RETURNING id"
)
_APPEND_AT = Statement(
    "INSERT INTO messages (session_id, role, content, ts) VALUES ($1, $2, $3, $4) RETURNING id"
)
_IDS = "messages_id_seq"
_COUNTS = Statement(
    """
    SELECT count(*), count(*) FILTER (WHERE role = 'user'),
           count(*) FILTER (WHERE role = 'assistant'), count(*) FILTER (WHERE role = 'system'),
           count(*) FILTER (WHERE role = 'tool')
    FROM messages WHERE session_id = $1
    """
)

_SAID: dict[str, Kind] = {"session_id": "uuid", "role": "text", "content": "text"}
_ONE = Target("messages", {"id": "int8", **_SAID, "embedding": "vector"})
_ONE_AT = Target("messages", {"id": "int8", **_SAID, "embedding": "vector", "ts": "timestamptz"})
_MANY = Target("messages", {**_SAID, "ts": "timestamptz"})
_MANY_EMBEDDED = Target("messages", {**_SAID, "ts": "timestamptz", "embedding": "vector"})

Position = MessageRow | tuple[datetime, int]
"""A place in a conversation: a message, or its (ts, id)."""


def start(
    user: UUID | str,
    *,
    type: str | None = None,
    started_at: datetime | None = None,
    id: UUID | str | None = None,
) -> Steps[UUID]:
    """Begin a session of a user, by default now; returns its id.

    A user who is not there is MissingRow, an id that is there already DuplicateRow.
    """
    session = uuid4() if id is None else strict.uuid(id, "session.id")
    owner = strict.uuid(user, "session.user")
    kind = strict.optional(strict.text, type, "session.type")
    began = strict.optional(strict.moment, started_at, "session.started_at")
    try:
        yield Query(_START, (str(session), str(owner), kind, began))
    except StoreError as error:
        if error.sqlstate == "23505":
            raise DuplicateRow(f'session "{session}" is there already') from None
        raise _without(error, "user", owner) from error.__cause__
    return session


def end(session: UUID | str, *, ended_at: datetime | None = None) -> Steps[datetime]:
    """Say that a session is over, by default now; returns since when.

    A session that was over stays as it was.
    """
    which = strict.uuid(session, "session.id")
    over = strict.optional(strict.moment, ended_at, "session.ended_at")
    rows = yield Query(_END, (str(which), over))
    if not rows:
        raise _missing("session", which)
    ended: datetime = rows[0][0]
    return ended


def append(
    session: UUID | str,
    role: str,
    content: str,
    *,
    ts: datetime | None = None,
    embedding: Any = None,
) -> Steps[int]:
    """Store one message, by default of now; returns its id."""
    which = strict.uuid(session, "message.session")
    said = (strict.one_of(role, "message.role", ROLES), strict.text(content, "message.content"))
    when = () if ts is None else (strict.moment(ts, "message.ts"),)
    try:
        if embedding is not None:
            vector = strict.vector(embedding, "message.embedding", dimensions=DIMENSIONS)
            target = _ONE_AT if when else _ONE
            id: int = yield Numbered(target, _IDS, (which, *said, vector, *when), not when)
            return id
        rows = yield Query(_APPEND_AT if when else _APPEND, (str(which), *said, *when))
    except StoreError as error:
        raise _without(error, "session", which) from error.__cause__
    found: int = rows[0][0]
    return found


def append_many(
    session: UUID | str,
    messages: Iterable[NewMessage | tuple[Any, ...]],
    *,
    progress: Progress | None = None,
) -> Steps[int]:
    """Store any number of messages, all or none; returns how many.

    `messages` is read once and never held as a whole; it may itself use the database. A tuple is
    the beginning of a NewMessage. `progress` is told how many are written.
    """
    which = strict.uuid(session, "message.session")
    source = strict.iterable(messages, "messages")
    count: int = yield Atomic(_append_all(which, source, progress))
    return count


def _append_all(
    session: UUID, messages: Iterable[NewMessage | tuple[Any, ...]], progress: Progress | None
) -> Steps[int]:
    now: datetime = (yield Query(_NOW))[0][0]
    count, size = 0, 0
    rows: list[tuple[Any, ...]] = []
    gathered = vectors.Gathered(DIMENSIONS, CHUNK_ROWS)
    for number, message in enumerate(messages):
        try:
            row = _checked(message, session, now, gathered, number)
        except InvalidValue as error:
            raise InvalidValue(f"messages[{number}]{error}") from None
        rows.append(row)
        size += len(row[2])
        if len(rows) < CHUNK_ROWS and size < CHUNK_CHARACTERS:
            continue
        yield from _written(session, rows, gathered)
        count, size, rows = count + len(rows), 0, []
        if progress is not None:
            progress(count)
    if rows:
        yield from _written(session, rows, gathered)
        count += len(rows)
        if progress is not None:
            progress(count)
    return count


def _checked(
    message: NewMessage | tuple[Any, ...],
    session: UUID,
    now: datetime,
    gathered: vectors.Gathered,
    number: int,
) -> tuple[Any, ...]:
    """The message as a row."""
    if not isinstance(message, tuple):
        raise InvalidValue(f": expected NewMessage or a tuple, got {type(message).__name__}")
    if not 2 <= len(message) <= 4:
        raise InvalidValue(f": expected role, content, ts, embedding, got {len(message)} values")
    role, content, ts, embedding = message if len(message) == 4 else NewMessage(*message)
    return (
        session,
        strict.one_of(role, ".role", ROLES),
        strict.text(content, ".content"),
        now if ts is None else strict.moment(ts, ".ts"),
        None if embedding is None else gathered.put(embedding, ".embedding", number),
    )


def _written(session: UUID, rows: list[tuple[Any, ...]], gathered: vectors.Gathered) -> Steps[None]:
    if fault := gathered.fault():
        raise InvalidValue("messages[{}].embedding{}".format(*fault))
    target = _MANY_EMBEDDED
    # A server without pgvector has no such column.
    if all(row[-1] is None for row in rows):
        target, rows = _MANY, [row[:-1] for row in rows]
    try:
        yield Insert(target, rows)
    except StoreError as error:
        raise _without(error, "session", session) from error.__cause__
    gathered.clear()


def counts(session: UUID | str) -> Steps[Counts]:
    """Count the messages of a session; zeros also where there is no such session."""
    rows = yield Query(_COUNTS, (str(strict.uuid(session, "session.id")),))
    return Counts(*rows[0])


class _Pages:
    """The statements that read messages of a session, with or without embeddings."""

    def __init__(self, columns: str, kinds: tuple[Kind, ...] | None) -> None:
        self.kinds = kinds
        select = f"SELECT {columns} FROM messages WHERE session_id = $1"
        up, down = "ORDER BY ts, id LIMIT $2", "ORDER BY ts DESC, id DESC LIMIT $2"
        self.first = Statement(f"{select} {up}")
        self.last = Statement(f"{select} {down}")
        place = "($3::timestamptz, $4::bigint)"
        self.after = Statement(f"{select} AND (ts, id) > {place} {up}")
        self.before = Statement(f"{select} AND (ts, id) < {place} {down}")

    def read(self, statement: Statement, args: tuple[Any, ...]) -> Steps[Rows[MessageRow]]:
        if self.kinds is None:
            rows = yield Query(statement, args)
        else:
            rows = yield Read(statement, self.kinds, args)
        if statement is self.last or statement is self.before:
            rows.reverse()
        return rows_of(MessageRow, rows)


_PLAIN = _Pages("id, ts, role, content, NULL", None)
_EMBEDDED = _Pages(
    "id, ts, role, content, embedding", ("int8", "timestamptz", "text", "text", "vector")
)


def page(
    session: UUID | str,
    *,
    after: Position | None = None,
    before: Position | None = None,
    limit: int = 200,
    embeddings: bool = False,
) -> Steps[Rows[MessageRow]]:
    """Return the first `limit` messages of a session, or of those after one, in order of ts, id.

    With `before` they are the last ones before that message, in the same order.
    """
    if after is not None and before is not None:
        raise InvalidValue("page: either after or before")
    pages = _pages(embeddings, "page.embeddings")
    which = str(strict.uuid(session, "session.id"))
    args = (which, strict.integer(limit, "page.limit", low=1))
    if after is not None:
        return (yield from pages.read(pages.after, (*args, *_place(after, "page.after"))))
    if before is not None:
        return (yield from pages.read(pages.before, (*args, *_place(before, "page.before"))))
    return (yield from pages.read(pages.first, args))


def last(
    session: UUID | str, limit: int = 20, *, embeddings: bool = False
) -> Steps[Rows[MessageRow]]:
    """Return the last `limit` messages of a session, in order of ts, id."""
    pages = _pages(embeddings, "last.embeddings")
    which = str(strict.uuid(session, "session.id"))
    return (yield from pages.read(pages.last, (which, strict.integer(limit, "last.limit", low=1))))


def _pages(embeddings: bool, path: str) -> _Pages:
    return _EMBEDDED if strict.boolean(embeddings, path) else _PLAIN


def _place(position: Position, path: str) -> tuple[datetime, int]:
    if isinstance(position, MessageRow):
        position = (position.ts, position.id)
    if not isinstance(position, tuple) or len(position) != 2:
        raise InvalidValue(f"{path}: expected a message or (ts, id)")
    ts, id = position
    return strict.moment(ts, f"{path}.ts"), strict.integer(id, f"{path}.id")


def _missing(what: str, id: object) -> MissingRow:
    return MissingRow(f'{what} "{id}" is not there')


def _without(error: StoreError, what: str, id: object) -> StoreError | MissingRow:
    """MissingRow when it was the foreign key that the server refused, else the error."""
    return _missing(what, id) if error.sqlstate == "23503" else error
