"""The steps of embeddings: which messages have none, and giving them one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from foundry.errors import InvalidValue, MissingRow, StoreError
from foundry.schema.conversations import DIMENSIONS
from foundry.store import strict
from foundry.store.conversing import CHUNK_ROWS, Progress
from foundry.store.operations import Atomic, Insert, Query, Statement, Steps, Target
from foundry.store.rows import Rows, Unembedded, rows_of
from foundry.store.vectors import Gathered

_EMBED = Statement(
    """
    WITH done AS (
        UPDATE messages SET embedding = $2 WHERE id = $1 AND ($3::bool OR embedding IS NULL)
        RETURNING id)
    SELECT id IN (SELECT id FROM done) FROM messages WHERE id = $1
    """
)
# The key refuses a message that is named twice: which embedding it would get is not defined.
_CREATE = Statement(
    "CREATE TEMPORARY TABLE foundry_embedded"
    f" (id bigint PRIMARY KEY, embedding vector({DIMENSIONS}))"
)
_DROP = Statement("DROP TABLE pg_temp.foundry_embedded")
_ABSENT = Statement(
    """
    SELECT count(*), min(e.id) FROM pg_temp.foundry_embedded AS e
    WHERE NOT EXISTS (SELECT FROM messages AS m WHERE m.id = e.id)
    """
)
_EMBED_ALL = Statement(
    """
    WITH done AS (
        UPDATE messages AS m SET embedding = e.embedding FROM pg_temp.foundry_embedded AS e
        WHERE m.id = e.id AND ($1::bool OR m.embedding IS NULL)
        RETURNING 1)
    SELECT count(*) FROM done
    """
)
_GIVEN = Target("pg_temp.foundry_embedded", {"id": "int8", "embedding": "vector"})

_UNEMBEDDED = "SELECT id, content FROM messages WHERE embedding IS NULL AND id > $1"
_ANY = Statement(f"{_UNEMBEDDED} ORDER BY id LIMIT $2")
_OF_SESSION = Statement(f"{_UNEMBEDDED} AND session_id = $3 ORDER BY id LIMIT $2")


def embed(message: int, embedding: Any, *, overwrite: bool = False) -> Steps[bool]:
    """Give a message an embedding; False when it had one, which stays unless `overwrite`."""
    id = strict.integer(message, "message.id")
    vector = strict.vector(embedding, "message.embedding", dimensions=DIMENSIONS)
    over = strict.boolean(overwrite, "embed.overwrite")
    rows = yield Query(_EMBED, (id, vector, over))
    if not rows:
        raise MissingRow(f'message "{id}" is not there')
    done: bool = rows[0][0]
    return done


def embed_many(
    embeddings: Iterable[tuple[int, Any]],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Steps[int]:
    """Give messages embeddings, all or none, from pairs of id and vector; returns how many got one.

    A message that has an embedding keeps it unless `overwrite`. `progress` is told how many
    pairs have been sent.
    """
    over = strict.boolean(overwrite, "embed.overwrite")
    source = strict.iterable(embeddings, "embeddings")
    count: int = yield Atomic(_embed_all(source, over, progress))
    return count


def _embed_all(
    embeddings: Iterable[tuple[int, Any]], overwrite: bool, progress: Progress | None
) -> Steps[int]:
    yield Query(_CREATE)
    count = 0
    rows: list[tuple[Any, ...]] = []
    gathered = Gathered(DIMENSIONS, CHUNK_ROWS)
    for number, pair in enumerate(embeddings):
        rows.append(_checked(pair, f"embeddings[{number}]", gathered, number))
        if len(rows) == CHUNK_ROWS:
            count += yield from _sent(rows, gathered)
            rows = []
            if progress is not None:
                progress(count)
    if rows:
        count += yield from _sent(rows, gathered)
        if progress is not None:
            progress(count)
    ((absent, first),) = yield Query(_ABSENT)
    if absent:
        raise MissingRow(f'{absent} messages are not there, the first is "{first}"')
    ((done,),) = yield Query(_EMBED_ALL, (overwrite,))
    yield Query(_DROP)
    embedded: int = done
    return embedded


def _sent(rows: list[tuple[Any, ...]], gathered: Gathered) -> Steps[int]:
    if fault := gathered.fault():
        raise InvalidValue("embeddings[{}].embedding{}".format(*fault))
    try:
        yield Insert(_GIVEN, rows)
    except StoreError as error:
        if error.sqlstate == "23505":
            raise InvalidValue("embeddings: a message is named twice") from None
        raise
    gathered.clear()
    return len(rows)


def _checked(pair: tuple[int, Any], path: str, gathered: Gathered, number: int) -> tuple[Any, ...]:
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise InvalidValue(f"{path}: expected (id, embedding), got {type(pair).__name__}")
    id, embedding = pair
    return (
        strict.integer(id, f"{path}.id"),
        gathered.put(embedding, f"{path}.embedding", number),
    )


def unembedded(
    *, session: UUID | str | None = None, after: int = 0, limit: int = 500
) -> Steps[Rows[Unembedded]]:
    """Return messages without an embedding, of one session or all, in order of id.

    `after` is the id of the last one seen.
    """
    args: tuple[Any, ...] = (
        strict.integer(after, "unembedded.after"),
        strict.integer(limit, "unembedded.limit", low=1),
    )
    if session is not None:
        args = (*args, str(strict.uuid(session, "session.id")))
    rows = yield Query(_ANY if session is None else _OF_SESSION, args)
    return rows_of(Unembedded, rows)
