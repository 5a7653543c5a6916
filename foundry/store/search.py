"""Finding messages: by embedding, and by embedding and words together."""

from __future__ import annotations

from foundry.store import fusing, searching
from foundry.store.blocking import blocking
from foundry.store.rows import HybridRow, NearRow, Rows

__all__ = ["HybridRow", "NearRow", "Rows", "hybrid", "near"]

near = blocking(searching.near)
hybrid = blocking(fusing.hybrid)
