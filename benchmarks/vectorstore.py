"""langchain-postgres as store.py and search.py use it, where it is installed.

Its PGVectorStore on foundry's table of messages, with the options it has by default, but for a pool
of one connection. That one is used by an event loop in a thread of its own.
"""

from __future__ import annotations

import asyncio
from itertools import count, islice
from typing import Any
from uuid import UUID

from diff import tell

_FILTERS = {"role": ("role", "$eq"), "since": ("ts", "$gte"), "until": ("ts", "$lt")}
"""Those of search.py that it has: a user's messages it finds only by a list of all sessions."""


class Langchain:
    """The messages, as it has them."""

    def __init__(self, engine: Any, store: Any) -> None:
        self.engine = engine
        self.store = store
        # It cannot leave the id to the table; the table's sequence never gets here.
        self._ids = count(1 << 40)

    @property
    def pid(self) -> int:
        """The server's process of its connection."""
        pid: int = self.engine._run_as_sync(self._pid())
        return pid

    async def _pid(self) -> Any:
        # No public name leads to the connection.
        async with self.engine._pool.connect() as connection:
            return (await connection.exec_driver_sql("SELECT pg_backend_pid()")).scalar()

    def add(self, session: UUID, content: str, embeddings: list[list[float]]) -> None:
        """A message for each embedding."""
        many = len(embeddings)
        metadatas = [{"session_id": session, "role": "user"} for _ in range(many)]
        ids = list(islice(self._ids, many))
        self.store.add_embeddings([content] * many, embeddings, metadatas, ids)

    def near(self, query: Any, given: dict[str, Any]) -> list[tuple[Any, ...]]:
        """The ten nearest that the filter keeps, each with its id first."""
        kept = {}
        for name, value in given.items():
            column, operator = _FILTERS[name]
            kept[column] = {operator: value}
        found = self.store.similarity_search_with_score_by_vector(query.tolist(), 10, kept)
        return [(int(document.id), document, distance) for document, distance in found]

    def close(self) -> None:
        """End the connection."""
        asyncio.run(self.engine.close())


def expressible(given: dict[str, Any]) -> bool:
    """Whether it has such a filter."""
    return given.keys() <= _FILTERS.keys()


def opened(url: str, *columns: str) -> Langchain | None:
    """With these columns beside id, content and embedding; without the package None, and a line."""
    try:
        from langchain_core.embeddings import Embeddings
        from langchain_postgres import PGEngine, PGVectorStore
    except ImportError as error:
        tell(f"without langchain-postgres: {error}")
        return None

    class Unasked(Embeddings):
        """What makes embeddings of texts; here they all have one."""

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            raise NotImplementedError

        def embed_query(self, text: str) -> list[float]:
            raise NotImplementedError

    url = url.replace("postgresql://", "postgresql+psycopg://")
    engine = PGEngine.from_connection_string(url, pool_size=1, max_overflow=0)
    store = PGVectorStore.create_sync(
        engine, Unasked(), "messages", id_column="id", metadata_columns=list(columns)
    )
    return Langchain(engine, store)
