"""Sessions and their messages, awaitable; `foundry.store.rows` has the types."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import Any
from uuid import UUID

from playhouse.pwasyncio import AsyncPostgresqlDatabase

from foundry.store import analyses, conversing, embedding
from foundry.store.aio.transport import awaitable, bridged, drawn, run
from foundry.store.conversing import Progress
from foundry.store.rows import (
    ChainAnalysis,
    ChainLink,
    Counts,
    MessageRow,
    NewMessage,
    Rows,
    Unembedded,
)

__all__ = [
    "ChainAnalysis",
    "ChainLink",
    "Counts",
    "MessageRow",
    "NewMessage",
    "Rows",
    "Unembedded",
    "append",
    "append_many",
    "counts",
    "embed",
    "embed_many",
    "end",
    "last",
    "page",
    "result",
    "save_result",
    "start",
    "unembedded",
]

start = awaitable(conversing.start)
end = awaitable(conversing.end)
append = awaitable(conversing.append)
page = awaitable(conversing.page)
last = awaitable(conversing.last)
counts = awaitable(conversing.counts)
embed = awaitable(embedding.embed)
unembedded = awaitable(embedding.unembedded)
save_result = awaitable(analyses.save_result)
result = awaitable(analyses.result)


async def append_many(
    database: AsyncPostgresqlDatabase,
    /,
    session: UUID | str,
    messages: Iterable[NewMessage | tuple[Any, ...]] | AsyncIterable[NewMessage | tuple[Any, ...]],
    *,
    progress: Progress | None = None,
) -> int:
    """Store any number of messages, all or none; returns how many.

    `messages` is read once and never held as a whole; an async iterable may itself use the
    database. A tuple is the beginning of a NewMessage. `progress` is told how many are written.
    """
    source = drawn(messages) if isinstance(messages, AsyncIterable) else messages
    call = run(database, conversing.append_many(session, source, progress=progress))
    return await (call if source is messages else bridged(call))


async def embed_many(
    database: AsyncPostgresqlDatabase,
    /,
    embeddings: Iterable[tuple[int, Any]] | AsyncIterable[tuple[int, Any]],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> int:
    """Give messages embeddings, all or none, from pairs of id and vector; returns how many got one.

    A message that has an embedding keeps it unless `overwrite`. `progress` is told how many
    pairs have been sent.
    """
    source = drawn(embeddings) if isinstance(embeddings, AsyncIterable) else embeddings
    steps = embedding.embed_many(source, overwrite=overwrite, progress=progress)
    call = run(database, steps)
    return await (call if source is embeddings else bridged(call))
