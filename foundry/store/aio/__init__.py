"""The store for asyncio: the same functions, awaitable, on asyncpg.

`db = await aio.connect()`, then `await aio.conversations.append(db, ...)`. Transactions are
Peewee's: `async with db.atomic()`. They belong to the task that opened them: what another task
does meanwhile, also one started inside, is not part of them and takes a connection of its own.
"""

from __future__ import annotations

try:
    import asyncpg as _asyncpg  # noqa: F401
    import greenlet as _greenlet  # noqa: F401
except ImportError as error:
    raise ImportError(
        "foundry.store.aio needs asyncpg and greenlet: pip install 'cerina-foundry[async]'",
        name=error.name,
    ) from error

from foundry.store.aio import conversations, protocols, search
from foundry.store.aio.database import Database, connect
from foundry.store.aio.db import DB

__all__ = ["DB", "Database", "connect", "conversations", "protocols", "search"]
