"""Protocols: what may follow what, and what is asked twice is done once."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.transports import protocols

from foundry.database import Database
from foundry.errors import DuplicateRow, IllegalTransition, InvalidValue, MissingRow
from foundry.fixtures.strategies import each_example, jsonb, text
from foundry.samples import _store_protocol, read
from foundry.schema import AgentInteraction, Protocol, SafetyLog
from foundry.store.protocols import Assessment, Decision, Interaction

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS = st.lists(text(), max_size=3)
# Known keys have types of their own.
STATES = st.none() | st.dictionaries(text().map("my {}".format), jsonb() | st.none(), max_size=3)


@pytest.fixture
def protocol(db: Database) -> str:
    """A protocol of this test's own."""
    return protocols.open(db, "sleep", user_context="adult")


CALLS: tuple[Any, ...] = (
    lambda db, id: protocols.log(db, id, "drafter", "x"),
    lambda db, id: protocols.log(db, id, "drafter", "x", key="k"),
    lambda db, id: protocols.assess(db, id, "safe"),
    lambda db, id: protocols.next_iteration(db, id),
    lambda db, id: protocols.approve(db, id),
    lambda db, id: protocols.reject(db, id, "no"),
    lambda db, id: protocols.complete(db, id),
)


@pytest.mark.parametrize("call", [*CALLS, protocols.state, protocols.timeline, protocols.find])
def test_a_protocol_that_is_not_there_is_one_error(db: Database, call: Any) -> None:
    """It is a LookupError, too."""
    with pytest.raises(LookupError) as refused:
        call(db, "nowhere")
    assert (MissingRow, 'protocol "nowhere" is not there') == (
        type(refused.value),
        str(refused.value),
    )


@pytest.mark.parametrize("call", CALLS)
def test_a_completed_protocol_stays_as_it_is(db: Database, protocol: str, call: Any) -> None:
    """Each thing that could be asked of it is refused."""
    protocols.reject(db, protocol, "unsafe")
    protocols.complete(db, protocol, state={"iteration_count": 0})
    before = protocols.find(db, protocol), protocols.timeline(db, protocol)
    with pytest.raises(IllegalTransition, match=f'^protocol "{protocol}" is rejected and comp'):
        call(db, protocol)
    assert before == (protocols.find(db, protocol), protocols.timeline(db, protocol))


def test_a_protocol_goes_from_a_request_to_its_text(db: Database, protocol: str) -> None:
    """Drafted, assessed, rejected, drafted again, approved and completed."""
    first = protocols.log(db, protocol, "drafter", "one")
    found = protocols.assess(
        db, protocol, "unsafe", concerns=["a"], recommendations=("b",), flagged_lines=[3]
    )
    protocols.reject(db, protocol, "no")
    assert "rejected" == protocols.find(db, protocol).decided
    assert 1 == protocols.next_iteration(db, protocol)
    row = protocols.find(db, protocol)
    assert ("awaiting", "no", 1) == (row.decided, row.human_feedback, row.iteration_count)
    second = protocols.log(db, protocol, "supervisor", "two")
    protocols.approve(db, protocol, feedback="good")
    at = protocols.complete(db, protocol, final_protocol="sleep well", state={"scratchpad": []})
    row = protocols.find(db, protocol)
    assert ("approved", "sleep well", at) == (row.decided, row.final_protocol, row.completed_at)
    assert {"scratchpad": []} == protocols.state(db, protocol)
    events = protocols.timeline(db, protocol)
    assert [
        Interaction(first, "drafter", 0, "one", events[0][-1]),
        Assessment(found, "unsafe", ("a",), ("b",), (3,), events[1][-1]),
        Interaction(second, "supervisor", 1, "two", events[2][-1]),
        Decision("approved", "good", at),
    ] == events


def test_what_is_asked_twice_is_done_once(db: Database, protocol: str) -> None:
    """A node that runs again after a crash changes nothing."""
    ids = {protocols.log(db, protocol, "drafter", text, key="draft-1") for text in "ab"}
    assert [1, 1] == [protocols.next_iteration(db, protocol, after=0) for _ in range(2)]
    for _ in range(2):
        protocols.approve(db, protocol, feedback="y")
    done = {protocols.complete(db, protocol, final_protocol="f", state={"x": 1}) for _ in range(2)}
    assert [1, 1] == [len(ids), len(done)]
    assert ids == {protocols.log(db, protocol, "drafter", "late", key="draft-1")}
    assert ["a"] == [
        event.content
        for event in protocols.timeline(db, protocol)
        if isinstance(event, Interaction)
    ]


def test_a_key_belongs_to_its_protocol(db: Database, protocol: str) -> None:
    """The same key of another one is another entry."""
    other = protocols.open(db, "other")
    one = protocols.log(db, protocol, "drafter", "x", key="k")
    assert one != protocols.log(db, other, "drafter", "x", key="k")


ILLEGAL: tuple[tuple[list[str], str, str], ...] = (
    (["approve"], "next", "approved, in iteration 0: it cannot be iterated"),
    (["approve"], "reject", "approved, in iteration 0: it cannot be rejected"),
    (["approve"], "approve other", "approved, in iteration 0: it cannot be approved"),
    (["reject"], "approve", "rejected, in iteration 0: it cannot be approved"),
    (["reject"], "reject other", "rejected, in iteration 0: it cannot be rejected"),
    (["approve"], "complete", "approved, in iteration 0: it cannot be completed without a text"),
    (["reject"], "complete text", "rejected, in iteration 0: it cannot be completed with a text"),
    ([], "complete text", "awaiting, in iteration 0: it cannot be completed with a text"),
    (["next", "next"], "next after 0", "awaiting, in iteration 2: it cannot be in iteration 1"),
    (
        ["approve", "complete text"],
        "complete other",
        "approved and completed, in iteration 0: it cannot be completed with a text",
    ),
)
STEPS: dict[str, Any] = {
    "approve": lambda db, id: protocols.approve(db, id),
    "approve other": lambda db, id: protocols.approve(db, id, feedback="other"),
    "reject": lambda db, id: protocols.reject(db, id, "no"),
    "reject other": lambda db, id: protocols.reject(db, id, "other"),
    "next": lambda db, id: protocols.next_iteration(db, id),
    "next after 0": lambda db, id: protocols.next_iteration(db, id, after=0),
    "complete": lambda db, id: protocols.complete(db, id),
    "complete text": lambda db, id: protocols.complete(db, id, final_protocol="f"),
    "complete other": lambda db, id: protocols.complete(db, id, final_protocol="g"),
}


@pytest.mark.parametrize(("before", "step", "said"), ILLEGAL)
def test_an_illegal_transition_leaves_nothing_behind(
    db: Database, protocol: str, before: list[str], step: str, said: str
) -> None:
    """The error says how the protocol stands; an open transaction goes on."""
    for one in before:
        STEPS[one](db, protocol)
    row = protocols.find(db, protocol)
    with db.atomic(), pytest.raises(IllegalTransition) as refused:
        STEPS[step](db, protocol)
    assert f'protocol "{protocol}" is {said}' == str(refused.value)
    assert row == protocols.find(db, protocol)


BAD: tuple[tuple[Any, str], ...] = (
    (lambda db, id: protocols.open(db, "a\0"), "protocol.user_intent: U+0000 at 1"),
    (lambda db, id: protocols.open(db, "a", id=""), "protocol.id: an empty text"),
    (lambda db, id: protocols.log(db, id, "poet", "x"), "interaction.agent_role: not one of dra"),
    (
        lambda db, id: protocols.log(db, id, "drafter", "x", iteration=2**31),
        "interaction.iteration: not from 0 to 2147483647",
    ),
    (lambda db, id: protocols.assess(db, id, "fine"), "assessment.safety_level: not one of safe"),
    (
        lambda db, id: protocols.assess(db, id, "safe", concerns=["a", "b", "abc\ud800"]),
        "assessment.concerns[2]: lone surrogate U+D800 at 3",
    ),
    (
        lambda db, id: protocols.assess(db, id, "safe", concerns="abc"),
        "assessment.concerns: expected a list, got str",
    ),
    (
        lambda db, id: protocols.assess(db, id, "safe", flagged_lines=[True]),
        "assessment.flagged_lines[0]: expected int, got bool",
    ),
    (
        lambda db, id: protocols.complete(db, id, state={"iteration_count": 1.5}),
        "protocol.state.iteration_count: expected int, got float",
    ),
    (
        lambda db, id: protocols.complete(db, id, state={"draft_versions": [{"content": 1}]}),
        "protocol.state.draft_versions[0].content: expected text, got int",
    ),
    (
        lambda db, id: protocols.complete(db, id, state={"mine": {"a": [float("nan")]}}),
        "protocol.state.mine.a[0]: NaN",
    ),
)


@pytest.mark.parametrize(("call", "said"), BAD)
def test_a_bad_value_is_refused_by_its_path(
    db: Database, protocol: str, call: Any, said: str
) -> None:
    """Before any SQL: nothing is changed."""
    row, events = protocols.find(db, protocol), protocols.timeline(db, protocol)
    with pytest.raises(InvalidValue) as refused:
        call(db, protocol)
    assert str(refused.value).startswith(said)
    assert (row, events) == (protocols.find(db, protocol), protocols.timeline(db, protocol))


@SHARED
@given(
    st.tuples(text(), st.none() | text()),
    st.lists(st.tuples(text(), st.none() | text(min_size=1)), max_size=3),
    st.lists(st.tuples(TEXTS, TEXTS, st.lists(st.integers(0, 2**63 - 1), max_size=3)), max_size=2),
    STATES,
    text(),
)
def test_a_protocol_comes_back_as_it_was(
    db: Database, request: Any, entries: Any, found: Any, state: Any, final: str
) -> None:
    """Every text, list and state, through every function."""
    with each_example(db):
        id = protocols.open(db, request[0], user_context=request[1], id=str(uuid4()))
        kept: dict[str | int, str] = {}
        for number, (content, key) in enumerate(entries):
            kept.setdefault(key if key is not None else number, content)
            protocols.log(db, id, "drafter", content, key=key)
        for concerns, recommendations, lines in found:
            protocols.assess(
                db, id, "unsafe", concerns=concerns, recommendations=recommendations,
                flagged_lines=lines,
            )  # fmt: skip
        protocols.approve(db, id, feedback=final)
        protocols.complete(db, id, final_protocol=final, state=state)
        row = protocols.find(db, id)
        assert (*request, final, final) == (
            row.user_intent,
            row.user_context,
            row.final_protocol,
            row.human_feedback,
        )
        assert state == protocols.state(db, id)
        events = protocols.timeline(db, id)
        assert list(kept.values()) == [e.content for e in events if isinstance(e, Interaction)]
        assert [tuple(map(tuple, one)) for one in found] == [
            e[2:5] for e in events if isinstance(e, Assessment)
        ]


def test_protocols_are_listed_by_decision_and_date(db: Database) -> None:
    """Newest first, page by page, both ways."""
    ids = [protocols.open(db, "listed") for _ in range(7)]
    for number, id in enumerate(ids):
        if number % 2:
            protocols.approve(db, id)
        elif number == 2:
            protocols.reject(db, id, "no")
    rows = [protocols.find(db, id) for id in ids]
    since = rows[0].created_at
    assert since is not None
    assert [ids[5], ids[3], ids[1]] == [
        row.id for row in protocols.page(db, decided="approved", since=since)
    ]
    assert [ids[2]] == [row.id for row in protocols.page(db, decided="rejected", since=since)]
    assert [ids[6], ids[4], ids[0]] == [
        row.id for row in protocols.page(db, decided="awaiting", since=since)
    ]
    first = protocols.page(db, since=since, limit=3)
    second = protocols.page(db, since=since, after=first[-1], limit=3)
    assert ids[:0:-1] == [row.id for row in (*first, *second)]
    assert first == protocols.page(db, since=since, before=second[0], limit=3)
    assert [ids[1], ids[0]] == [
        row.id for row in protocols.page(db, since=since, until=rows[2].created_at)
    ]
    assert [] == protocols.page(db, since=since + timedelta(days=1))
    assert ids[6] == first.dicts()[0]["id"]


def test_an_id_that_is_there_is_refused(db: Database, protocol: str) -> None:
    """It is a thread's, too."""
    with pytest.raises(DuplicateRow, match=f'^protocol "{protocol}" is there already$'):
        protocols.open(db, "x", id=protocol)


@pytest.mark.parametrize("db", ["psycopg2"], indirect=True)
def test_protocols_that_others_wrote_are_read(db: Database) -> None:
    """The packaged ones, which are stored through the models."""
    with each_example(db), db.bind_ctx([Protocol, AgentInteraction, SafetyLog], False, False):
        samples = read()
        for sample in samples.protocols:
            _store_protocol(sample)
        for sample in samples.protocols:
            events = protocols.timeline(db, sample.id)
            assert [one["content"] for one in sample.interactions] == [
                event.content for event in events if isinstance(event, Interaction)
            ]
            assert [tuple(one["flagged_lines"]) for one in sample.assessments] == [
                event.flagged_lines for event in events if isinstance(event, Assessment)
            ]
            assert sample.protocol["state_snapshot"] == protocols.state(db, sample.id)
            at = sample.protocol["completed_at"]
            assert at == protocols.find(db, sample.id).completed_at


@pytest.mark.parametrize("db", ["psycopg2"], indirect=True)
def test_one_of_many_deciders_wins(shared: Database, protocol: str) -> None:
    """The others hear how the protocol stands, and its entries of one key are one."""
    said: list[str] = []
    ids: list[int] = []
    ready = threading.Barrier(4)

    def decide(number: int) -> None:
        ready.wait()
        ids.append(protocols.log(shared, protocol, "drafter", str(number), key="k"))
        try:
            protocols.reject(shared, protocol, str(number))
            said.append(str(number))
        except IllegalTransition:
            pass

    threads = [threading.Thread(target=decide, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == [protocols.find(shared, protocol).human_feedback]
    assert (4, 1) == (len(ids), len(set(ids)))


@pytest.mark.parametrize("db", ["psycopg2"], indirect=True)
def test_two_transactions_that_log_and_go_on_do_not_wait_for_each_other(
    shared: Database, protocol: str
) -> None:
    """The second one waits where it logs, and then hears that the iteration is over."""
    numbers: list[int] = []
    failures: list[BaseException] = []

    def second() -> None:
        try:
            with shared.atomic():
                protocols.log(shared, protocol, "clinical_critic", "too long")
                numbers.append(protocols.next_iteration(shared, protocol, after=0))
        except BaseException as error:
            failures.append(error)
        finally:
            shared.close()

    with shared.atomic():
        protocols.log(shared, protocol, "drafter", "a draft")
        other = threading.Thread(target=second)
        other.start()
        # Until it waits for this one, or has what it wants.
        while other.is_alive() and not _waits(shared):
            time.sleep(0.01)
        numbers.append(protocols.next_iteration(shared, protocol, after=0))
    other.join()
    assert ([], [1, 1]) == (failures, numbers)


def _waits(database: Database) -> bool:
    query = (
        "SELECT EXISTS (SELECT FROM pg_stat_activity"
        " WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)))"
    )
    ((waits,),) = database.execute_sql(query).fetchall()
    return bool(waits)
