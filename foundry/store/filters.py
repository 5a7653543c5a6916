"""Which messages a search is about, checked, and as SQL."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from foundry.errors import InvalidValue
from foundry.schema.conversations import ROLES
from foundry.store import strict

_CLAUSES = {
    "session": "m.session_id = {}",
    # An array, so that the index on session_id and ts is used whatever the statistics say.
    "user": "m.session_id = ANY(ARRAY(SELECT s.id FROM sessions AS s WHERE s.user_id = {}))",
    "role": "m.role = {}",
    "since": "m.ts >= {}::timestamptz",
    "until": "m.ts < {}::timestamptz",
}
# For rows that come from elsewhere: "= ANY" would look through the array for each, and without
# IS TRUE the sessions would be joined, in an order that is not the distance's.
_TESTED = {
    **_CLAUSES,
    "user": "(m.session_id IN (SELECT s.id FROM sessions AS s WHERE s.user_id = {})) IS TRUE",
}


class Where(NamedTuple):
    """What is filtered by, and the values of it."""

    names: tuple[str, ...]
    args: tuple[Any, ...]

    @property
    def indexed(self) -> bool:
        """True where it begins with a session or user, whose messages an index has."""
        return self.names[:1] in (("session",), ("user",))


def where(
    path: str,
    *,
    user: UUID | str | None,
    session: UUID | str | None,
    role: str | None,
    since: datetime | None,
    until: datetime | None,
) -> Where:
    """Check the filters of a search, each None where it is not given."""
    # What an index has comes first.
    given = {
        "session": None if session is None else str(strict.uuid(session, f"{path}.session")),
        "user": None if user is None else str(strict.uuid(user, f"{path}.user")),
        "role": None if role is None else strict.one_of(role, f"{path}.role", ROLES),
        "since": strict.optional(strict.moment, since, f"{path}.since"),
        "until": strict.optional(strict.moment, until, f"{path}.until"),
    }
    if since is not None and until is not None and given["since"] >= given["until"]:
        raise InvalidValue(f"{path}.until: not after {path}.since")
    names = tuple(name for name, value in given.items() if value is not None)
    return Where(names, tuple(given[name] for name in names))


def condition(names: tuple[str, ...], first: int) -> str:
    """The filter as SQL that finds messages `m`; its values are `$first` and those after it."""
    return _written(_CLAUSES, names, first)


def test(names: tuple[str, ...], first: int) -> str:
    """The same as SQL that tests one message `m` after the other."""
    return _written(_TESTED, names, first)


def _written(clauses: dict[str, str], names: tuple[str, ...], first: int) -> str:
    parts = [clauses[name].format(f"${at}") for at, name in enumerate(names, first)]
    return " AND ".join(parts) or "true"
