"""What the store takes and gives back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID


class Row(Protocol):
    """A NamedTuple."""

    def _asdict(self) -> dict[str, Any]: ...


R = TypeVar("R", bound=Row)


class Rows(list[R]):
    """A list of rows."""

    __slots__ = ()

    def dicts(self) -> list[dict[str, Any]]:
        """The rows as dictionaries, by the names of their columns."""
        return [row._asdict() for row in self]


def rows_of(kind: type[R], rows: Iterable[tuple[Any, ...]]) -> Rows[R]:
    """Tuples, with a value for each field, as rows of that type; without a look at each."""
    # _make() is a function of Python, and looks at the length of each.
    new: Any = tuple.__new__
    return Rows(map(partial(new, kind), rows))


class NewMessage(NamedTuple):
    """A message to be stored; without `ts` the server's time is taken."""

    role: str
    content: str
    ts: datetime | None = None
    embedding: Any = None


class MessageRow(NamedTuple):
    """A stored message; the embedding only where it was asked for."""

    id: int
    ts: datetime
    role: str
    content: str
    embedding: Any = None


class NearRow(NamedTuple):
    """A message that was found by its embedding, and its cosine distance, from 0 to 2."""

    id: int
    session: UUID
    ts: datetime
    role: str
    content: str
    distance: float


class HybridRow(NamedTuple):
    """A message that was found by its embedding, its words, or both; the best has the top score."""

    id: int
    session: UUID
    ts: datetime
    role: str
    content: str
    score: float
    distance: float | None
    """Where it is among the nearest that were looked at."""
    rank: float | None
    """How well its words fit, where it is among the best of those."""


class Unembedded(NamedTuple):
    """A message that has no embedding."""

    id: int
    content: str


class Counts(NamedTuple):
    """How many messages a session has, and of which roles."""

    total: int
    user: int
    assistant: int
    system: int
    tool: int


class ChainLink(NamedTuple):
    """One link of a chain, at a time of its own; intensity from 0 to 100 or unknown."""

    ts: datetime
    kind: str
    text: str
    intensity: int | None = None


class ChainAnalysis(NamedTuple):
    """What a session produced; `solutions` is a list of JSON values of the application's shape."""

    chain_links: Sequence[ChainLink] | None = None
    vulnerabilities: Sequence[str] | None = None
    problem_behavior: str | None = None
    prompting_event: str | None = None
    consequences: str | None = None
    solutions: list[Any] | None = None
    summary: str | None = None
