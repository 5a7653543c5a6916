"""The steps of protocols.

A protocol awaits a decision, is approved or is rejected; a rejected one awaits again with its next
iteration; a completed one stays as it is. Each change is one statement that looks at the row it
has locked; what is asked a second time, as by a node that runs again after a crash, changes
nothing and is no error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import uuid4

from foundry.errors import DuplicateRow, IllegalTransition, MissingRow, StoreError
from foundry.schema.protocols import AGENT_ROLES, SAFETY_LEVELS
from foundry.store import strict, trail
from foundry.store.operations import Query, Read, Statement, Steps
from foundry.store.payloads import loaded
from foundry.store.trail import Assessment, Decided, Decision, Event, Interaction

_LAST_ITERATION = 2**31 - 1

# The column's default is false, so false without a word of the person is no decision yet.
REJECTED_SQL = "(human_approved IS FALSE AND human_feedback IS NOT NULL)"
DECIDED_SQL = (
    f"CASE WHEN human_approved THEN 'approved' WHEN {REJECTED_SQL} THEN 'rejected'"
    " ELSE 'awaiting' END"
)
_UTC_NOW = "now() AT TIME ZONE 'UTC'"

# Entries of one transaction have times of their own.
_UTC_CLOCK = "clock_timestamp() AT TIME ZONE 'UTC'"

_OPEN = Statement(
    "INSERT INTO protocol_history (id, user_intent, user_context, created_at)"
    f" VALUES ($1, $2, $3, {_UTC_NOW})"
)
_STANDING = Statement(
    f"""
    SELECT {DECIDED_SQL}, coalesce(iteration_count, 0), human_feedback, final_protocol,
           completed_at AT TIME ZONE 'UTC', state_snapshot IS NOT DISTINCT FROM $2::jsonb
    FROM protocol_history WHERE id = $1
    """
)
# The lock: completing waits until the entry is there, and the entry until it is completed. Two
# that share it, and go on to change the row in the same transaction, would wait for each other.
_LOG = Statement(
    f"""
    WITH protocol AS (
        SELECT id, iteration_count FROM protocol_history
        WHERE id = $1 AND completed_at IS NULL FOR NO KEY UPDATE)
    INSERT INTO agent_interactions
        (protocol_id, agent_role, content, iteration, idempotency_key, timestamp)
    SELECT id, $2, $3, coalesce($4::int, iteration_count, 0), $5::text, {_UTC_CLOCK} FROM protocol
    ON CONFLICT (protocol_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING id
    """
)
_LOGGED = Statement(
    "SELECT id FROM agent_interactions WHERE protocol_id = $1 AND idempotency_key = $2"
)
_ASSESS = Statement(
    f"""
    WITH protocol AS (
        SELECT id FROM protocol_history WHERE id = $1 AND completed_at IS NULL FOR NO KEY UPDATE)
    INSERT INTO safety_logs
        (protocol_id, safety_level, concerns, recommendations, flagged_lines, timestamp)
    SELECT id, $2, $3::jsonb, $4::jsonb, $5::jsonb, {_UTC_CLOCK} FROM protocol
    RETURNING id
    """
)
_NEXT = Statement(
    f"""
    UPDATE protocol_history SET
        iteration_count = coalesce(iteration_count, 0) + 1,
        human_approved = CASE WHEN {REJECTED_SQL} THEN NULL ELSE human_approved END
    WHERE id = $1 AND completed_at IS NULL AND human_approved IS NOT TRUE
        AND ($2::int IS NULL OR coalesce(iteration_count, 0) = $2::int)
    RETURNING iteration_count
    """
)
_AWAITING = f"completed_at IS NULL AND human_approved IS NOT TRUE AND NOT {REJECTED_SQL}"
_APPROVE = Statement(
    "UPDATE protocol_history SET human_approved = true, human_feedback = $2"
    f" WHERE id = $1 AND {_AWAITING} RETURNING id"
)
_REJECT = Statement(
    "UPDATE protocol_history SET human_approved = false, human_feedback = $2"
    f" WHERE id = $1 AND {_AWAITING} RETURNING id"
)
_COMPLETE = Statement(
    f"""
    UPDATE protocol_history SET
        completed_at = {_UTC_NOW}, final_protocol = $2::text, state_snapshot = $3::jsonb
    WHERE id = $1 AND completed_at IS NULL AND (human_approved IS TRUE) = ($2::text IS NOT NULL)
    RETURNING completed_at AT TIME ZONE 'UTC'
    """
)
_STATE = Statement("SELECT state_snapshot FROM protocol_history WHERE id = $1")
_TIMELINE = Statement(
    f"""
    SELECT * FROM (
        SELECT 0 AS part, id, timestamp AT TIME ZONE 'UTC' AS at, agent_role, content, iteration,
               NULL AS concerns, NULL AS recommendations, NULL AS flagged_lines
        FROM agent_interactions WHERE protocol_id = $1
        UNION ALL
        SELECT 1, id, timestamp AT TIME ZONE 'UTC', safety_level, NULL, NULL, concerns::text,
               recommendations::text, flagged_lines::text
        FROM safety_logs WHERE protocol_id = $1
        UNION ALL
        SELECT 2, NULL, completed_at AT TIME ZONE 'UTC', {DECIDED_SQL}, human_feedback, NULL,
               NULL, NULL, NULL
        FROM protocol_history WHERE id = $1) AS events
    ORDER BY part = 2, at, part, id
    """
)


class _Standing(NamedTuple):
    """How a protocol stands."""

    decided: Decided
    iteration: int
    feedback: str | None
    final_protocol: str | None
    completed_at: datetime | None
    same_state: bool


def open(user_intent: str, *, user_context: str | None = None, id: str | None = None) -> Steps[str]:
    """Store the request for a protocol; returns its id, which is also its thread's.

    An id that is there already is DuplicateRow.
    """
    which = str(uuid4()) if id is None else strict.key(id, "protocol.id")
    intent = strict.text(user_intent, "protocol.user_intent")
    context = strict.optional(strict.text, user_context, "protocol.user_context")
    try:
        yield Query(_OPEN, (which, intent, context))
    except StoreError as error:
        if error.sqlstate != "23505":
            raise
        raise DuplicateRow(f'protocol "{which}" is there already') from None
    return which


def log(
    protocol: str,
    agent_role: str,
    content: str,
    *,
    iteration: int | None = None,
    key: str | None = None,
) -> Steps[int]:
    """Store what an agent did, by default in the iteration the protocol is in; returns its id.

    With a `key` that this protocol has an entry of, that one stays as it is and its id is
    returned, also when the protocol is completed.
    """
    which = strict.key(protocol, "protocol.id")
    once = strict.optional(strict.key, key, "interaction.key")
    args = (
        which,
        strict.one_of(agent_role, "interaction.agent_role", AGENT_ROLES),
        strict.text(content, "interaction.content"),
        strict.optional(_iteration, iteration, "interaction.iteration"),
        once,
    )
    rows = yield Query(_LOG, args)
    if not rows and once is not None:
        rows = yield Query(_LOGGED, (which, once))
    if not rows:
        raise _illegal(which, (yield from _standing(which)), "logged to")
    found: int = rows[0][0]
    return found


def assess(
    protocol: str,
    safety_level: str,
    *,
    concerns: Sequence[str] = (),
    recommendations: Sequence[str] = (),
    flagged_lines: Sequence[int] = (),
) -> Steps[int]:
    """Store a safety assessment of a protocol; returns its id."""
    which = strict.key(protocol, "protocol.id")
    args = (
        which,
        strict.one_of(safety_level, "assessment.safety_level", SAFETY_LEVELS),
        trail.texts(concerns, "assessment.concerns"),
        trail.texts(recommendations, "assessment.recommendations"),
        trail.lines(flagged_lines, "assessment.flagged_lines"),
    )
    rows = yield Query(_ASSESS, args)
    if not rows:
        raise _illegal(which, (yield from _standing(which)), "assessed")
    found: int = rows[0][0]
    return found


def next_iteration(protocol: str, *, after: int | None = None) -> Steps[int]:
    """Begin the next iteration of a protocol that is not approved; returns its number.

    `after` says which one has ended: the second of two calls that say the same changes nothing.
    What a person said in rejecting it is kept.
    """
    which = strict.key(protocol, "protocol.id")
    ended = strict.optional(_iteration, after, "protocol.iteration")
    rows = yield Query(_NEXT, (which, ended))
    if rows:
        number: int = rows[0][0]
        return number
    standing = yield from _standing(which)
    if ended is not None and standing.iteration == ended + 1:
        return standing.iteration
    wanted = "iterated" if ended is None else f"in iteration {ended + 1}"
    raise _illegal(which, standing, wanted)


def approve(protocol: str, *, feedback: str | None = None) -> Steps[None]:
    """Store that a person approves a protocol that awaits a decision."""
    which = strict.key(protocol, "protocol.id")
    said = strict.optional(strict.text, feedback, "decision.feedback")
    yield from _decide(which, said, _APPROVE, "approved")


def reject(protocol: str, feedback: str) -> Steps[None]:
    """Store that a person rejects a protocol that awaits a decision, and why."""
    which = strict.key(protocol, "protocol.id")
    yield from _decide(which, strict.text(feedback, "decision.feedback"), _REJECT, "rejected")


def _decide(
    protocol: str, feedback: str | None, statement: Statement, decided: Decided
) -> Steps[None]:
    rows = yield Query(statement, (protocol, feedback))
    if rows:
        return
    standing = yield from _standing(protocol)
    if (standing.decided, standing.feedback) != (decided, feedback):
        raise _illegal(protocol, standing, decided)


def complete(
    protocol: str,
    *,
    final_protocol: str | None = None,
    state: trail.ProtocolState | Mapping[str, Any] | None = None,
) -> Steps[datetime]:
    """Close a protocol, with its text when it is approved and without when not; returns when."""
    which = strict.key(protocol, "protocol.id")
    final = strict.optional(strict.text, final_protocol, "protocol.final_protocol")
    snapshot = strict.optional(trail.state, state, "protocol.state")
    rows = yield Query(_COMPLETE, (which, final, snapshot))
    if rows:
        done: datetime = rows[0][0]
        return done
    standing = yield from _standing(which, snapshot)
    over, same = standing.completed_at, standing.final_protocol == final and standing.same_state
    if over is not None and same:
        return over
    text = "with a text" if final is not None else "without a text"
    raise _illegal(which, standing, f"completed {text}")


def state(protocol: str) -> Steps[trail.ProtocolState | None]:
    """Return the state a protocol was completed with, if any."""
    which = strict.key(protocol, "protocol.id")
    rows = yield Read(_STATE, ("jsonb",), (which,))
    if not rows:
        raise _missing(which)
    found: trail.ProtocolState | None = rows[0][0]
    return found


def timeline(protocol: str) -> Steps[list[Event]]:
    """Return what happened to a protocol in order of time; the decision, if any, comes last."""
    which = strict.key(protocol, "protocol.id")
    rows = yield Query(_TIMELINE, (which,))
    if not rows or rows[-1][0] != 2:
        raise _missing(which)
    if rows[-1][3] == "awaiting":
        rows.pop()
    return [_event(*row) for row in rows]


def _event(part: int, id: int, at: datetime | None, word: Any, *rest: Any) -> Event:
    content, iteration, *found = rest
    if part == 0:
        return Interaction(id, word, iteration, content, at)
    if part == 2:
        return Decision(word, content, at)
    concerns, recommendations, lines = (None if f is None else loaded(f) for f in found)
    path = "safety_logs"
    return Assessment(
        id,
        word,
        strict.optional(trail.texts_read, concerns, f"{path}.concerns"),
        strict.optional(trail.texts_read, recommendations, f"{path}.recommendations"),
        strict.optional(trail.lines_read, lines, f"{path}.flagged_lines"),
        at,
    )


def _iteration(value: object, path: str) -> int:
    return strict.integer(value, path, low=0, high=_LAST_ITERATION)


def _standing(protocol: str, snapshot: str | None = None) -> Steps[_Standing]:
    rows = yield Query(_STANDING, (protocol, snapshot))
    if not rows:
        raise _missing(protocol)
    return _Standing(*rows[0])


def _missing(protocol: str) -> MissingRow:
    return MissingRow(f'protocol "{protocol}" is not there')


def _illegal(protocol: str, standing: _Standing, wanted: str) -> IllegalTransition:
    over = " and completed" if standing.completed_at is not None else ""
    return IllegalTransition(
        f'protocol "{protocol}" is {standing.decided}{over}, in iteration {standing.iteration}:'
        f" it cannot be {wanted}"
    )
