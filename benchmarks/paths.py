"""What store.py measures, by the names that --only takes."""

from __future__ import annotations

from collections.abc import Callable

from messages import append, append_embedded, bulk, page
from peers import Peers
from states import json_read, json_write
from store import Contender

PATHS: dict[str, tuple[str, Callable[[Peers], list[Contender]]]] = {
    "bulk20k": ("Bulk, 20,000 messages with embeddings, a row", bulk(20_000)),
    "bulk100k": ("Bulk, 100,000 messages with embeddings, a row", bulk(100_000)),
    "append-embedded": ("Append one message with an embedding", append_embedded),
    "append": ("Append one message without", append),
    "page-embedded": ("A page of 200 messages with embeddings", page(embeddings=True)),
    "page": ("A page of 200 messages without", page(embeddings=False)),
    "json-write": ("Write 1 MB of JSON", json_write),
    "json-read": ("Read 1 MB of JSON", json_read),
}
