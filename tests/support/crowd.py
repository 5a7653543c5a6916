"""Messages whose embeddings lie around two opposite directions, and what a search must find."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from operator import mul
from typing import Any, NamedTuple
from uuid import UUID

from foundry.database import Database
from foundry.store import copying, vectors

BEGIN = datetime(2026, 3, 1, tzinfo=timezone.utc)
ROLES = ("user", "assistant", "system", "tool")
NEAR, FAR, FEW = (UUID(int=number) for number in (1, 2, 3))
"""Users: of most messages around one direction, of those around the other, and of seven."""

DIMENSIONS = 12
"""Numbers of an embedding that matter; the others are zero."""

_COPY = "COPY messages (session_id, role, content, ts, embedding) FROM STDIN (FORMAT BINARY)"


class Said(NamedTuple):
    """One message as the test knows it."""

    id: int
    user: UUID
    session: UUID
    role: str
    ts: datetime
    content: str
    embedding: tuple[float, ...]


def embedding(drawn: random.Random, side: float) -> list[float]:
    """In one direction or the opposite one."""
    first = [side * 2 + drawn.gauss(0, 0.5), *(drawn.gauss(0, 1) for _ in range(DIMENSIONS - 1))]
    return [*first, *([0.0] * (384 - DIMENSIONS))]


def told(database: Database, rows: int) -> list[Said]:
    """Store so many messages, the first half on one side, 50 in a session."""
    drawn = random.Random(5)
    for user in (NEAR, FAR, FEW):
        database.execute_sql("INSERT INTO users (id) VALUES (%s)", (user,))
    said: list[Said] = []
    for at in range(rows):
        user = FEW if at < 7 else (NEAR, FAR)[2 * at // rows]
        session = UUID(int=1000 + (0 if at < 7 else 1 + at // 50))
        role = ROLES[0] if at % 10 else ROLES[1 + at // 10 % 3]
        vector = embedding(drawn, -1.0 if user == FAR else 1.0)
        words = f"message {at} {'sleep' if at % 3 else 'worry'} {'night' if at % 7 else 'day'}"
        ts = BEGIN + timedelta(minutes=at)
        said.append(Said(at + 1, user, session, role, ts, words, tuple(vector)))
    for session, user in dict.fromkeys((one.session, one.user) for one in said):
        database.execute_sql("INSERT INTO sessions (id, user_id) VALUES (%s, %s)", (session, user))
    kinds = ("uuid", "text", "text", "timestamptz", "vector")
    packed = [
        (one.session, one.role, one.content, one.ts, vectors.vector(one.embedding, "e"))
        for one in said
    ]
    piece = b"".join(copying.pieces(kinds, packed))  # type: ignore[arg-type]
    database.cursor().copy_expert(_COPY, io.BytesIO(piece))
    database.execute_sql("ANALYZE messages")
    return said


def _product(a: Sequence[float], b: Sequence[float]) -> float:
    return float(sum(map(mul, a, b)))


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    """The cosine distance, in double precision, of the numbers that matter."""
    a, b = a[:DIMENSIONS], b[:DIMENSIONS]
    return 1 - _product(a, b) / math.sqrt(_product(a, a) * _product(b, b))


def kept(said: Sequence[Said], **given: Any) -> list[Said]:
    """What filters leave."""
    tests = {
        "user": lambda one, value: one.user == value,
        "session": lambda one, value: one.session == value,
        "role": lambda one, value: one.role == value,
        "since": lambda one, value: one.ts >= value,
        "until": lambda one, value: one.ts < value,
    }
    return [one for one in said if all(tests[name](one, value) for name, value in given.items())]


def nearest(said: Sequence[Said], query: Sequence[float], limit: int, **given: Any) -> list[Said]:
    """The oracle: every distance, sorted."""
    left = kept(said, **given)
    return sorted(left, key=lambda one: (cosine(one.embedding, query), one.id))[:limit]
