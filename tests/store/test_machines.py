"""Any order of calls on a conversation and on a protocol, against a model in memory."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine
from support.transports import conversations, protocols

from foundry.database import Database
from foundry.errors import IllegalTransition, InvalidValue
from foundry.fixtures.strategies import each_example, jsonb, text
from foundry.store.conversations import MessageRow, NewMessage
from foundry.store.protocols import Assessment, Decision, Interaction

START = datetime(2026, 3, 1, tzinfo=timezone.utc)
# Few, so that many messages have the same.
TIMES = st.integers(0, 3).map(lambda hour: START + timedelta(hours=hour))
ROLES = st.sampled_from(["user", "assistant", "system", "tool"])
# Known keys have types of their own.
STATES = st.dictionaries(text().map("my {}".format), jsonb())
VECTORS = st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda x: [x] * 384)
SETTINGS = settings(
    max_examples=max(5, settings().max_examples // 4),
    stateful_step_count=12,
    suppress_health_check=list(HealthCheck),
)


@contextmanager
def example(db: Database) -> Iterator[None]:
    """What one run of a machine stores is undone."""
    with each_example(db):
        yield


def exact(message: MessageRow) -> tuple[Any, ...]:
    """A message whose embedding is compared by its bits."""
    bits = None if message.embedding is None else struct.pack("384f", *message.embedding)
    return (*message[:4], bits)


def conversation_of(db: Database, user: UUID) -> type[RuleBasedStateMachine]:
    """A conversation, and what it should be."""

    class Conversation(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.undo = example(db)
            self.undo.__enter__()
            self.session = conversations.start(db, user)
            self.messages: list[MessageRow] = []

        def teardown(self) -> None:
            self.undo.__exit__(None, None, None)

        def ordered(self) -> list[MessageRow]:
            return sorted(self.messages, key=lambda one: (one.ts, one.id))

        @rule(role=ROLES, content=text(), ts=TIMES, embedding=st.none() | VECTORS)
        def append(self, role: str, content: str, ts: datetime, embedding: Any) -> None:
            id = conversations.append(db, self.session, role, content, ts=ts, embedding=embedding)
            assert id not in {one.id for one in self.messages}
            self.messages.append(MessageRow(id, ts, role, content, embedding))

        @rule(new=st.lists(st.builds(NewMessage, ROLES, text(), TIMES, st.none() | VECTORS)))
        def append_many(self, new: list[NewMessage]) -> None:
            assert len(new) == conversations.append_many(db, self.session, iter(new))
            known = {one.id for one in self.messages}
            found = conversations.page(db, self.session, limit=1000)
            ids = sorted(one.id for one in found if one.id not in known)
            for id, one in zip(ids, new, strict=True):
                self.messages.append(
                    MessageRow(id, one.ts or START, one.role, one.content, one.embedding)
                )

        @rule(new=st.lists(st.builds(NewMessage, ROLES, text(), TIMES, st.none()), max_size=3))
        def append_none(self, new: list[NewMessage]) -> None:
            bad = NewMessage("user", "a\0")
            with pytest.raises(InvalidValue, match=rf"^messages\[{len(new)}\].content: U\+0000"):
                conversations.append_many(db, self.session, [*new, bad])

        @precondition(lambda self: self.messages)
        @rule(data=st.data(), embedding=VECTORS, overwrite=st.booleans())
        def embed(self, data: st.DataObject, embedding: Any, overwrite: bool) -> None:
            at = data.draw(st.integers(0, len(self.messages) - 1))
            message = self.messages[at]
            may = overwrite or message.embedding is None
            assert may == conversations.embed(db, message.id, embedding, overwrite=overwrite)
            if may:
                self.messages[at] = message._replace(embedding=embedding)

        @rule(data=st.data(), embedding=VECTORS, overwrite=st.booleans())
        def embed_many(self, data: st.DataObject, embedding: Any, overwrite: bool) -> None:
            chosen = [at for at in range(len(self.messages)) if data.draw(st.booleans())]
            done = conversations.embed_many(
                db, ((self.messages[at].id, embedding) for at in chosen), overwrite=overwrite
            )
            may = [at for at in chosen if overwrite or self.messages[at].embedding is None]
            assert len(may) == done
            for at in may:
                self.messages[at] = self.messages[at]._replace(embedding=embedding)

        @precondition(lambda self: self.messages)
        @rule(data=st.data(), limit=st.integers(1, 4))
        def page(self, data: st.DataObject, limit: int) -> None:
            ordered = [one._replace(embedding=None) for one in self.ordered()]
            at = data.draw(st.integers(0, len(ordered) - 1))
            place = ordered[at]
            after = conversations.page(db, self.session, after=place, limit=limit)
            before = conversations.page(db, self.session, before=place[1::-1], limit=limit)
            assert ordered[at + 1 :][:limit] == after
            assert ordered[:at][-limit:] == before
            assert ordered[-limit:] == conversations.last(db, self.session, limit)

        @invariant()
        def is_what_it_should_be(self) -> None:
            found = conversations.page(db, self.session, limit=1000, embeddings=True)
            assert [exact(one) for one in self.ordered()] == [exact(one) for one in found]
            left = conversations.unembedded(db, session=self.session)
            assert sorted(one.id for one in self.messages if one.embedding is None) == [
                one.id for one in left
            ]
            assert len(found) == conversations.counts(db, self.session).total

    return Conversation


def protocol_of(db: Database) -> type[RuleBasedStateMachine]:
    """A protocol, and what it should be."""

    class Protocol(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.undo = example(db)
            self.undo.__enter__()
            self.id = protocols.open(db, "sleep")
            self.decided, self.feedback = "awaiting", None
            self.iteration, self.over = 0, False
            self.entries: list[tuple[str, int]] = []
            self.keys: dict[str, int] = {}
            self.found: list[str] = []

        def teardown(self) -> None:
            self.undo.__exit__(None, None, None)

        def may(self, legal: bool, call: Callable[[], Any]) -> bool:
            """Whether the call was done, which it is just when it is legal."""
            if legal:
                call()
                return True
            with pytest.raises(IllegalTransition):
                call()
            return False

        @rule(content=text(), key=st.sampled_from([None, "a", "b"]))
        def log(self, content: str, key: str | None) -> None:
            def call() -> None:
                id = protocols.log(db, self.id, "drafter", content, key=key)
                if key is None or key not in self.keys:
                    self.entries.append((content, self.iteration))
                if key is not None:
                    assert id == self.keys.setdefault(key, id)

            self.may(not self.over or key in self.keys, call)

        @rule(level=st.sampled_from(["safe", "unsafe"]))
        def assess(self, level: str) -> None:
            if self.may(not self.over, lambda: protocols.assess(db, self.id, level)):
                self.found.append(level)

        @rule()
        def next_iteration(self) -> None:
            legal = not self.over and self.decided != "approved"
            if self.may(legal, lambda: protocols.next_iteration(db, self.id)):
                self.iteration += 1
                self.decided = "awaiting"

        @rule(feedback=st.sampled_from([None, "x", "y"]))
        def approve(self, feedback: str | None) -> None:
            self.decide("approved", feedback, protocols.approve)

        @rule(feedback=st.sampled_from(["x", "y"]))
        def reject(self, feedback: str) -> None:
            self.decide("rejected", feedback, protocols.reject)

        def decide(self, decided: str, feedback: Any, call: Any) -> None:
            again = (decided, feedback) == (self.decided, self.feedback)
            legal = again or (self.decided == "awaiting" and not self.over)
            words = {"feedback": feedback}
            if self.may(legal, lambda: call(db, self.id, **words)):
                self.decided, self.feedback = decided, feedback

        @rule(final=st.none() | text(max_size=2), state=STATES)
        def complete(self, final: str | None, state: dict[str, Any]) -> None:
            legal = not self.over and (self.decided == "approved") == (final is not None)
            call = lambda: protocols.complete(db, self.id, final_protocol=final, state=state)  # noqa: E731
            if not self.over and self.may(legal, call):
                self.over, self.final, self.state = True, final, state
                call()

        @rule()
        def complete_otherwise(self) -> None:
            if self.over:
                with pytest.raises(IllegalTransition):
                    protocols.complete(db, self.id, final_protocol="another text")

        @invariant()
        def is_what_it_should_be(self) -> None:
            row = protocols.find(db, self.id)
            assert (self.decided, self.iteration, self.feedback, self.over) == (
                row.decided,
                row.iteration_count,
                row.human_feedback,
                row.completed_at is not None,
            )
            assert (self.state if self.over else None) == protocols.state(db, self.id)
            events = protocols.timeline(db, self.id)
            logged = [(e.content, e.iteration) for e in events if isinstance(e, Interaction)]
            found = [e.safety_level for e in events if isinstance(e, Assessment)]
            said = [e.decided for e in events if isinstance(e, Decision)]
            assert (self.entries, self.found) == (logged, found)
            assert ([] if self.decided == "awaiting" else [self.decided]) == said

    return Protocol


@pytest.mark.usefixtures("vectors_there")
def test_a_conversation_is_what_was_put_into_it(db: Database, user: UUID) -> None:
    """Whatever the order: appended, embedded, paged, refused."""
    run_machine(conversation_of(db, user), settings=SETTINGS)


def test_a_protocol_goes_only_where_it_may(db: Database) -> None:
    """Whatever the order: what is legal is done, what is not changes nothing."""
    run_machine(protocol_of(db), settings=SETTINGS)
