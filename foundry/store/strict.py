"""Values as they are, or InvalidValue before any SQL: `message.content: U+0000 at 17`.

Each function takes a value and its path and returns what is sent. A message says types, places
and sizes, never the value.
"""

from __future__ import annotations

from foundry.store.payloads import payload
from foundry.store.scalars import (
    boolean,
    integer,
    iterable,
    key,
    moment,
    one_of,
    optional,
    text,
    uuid,
)
from foundry.store.vectors import vector

__all__ = [
    "boolean",
    "integer",
    "iterable",
    "key",
    "moment",
    "one_of",
    "optional",
    "payload",
    "text",
    "uuid",
    "vector",
]
