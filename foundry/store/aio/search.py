"""Finding messages, awaitable; `foundry.store.rows` has the types."""

from __future__ import annotations

from foundry.store import fusing, searching
from foundry.store.aio.transport import awaitable
from foundry.store.rows import HybridRow, NearRow, Rows

__all__ = ["HybridRow", "NearRow", "Rows", "hybrid", "near"]

near = awaitable(searching.near)
hybrid = awaitable(fusing.hybrid)
