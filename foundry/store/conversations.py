"""Sessions, their messages and what they produced; `foundry.store.rows` has the types."""

from __future__ import annotations

from foundry.store import analyses, conversing, embedding
from foundry.store.blocking import blocking
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

start = blocking(conversing.start)
end = blocking(conversing.end)
append = blocking(conversing.append)
append_many = blocking(conversing.append_many)
page = blocking(conversing.page)
last = blocking(conversing.last)
counts = blocking(conversing.counts)
embed = blocking(embedding.embed)
embed_many = blocking(embedding.embed_many)
unembedded = blocking(embedding.unembedded)
save_result = blocking(analyses.save_result)
result = blocking(analyses.result)
