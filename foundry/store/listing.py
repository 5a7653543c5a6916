"""The steps of finding protocols."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from foundry.errors import InvalidValue, MissingRow
from foundry.store import strict
from foundry.store.operations import Query, Statement, Steps
from foundry.store.protocolling import DECIDED_SQL, REJECTED_SQL
from foundry.store.rows import Rows, rows_of
from foundry.store.trail import DECIDED, Decided, ProtocolRow

_SELECT = f"""
    SELECT id, user_intent, user_context, final_protocol, iteration_count, {DECIDED_SQL},
           human_feedback, created_at AT TIME ZONE 'UTC', completed_at AT TIME ZONE 'UTC'
    FROM protocol_history
"""
# Each as its index has it: a CASE in their place would read every row.
_WHICH: dict[Decided | None, str] = {
    None: "true",
    "approved": "human_approved",
    "rejected": REJECTED_SQL,
    "awaiting": f"(human_approved IS NOT TRUE AND NOT {REJECTED_SQL} AND completed_at IS NULL)",
}
_UTC = "::timestamptz AT TIME ZONE 'UTC'"
_BETWEEN = (
    f"created_at >= coalesce($2{_UTC}, '-infinity') AND created_at < coalesce($3{_UTC}, 'infinity')"
)
_NEWEST = "ORDER BY created_at DESC, id DESC LIMIT $1"
_OLDEST = "ORDER BY created_at, id LIMIT $1"

Place = ProtocolRow | tuple[datetime, str]
"""A place in a list: a protocol, or its (created_at, id)."""


def _statements(which: str) -> tuple[Statement, Statement, Statement]:
    where = f"{_SELECT} WHERE {which} AND {_BETWEEN}"
    place = f"($4{_UTC}, $5::text)"
    return (
        Statement(f"{where} {_NEWEST}"),
        Statement(f"{where} AND (created_at, id) < {place} {_NEWEST}"),
        Statement(f"{where} AND (created_at, id) > {place} {_OLDEST}"),
    )


_PAGES = {decided: _statements(which) for decided, which in _WHICH.items()}
_ONE = Statement(f"{_SELECT} WHERE id = $1")


def find(protocol: str) -> Steps[ProtocolRow]:
    """Return one protocol."""
    which = strict.key(protocol, "protocol.id")
    rows = yield Query(_ONE, (which,))
    if not rows:
        raise MissingRow(f'protocol "{which}" is not there')
    return ProtocolRow(*rows[0])


def page(
    *,
    decided: Decided | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    after: Place | None = None,
    before: Place | None = None,
    limit: int = 50,
) -> Steps[Rows[ProtocolRow]]:
    """Return protocols, newest first, made from `since` on and before `until`.

    `after` is the last one of the page before, `before` the first one of the page after.
    """
    if after is not None and before is not None:
        raise InvalidValue("page: either after or before")
    kind = strict.optional(_one_decided, decided, "page.decided")
    first, onwards, backwards = _PAGES[kind]
    args: tuple[Any, ...] = (
        strict.integer(limit, "page.limit", low=1),
        strict.optional(strict.moment, since, "page.since"),
        strict.optional(strict.moment, until, "page.until"),
    )
    if after is not None:
        rows = yield Query(onwards, (*args, *_place(after, "page.after")))
    elif before is not None:
        rows = yield Query(backwards, (*args, *_place(before, "page.before")))
        rows.reverse()
    else:
        rows = yield Query(first, args)
    return rows_of(ProtocolRow, rows)


def _one_decided(value: object, path: str) -> str:
    return strict.one_of(value, path, DECIDED)


def _place(place: Place, path: str) -> tuple[datetime, str]:
    if isinstance(place, ProtocolRow):
        place = (place.created_at, place.id)  # type: ignore[assignment]
    if not isinstance(place, tuple) or len(place) != 2:
        raise InvalidValue(f"{path}: expected a protocol or (created_at, id)")
    return strict.moment(place[0], f"{path}.created_at"), strict.key(place[1], f"{path}.id")
