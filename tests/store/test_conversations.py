"""Conversations: what is stored comes back as it was, in its order, or not at all."""

from __future__ import annotations

import struct
import threading
import time
import traceback
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, nullcontext, suppress
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.server import Server
from support.transports import beside, conversations

from foundry.database import Database, Target, open_connection
from foundry.errors import ConnectionFailed, DuplicateRow, InvalidValue, MissingRow, StoreError
from foundry.fixtures.strategies import conversations as conversations_
from foundry.fixtures.strategies import each_example, jsonb, text
from foundry.schema import Message
from foundry.store import blocking
from foundry.store.conversations import ChainAnalysis, ChainLink, NewMessage
from foundry.store.payloads import loaded
from foundry.store.strict import payload

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
NOBODY = UUID(int=0)
MOMENTS = st.datetimes(
    datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(timezone.utc)
).map(lambda ts: ts.replace(fold=0))
ROLES = st.sampled_from(["user", "assistant", "system", "tool"])
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
VECTORS = st.dictionaries(st.integers(0, 383), FLOATS, max_size=5).map(
    lambda drawn: [drawn.get(at, 0.25) for at in range(384)]
)


def bits(embedding: Any) -> bytes | None:
    """The bits of an embedding, since -0.0 equals 0.0."""
    return None if embedding is None else struct.pack("384f", *embedding)


def at(minute: int) -> datetime:
    """A time of the conversation."""
    return NOON + timedelta(minutes=minute)


def test_a_session_starts_and_ends(db: Database, user: UUID) -> None:
    """Ended once: a second end changes nothing."""
    id = uuid4()
    assert id == conversations.start(db, user, type="x", started_at=NOON, id=id)
    assert at(5) == conversations.end(db, id, ended_at=at(5))
    assert at(5) == conversations.end(db, id, ended_at=at(9))
    with pytest.raises(DuplicateRow, match=f'^session "{id}" is there already$'):
        conversations.start(db, user, id=id)


MISSING: tuple[tuple[str, Any], ...] = (
    ("user", lambda db: conversations.start(db, NOBODY)),
    ("session", lambda db: conversations.end(db, NOBODY)),
    ("session", lambda db: conversations.append(db, NOBODY, "user", "x")),
    ("session", lambda db: conversations.append_many(db, NOBODY, [("user", "x")])),
    ("session", lambda db: conversations.save_result(db, NOBODY, ChainAnalysis())),
)


@pytest.mark.parametrize(("what", "call"), MISSING)
def test_what_is_not_there_is_one_error(db: Database, what: str, call: Any) -> None:
    """It is a LookupError, too, and holds nothing of the row."""
    with pytest.raises(LookupError) as refused:
        call(db)
    assert (MissingRow, f'{what} "{NOBODY}" is not there') == (
        type(refused.value),
        str(refused.value),
    )
    assert refused.value.__cause__ is None


@pytest.mark.usefixtures("vectors_there")
def test_an_embedding_for_no_message_is_the_same_error(db: Database, session: UUID) -> None:
    """And nothing is written for the others."""
    with pytest.raises(MissingRow, match=r'^session "0'):
        conversations.append(db, NOBODY, "user", "x", embedding=[1.0] * 384)
    with pytest.raises(MissingRow, match=r'^message "-1" is not there$'):
        conversations.embed(db, -1, [1.0] * 384)
    id = conversations.append(db, session, "user", "x")
    with pytest.raises(MissingRow, match=r'^1 messages are not there, the first is "-1"$'):
        conversations.embed_many(db, [(id, [1.0] * 384), (-1, [1.0] * 384)])
    assert [id] == [one.id for one in conversations.unembedded(db, session=session)]


BAD: tuple[tuple[dict[str, Any], str], ...] = (
    ({"role": "robot"}, "message.role: not one of user, assistant, system, tool"),
    ({"content": "0123456789abcdefg\0"}, "message.content: U+0000 at 17"),
    ({"ts": datetime(2026, 1, 1)}, "message.ts: a datetime without"),
    ({"embedding": [0.5] * 383}, "message.embedding: 383 numbers, not 384"),
    ({"embedding": [float("nan")] * 384}, "message.embedding[0]: NaN"),
)


@pytest.mark.parametrize(("bad", "said"), BAD)
def test_a_bad_value_is_refused_before_any_sql(
    db: Database, session: UUID, bad: dict[str, Any], said: str
) -> None:
    """An open transaction goes on as if nothing had been asked."""
    message = {"role": "user", "content": "x", **bad}
    with db.atomic():
        with pytest.raises(InvalidValue) as refused:
            conversations.append(db, session, **message)
        conversations.append(db, session, "user", "after")
    assert str(refused.value).startswith(said)
    assert ["after"] == [one.content for one in conversations.page(db, session)]
    many = [NewMessage("user", "first")] * 700 + [NewMessage(**message)]
    with db.atomic(), pytest.raises(InvalidValue) as refused:
        conversations.append_many(db, session, many)
    assert str(refused.value).startswith(said.replace("message.", "messages[700]."))
    assert 1 == conversations.counts(db, session).total


MESSAGES = st.tuples(ROLES, text(), MOMENTS)


@SHARED
@given(st.lists(st.tuples(ROLES, text(), MOMENTS, st.none() | VECTORS), max_size=4))
@pytest.mark.usefixtures("vectors_there")
def test_messages_come_back_as_they_were(
    db: Database, session: UUID, messages: list[tuple[Any, ...]]
) -> None:
    """One by one and many at once, with and without embeddings, bit by bit."""
    with each_example(db):
        ids = []
        for role, content, ts, embedding in messages:
            ids.append(conversations.append(db, session, role, content, ts=ts, embedding=embedding))
        found = conversations.page(db, session, embeddings=True)
        wanted = sorted(zip(ids, messages, strict=True), key=lambda one: (one[1][2], one[0]))
        assert [(id, *said[:3], bits(said[3])) for id, said in wanted] == [
            (one.id, one.role, one.content, one.ts, bits(one.embedding)) for one in found
        ]
        assert [one[:4] for one in found] == [one[:4] for one in conversations.page(db, session)]
    with each_example(db):
        assert len(messages) == conversations.append_many(db, session, iter(messages))
        found = conversations.page(db, session, embeddings=True)
        in_order = sorted(messages, key=lambda one: one[2])
        assert [(*said[:3], bits(said[3])) for said in in_order] == [
            (one.role, one.content, one.ts, bits(one.embedding)) for one in found
        ]


@SHARED
@given(st.lists(VECTORS, min_size=1, max_size=3))
@pytest.mark.usefixtures("vectors_there")
def test_embeddings_given_later_come_back_as_they_were(
    db: Database, session: UUID, embeddings: list[list[float]]
) -> None:
    """Set one by one, or many at once."""
    with each_example(db):
        ids = [conversations.append(db, session, "user", "x") for _ in embeddings]
        count = conversations.embed_many(db, zip(ids, embeddings, strict=True))
        found = conversations.page(db, session, embeddings=True)
        assert (len(ids), [bits(one) for one in embeddings]) == (
            count,
            [bits(one.embedding) for one in found],
        )
        other = embeddings[::-1]
        for id, embedding in zip(ids, other, strict=True):
            assert conversations.embed(db, id, embedding, overwrite=True)
        found = conversations.page(db, session, embeddings=True)
        assert [bits(one) for one in other] == [bits(one.embedding) for one in found]


@pytest.mark.usefixtures("vectors_there")
def test_an_embedding_stays_unless_it_may_be_overwritten(db: Database, session: UUID) -> None:
    """Only messages that have none are given one."""
    first, second, third = (conversations.append(db, session, "user", c) for c in "abc")
    assert conversations.embed(db, first, [1.0] * 384)
    assert not conversations.embed(db, first, [2.0] * 384)
    assert 1 == conversations.embed_many(db, [(first, [3.0] * 384), (second, [3.0] * 384)])
    left = conversations.unembedded(db, session=session)
    assert [{"id": third, "content": "c"}] == left.dicts()
    assert [] == conversations.unembedded(db, session=session, after=third)
    assert third in {one.id for one in conversations.unembedded(db, after=second)}
    assert 1 == conversations.embed_many(db, [(first, [4.0] * 384)], overwrite=True)
    found = conversations.page(db, session, embeddings=True)
    assert [4.0, 3.0, None] == [one.embedding and one.embedding[0] for one in _lists(found)]
    with pytest.raises(InvalidValue, match=r"^embeddings: a message is named twice$"):
        conversations.embed_many(db, [(third, [1.0] * 384)] * 2)
    with pytest.raises(InvalidValue, match=r"^embeddings\[1\].embedding: 1 numbers, not 384$"):
        conversations.embed_many(db, [(third, [1.0] * 384), (third, [1.0])])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["user", "x"], "expected NewMessage or a tuple, got list"),
        (("user",), "expected role, content, ts, embedding, got 1 values"),
        (("user", "x", None, None, 5), "expected role, content, ts, embedding, got 5 values"),
    ],
)
def test_what_is_no_message_is_refused_and_what_one_is_made_of_is_said(
    db: Database, session: UUID, given: Any, said: str
) -> None:
    """With its place among those that were given."""
    with pytest.raises(InvalidValue, match=rf"^messages\[1\]: {said}$"):
        conversations.append_many(db, session, [("user", "x"), given])
    assert 0 == conversations.counts(db, session).total


def test_what_cannot_be_gone_through_is_refused(db: Database, session: UUID) -> None:
    """By one error, as every other argument."""
    bad: Any = None
    with pytest.raises(InvalidValue, match=r"^messages: expected an iterable, got NoneType$"):
        conversations.append_many(db, session, bad)
    with pytest.raises(InvalidValue, match=r"^embeddings: expected an iterable, got int$"):
        conversations.embed_many(db, 3)  # type: ignore[arg-type]


def _lists(rows: Any) -> Any:
    return [
        row._replace(embedding=None if row.embedding is None else list(row.embedding))
        for row in rows
    ]


@pytest.mark.usefixtures("vectors_there")
@pytest.mark.parametrize("kind", ["list", "array", "numpy"])
def test_a_source_may_use_one_vector_again(db: Database, session: UUID, kind: str) -> None:
    """Each message has the numbers that stood there when it was given."""
    makers: dict[str, Any] = {"list": list, "array": partial(array, "f")}
    made = pytest.importorskip("numpy").array if kind == "numpy" else makers[kind]
    vector = made([0.0] * 384)

    def source() -> Iterator[NewMessage]:
        for number in range(3):
            vector[0] = number
            yield NewMessage("user", str(number), NOON, vector)

    assert 3 == conversations.append_many(db, session, source())
    found = conversations.page(db, session, embeddings=True)
    assert [0, 1, 2] == [row.embedding[0] for row in found]


@pytest.mark.usefixtures("vectors_there")
def test_arrays_of_many_messages_are_each_their_own(db: Database, session: UUID) -> None:
    """Of several pieces, and of one whose last row is refused."""
    numpy = pytest.importorskip("numpy")
    arrays = numpy.random.default_rng(7).standard_normal((1203, 384)).astype("f4")
    messages = [NewMessage("user", str(at), NOON, one) for at, one in enumerate(arrays)]
    assert 1203 == conversations.append_many(db, session, messages)
    found = conversations.page(db, session, limit=2000, embeddings=True)
    assert arrays.tobytes() == b"".join(bits(one.embedding) or b"" for one in found)
    ids = [conversations.append(db, session, "user", "x", ts=NOON) for _ in range(1203)]
    assert 1203 == conversations.embed_many(db, zip(ids, arrays[::-1], strict=True))
    found = conversations.page(db, session, limit=2000, after=(NOON, ids[0] - 1), embeddings=True)
    assert arrays[::-1].tobytes() == b"".join(bits(one.embedding) or b"" for one in found)
    arrays[1202, 5] = numpy.nan
    with pytest.raises(InvalidValue, match=r"^messages\[1202\]\.embedding\[5\]: NaN$"):
        conversations.append_many(db, session, messages)
    with pytest.raises(InvalidValue, match=r"^embeddings\[1202\]\.embedding\[5\]: NaN$"):
        conversations.embed_many(db, zip(ids, arrays, strict=True), overwrite=True)
    assert 2406 == conversations.counts(db, session).total


@pytest.mark.usefixtures("vectors_there")
@pytest.mark.parametrize("ts", ["0044-03-15 BC", "10000-01-01"])
@pytest.mark.parametrize("embeddings", [False, True])
def test_a_time_that_python_has_not_is_said(
    shared: Database, db: Database, session: UUID, ts: str, embeddings: bool
) -> None:
    """Others may have stored it; the connection is as good as before."""
    with closing(open_connection(shared.target)) as other, other.cursor() as cursor:
        insert = "INSERT INTO messages (session_id, role, content, ts) VALUES (%s, 'user', 'x', %s)"
        cursor.execute(insert, (str(session), ts))
    with pytest.raises(StoreError, match=r"^a stored value is none of Python's"):
        conversations.page(db, session, embeddings=embeddings)
    assert 1 == conversations.counts(db, session).total


@pytest.mark.usefixtures("vectors_there")
def test_a_statement_that_the_server_does_not_understand_is_not_shown(
    db: Database, session: UUID
) -> None:
    """Not in the traceback either: its values are in it."""
    message = conversations.append(db, session, "user", "x")
    db.execute_sql("SET search_path = pg_catalog")
    try:
        with pytest.raises(StoreError, match='relation "messages" does not exist') as refused:
            conversations.embed(db, message, [0.123] * 384)
    finally:
        db.execute_sql("RESET search_path")
    said = "".join(traceback.format_exception_only(refused.value.__cause__ or refused.value))
    assert "0.123" not in said


@pytest.mark.parametrize("error", [FileNotFoundError, psycopg2.OperationalError])
def test_an_error_of_the_iterable_is_no_error_of_the_connection(
    db: Database, session: UUID, error: type[Exception]
) -> None:
    """It may read a file, or another database."""

    def messages() -> Iterator[tuple[str, str]]:
        yield "user", "x"
        raise error("one's own")

    with pytest.raises(error, match=r"^one's own$"):
        conversations.append_many(db, session, messages())
    assert 0 == conversations.counts(db, session).total


@pytest.mark.parametrize("db", ["psycopg2"], indirect=True)
def test_many_messages_are_sent_in_pieces(db: Database, session: UUID) -> None:
    """`progress` hears of each piece; the iterable may use the database meanwhile."""
    heard: list[int] = []

    def messages() -> Iterator[tuple[str, str]]:
        for number in range(1203):
            if number % 400 == 0:
                assert number >= conversations.counts(db, session).total
            yield ("user", str(number))

    assert 1203 == conversations.append_many(db, session, messages(), progress=heard.append)
    assert [500, 1000, 1203] == heard
    found = conversations.page(db, session, limit=2000)
    assert [str(number) for number in range(1203)] == [one.content for one in found]
    assert 1 == len({one.ts for one in found})
    assert (1203, 1203, 0, 0, 0) == conversations.counts(db, session)


def test_long_messages_are_sent_in_smaller_pieces(db: Database, session: UUID) -> None:
    """What waits to be sent is a few megabytes at most."""
    heard: list[int] = []
    messages = (("tool", "x" * 600_000) for _ in range(5))
    assert 5 == conversations.append_many(db, session, messages, progress=heard.append)
    assert [2, 4, 5] == heard


def test_a_failure_in_the_middle_leaves_nothing(db: Database, session: UUID) -> None:
    """Whoever fails, the iterable or the callback: what they raise is raised."""

    def messages() -> Iterator[tuple[str, str]]:
        yield from [("user", "x")] * 600
        raise OverflowError

    def progress(count: int) -> None:
        raise OverflowError

    for call in (
        lambda: conversations.append_many(db, session, messages()),
        lambda: conversations.append_many(db, session, [("user", "x")] * 600, progress=progress),
    ):
        with pytest.raises(OverflowError):
            call()
        assert 0 == conversations.counts(db, session).total


def test_pages_lead_through_a_conversation_both_ways(db: Database, session: UUID) -> None:
    """Messages of one time too, which their ids tell apart."""
    said = [("user", str(n), at(n // 3)) for n in range(10)]
    conversations.append_many(db, session, said)
    forwards, backwards = [], []
    page = conversations.page(db, session, limit=4)
    while page:
        forwards.append([one.content for one in page])
        page = conversations.page(db, session, after=page[-1], limit=4)
    page = conversations.last(db, session, 4)
    while page:
        backwards.append([one.content for one in page])
        page = conversations.page(db, session, before=(page[0].ts, page[0].id), limit=4)
    assert ["0123", "4567", "89"] == ["".join(one) for one in forwards]
    assert ["6789", "2345", "01"] == ["".join(one) for one in backwards]
    with pytest.raises(InvalidValue, match="either after or before"):
        conversations.page(db, session, after=(NOON, 1), before=(NOON, 1))
    with pytest.raises(InvalidValue, match=r"^page.limit: not from 1"):
        conversations.page(db, session, limit=0)


LINKS = st.builds(ChainLink, MOMENTS, text(), text(), st.none() | st.integers(0, 100))
ANALYSES = st.builds(
    ChainAnalysis,
    chain_links=st.none() | st.lists(LINKS, max_size=3).map(tuple),
    vulnerabilities=st.none() | st.lists(text(), max_size=3).map(tuple),
    problem_behavior=st.none() | text(),
    prompting_event=st.none() | text(),
    consequences=st.none() | text(),
    solutions=st.none() | st.lists(jsonb(), max_size=2),
    summary=st.none() | text(),
)


@SHARED
@given(st.lists(ANALYSES, min_size=1, max_size=2))
def test_an_analysis_comes_back_as_it_was(
    db: Database, session: UUID, analyses: list[ChainAnalysis]
) -> None:
    """The last one that was saved."""
    with each_example(db):
        assert conversations.result(db, session) is None
        for analysis in analyses:
            conversations.save_result(db, session, analysis)
            assert repr(analysis) == repr(_sorted(conversations.result(db, session), analysis))


def _sorted(found: ChainAnalysis | None, wanted: ChainAnalysis) -> ChainAnalysis:
    """The analysis with the keys of its solutions in the order they were given in."""
    assert found is not None
    assert wanted.solutions == found.solutions
    return found._replace(solutions=wanted.solutions)


def test_bad_links_are_refused_by_their_place(db: Database, session: UUID) -> None:
    """Nothing is stored."""
    link = ChainLink(NOON, "thought", "x", 70)
    for bad, said in (
        (link._replace(ts=datetime(2026, 1, 1)), "ts: a datetime without a time zone"),
        (link._replace(text="a\0"), "text: U+0000 at 1"),
        (link._replace(intensity=101), "intensity: not from 0 to 100"),
        (link._replace(intensity=True), "intensity: expected int, got bool"),
    ):
        analysis = ChainAnalysis(chain_links=[link, bad])
        with pytest.raises(InvalidValue) as refused:
            conversations.save_result(db, session, analysis)
        assert str(refused.value).startswith(f"analysis.chain_links[1].{said}")
    assert conversations.result(db, session) is None


def test_an_analysis_of_another_shape_is_said_to_be_one(db: Database, session: UUID) -> None:
    """Others write to the table, too."""
    db.execute_sql(
        "INSERT INTO chain_analysis_results (session_id, chain_links) VALUES (%s, %s)",
        (str(session), '[{"ts": "yesterday"}]'),
    )
    with pytest.raises(InvalidValue, match=r"^chain_analysis_results.chain_links\[0\].ts: not a"):
        conversations.result(db, session)


@SHARED
@given(st.lists(jsonb() | st.floats(allow_nan=False, allow_infinity=False), max_size=10))
def test_json_comes_back_as_it_was(db: Database, values: list[Any]) -> None:
    """Through jsonb itself; a float that jsonb cannot keep is refused."""
    kept = [one for one in values if repr(one) != "-0.0"]
    for value in kept:
        sent = payload(value, "v")
        ((back,),) = db.execute_sql("SELECT %s::jsonb::text", (sent,)).fetchall()
        assert value == loaded(back)
        assert type(value) is type(loaded(back))


@pytest.mark.parametrize("db", ["psycopg2"], indirect=True)
def test_a_call_takes_a_connection_when_the_thread_has_none(shared: Database, user: UUID) -> None:
    """And gives it back, also when it fails."""
    done: list[object] = []

    def work() -> None:
        session = conversations.start(shared, user)
        conversations.append(shared, session, "user", "x")
        with pytest.raises(MissingRow):
            conversations.append(shared, NOBODY, "user", "x")
        done.append((shared.is_closed(), len(conversations.page(shared, session))))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [(True, 1)] == done


def test_a_call_joins_the_transaction_of_its_thread(db: Database, session: UUID) -> None:
    """What is rolled back is gone, and what many calls did was seen in between."""
    with db.atomic() as transaction:
        conversations.append(db, session, "user", "x")
        conversations.append_many(db, session, [("user", "y")])
        assert 2 == conversations.counts(db, session).total
        transaction.rollback()
    assert 0 == conversations.counts(db, session).total


def test_an_error_of_the_server_says_nothing_of_the_row(db: Database, session: UUID) -> None:
    """Its detail has the whole of it."""
    db.execute_sql(
        "ALTER TABLE messages ADD CONSTRAINT short CHECK (length(content) < 50) NOT VALID"
    )
    try:
        with pytest.raises(StoreError) as refused:
            conversations.append(db, session, "user", "secret" * 20)
    finally:
        db.execute_sql("ALTER TABLE messages DROP CONSTRAINT short")
    error = refused.value
    assert ("23514", "short", None) == (error.sqlstate, error.constraint, error.__cause__)
    assert "secret" not in f"{error!r} {error.__context__!r}"
    assert "CheckViolation" in str(error)


@pytest.mark.usefixtures("vectors_there")
@pytest.mark.parametrize("arrays", [False, True])
def test_policies_on_messages_are_no_obstacle(
    server: Server, db: Database, user: UUID, arrays: bool
) -> None:
    """COPY writes no table that has row-level security: an INSERT does the same."""
    session = conversations.start(db, user)
    embedding: Any = [0.1, -0.0, 1e-45] * 128
    if arrays:
        embedding = pytest.importorskip("numpy").array(embedding, "f4")
    with server.role() as role, psycopg2.connect(**db.target.params) as owner:
        grants = f"""
            GRANT ALL ON messages, messages_id_seq, sessions TO {role};
            GRANT TEMPORARY ON DATABASE "{db.target.dbname}" TO {role};
            CREATE POLICY {role} ON messages TO {role} USING (role = 'user');
            ALTER TABLE messages ENABLE ROW LEVEL SECURITY"""
        owner.cursor().execute(grants)
        owner.commit()
        other = beside(db, server.url_as(role, db.target.dbname))
        try:
            id = conversations.append(other, session, "user", "x", embedding=embedding)
            new = [NewMessage("user", c, NOON, v) for c, v in (("y", embedding), ("z", None))]
            assert 2 == conversations.append_many(other, session, new)
            assert 1 == conversations.append_many(other, session, new[:1])
            (left,) = conversations.unembedded(other, session=session)
            assert 1 == conversations.embed_many(other, [(left.id, embedding)])
            found = conversations.page(other, session, embeddings=True)
            assert [bits(embedding)] * 4 == [bits(one.embedding) for one in found]
            assert id == found[-1].id
            with pytest.raises(StoreError, match="InsufficientPrivilege"):
                conversations.append(other, session, "tool", "x", embedding=embedding)
        finally:
            other.close_all()
            undo = f"""
                ALTER TABLE messages DISABLE ROW LEVEL SECURITY; DROP POLICY {role} ON messages;
                DROP OWNED BY {role}"""
            owner.cursor().execute(undo)
            owner.commit()


def test_a_database_without_the_tables_is_said_to_be_one(empty: Target) -> None:
    """And what to do about it."""
    with closing(Database(empty)) as bare:
        with pytest.raises(StoreError, match=r'not exist: run "python -m foundry.migrate up"$'):
            conversations.start(bare, NOBODY)
        bare.close_all()


@pytest.mark.parametrize("db", ["psycopg2"], indirect=True)
def test_a_session_that_was_ended_is_one_error(shared: Database, session: UUID) -> None:
    """The pool drops its connection, and the next call has another one."""

    def messages(rest: int) -> Iterator[tuple[str, str]]:
        yield from [("user", "x")] * 600
        end(shared)
        yield from [("user", "x")] * rest

    def end(database: Database) -> None:
        pid = database.connection().info.backend_pid
        with closing(open_connection(database.target)) as other, other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))

    def ended(count: int) -> None:
        end(shared)

    def work() -> None:
        # In the middle, at the end, and with nothing more to send than COMMIT.
        for call in (
            lambda: conversations.append_many(shared, session, messages(600)),
            lambda: conversations.append_many(shared, session, messages(1)),
            lambda: conversations.append_many(shared, session, [("user", "x")], progress=ended),
        ):
            with pytest.raises(ConnectionFailed, match="whether it was done is not known"):
                call()
            assert shared.is_closed()
        conversations.append(shared, session, "user", "after")
        said.extend(one.content for one in conversations.page(shared, session))

    said: list[str] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ["after"] == said


@pytest.mark.parametrize("db", ["psycopg2"], indirect=True)
def test_a_connection_that_has_ended_is_said_to_be_for_as_long_as_it_is_kept(
    shared: Database, session: UUID
) -> None:
    """Not replaced without a word: a role that was set in it would be gone with it."""
    pool = Database(shared.target, pool_size=1)
    try:
        with pool.connection_context():
            pid = pool.connection().info.backend_pid
            with closing(open_connection(shared.target)) as other, other.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            with pytest.raises(ConnectionFailed, match="whether it was done is not known"):
                conversations.counts(pool, session)
            for call in (
                lambda: conversations.counts(pool, session),
                lambda: conversations.append_many(pool, session, [("user", "x")]),
            ):
                with pytest.raises(ConnectionFailed, match=r"close it \(`db\.close\(\)`"):
                    call()
        assert 0 == conversations.counts(pool, session).total
    finally:
        pool.close_all()


def lose_within(pool: Database, session: UUID, depth: int, last: Callable[[], object]) -> None:
    """Store a message in so many transactions, end their session, and do what comes last."""
    with pool.connection_context(), ExitStack() as blocks:
        for _ in range(depth):
            blocks.enter_context(pool.atomic())
        conversations.append(pool, session, "user", "x")
        pid = pool.connection().info.backend_pid
        with closing(open_connection(pool.target)) as other, other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        last()


@pytest.mark.parametrize("db", ["psycopg2"], indirect=True)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_lost_connection_is_what_leaves_a_transaction(
    shared: Database, session: UUID, depth: int
) -> None:
    """Not Peewee's word for what can no more be rolled back."""
    pool = Database(shared.target, pool_size=1)
    try:
        with pytest.raises(ConnectionFailed, match="whether it was done is not known"):
            lose_within(
                pool, session, depth, lambda: conversations.append(pool, session, "user", "y")
            )
        assert 0 == conversations.counts(pool, session).total
    finally:
        pool.close_all()


@pytest.mark.parametrize("db", ["psycopg2"], indirect=True)
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("mine", [LookupError, KeyboardInterrupt])
def test_an_error_of_ones_own_leaves_a_transaction_whose_connection_is_lost(
    shared: Database, session: UUID, depth: int, mine: type[BaseException]
) -> None:
    """Also where it is the end of the transaction that finds the connection lost."""
    pool = Database(shared.target, pool_size=1)

    def fail() -> None:
        raise mine

    try:
        with pytest.raises(mine):
            lose_within(pool, session, depth, fail)
        assert 0 == conversations.counts(pool, session).total
    finally:
        pool.close_all()


def test_a_transaction_that_the_server_undoes_is_an_error(
    db: Database, session: UUID, user: UUID
) -> None:
    """It answers a COMMIT after a statement that failed by ROLLBACK, and no error."""

    def work() -> None:
        with db.atomic():
            conversations.append(db, session, "user", "x")
            with suppress(MissingRow):
                conversations.append(db, user, "user", "y")

    with pytest.raises(StoreError, match=r"^nothing of the transaction is stored") as refused:
        work()
    assert "25P02" == refused.value.sqlstate
    assert 0 == conversations.counts(db, session).total
    with db.atomic():
        conversations.append(db, session, "user", "x")
        with pytest.raises(MissingRow), db.atomic():
            conversations.append(db, user, "user", "y")
    assert 1 == conversations.counts(db, session).total


@pytest.mark.parametrize("db", ["psycopg2"], indirect=True)
def test_a_date_style_that_the_driver_does_not_read_is_said(db: Database, session: UUID) -> None:
    """It is no lost connection."""
    conversations.append(db, session, "user", "x", ts=datetime(2026, 11, 22, tzinfo=timezone.utc))
    db.execute_sql("SET datestyle = 'SQL, DMY'")
    try:
        with pytest.raises(StoreError, match=r"DateStyle of the session's that is not ISO$"):
            conversations.page(db, session)
    finally:
        db.execute_sql("RESET datestyle")
        db.execute_sql("SET datestyle = 'ISO'")
    assert 1 == len(conversations.page(db, session))


def test_a_statement_that_took_too_long_is_not_a_lost_connection(
    db: Database, session: UUID
) -> None:
    """The transaction is over, and the connection good for another one."""
    with closing(open_connection(db.target)) as other, other.cursor() as cursor:
        other.autocommit = False
        cursor.execute("LOCK TABLE messages")
        db.execute_sql("SET statement_timeout = 50")
        try:
            with pytest.raises(StoreError) as refused:
                conversations.append(db, session, "user", "x")
        finally:
            other.rollback()
            db.execute_sql("RESET statement_timeout")
    assert "57014" == refused.value.sqlstate
    assert refused.value.__cause__ is not None
    conversations.append(db, session, "user", "x")


def test_a_refused_value_takes_no_connection(shared: Database) -> None:
    """Nor does it wait for one."""
    done: list[bool] = []

    def work() -> None:
        before = len(shared._in_use)
        with pytest.raises(InvalidValue):
            conversations.append(shared, NOBODY, "user", "a\0")
        done.append(shared.is_closed() and before == len(shared._in_use))

    with shared.atomic():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    shared.close()
    assert [True] == done


@pytest.mark.parametrize("at", [None, datetime(2026, 3, 1, tzinfo=timezone.utc)])
@pytest.mark.usefixtures("vectors_there")
def test_messages_of_one_time_are_in_the_order_they_came(
    db: Database, session: UUID, at: datetime | None
) -> None:
    """With an embedding or without, one by one or many; of a transaction all are of one time."""
    said = [str(number) for number in range(24)]
    with db.atomic() if at is None else nullcontext():
        for number, content in enumerate(said):
            vector = [1.0] * 384 if number % 4 < 2 else None
            if number % 4 == 3:
                conversations.append_many(db, session, [("tool", content, at)])
            else:
                conversations.append(db, session, "user", content, ts=at, embedding=vector)
    assert said == [one.content for one in conversations.page(db, session)]


@pytest.mark.parametrize("db", ["psycopg2"], indirect=True)
@pytest.mark.usefixtures("vectors_there")
def test_numbers_taken_in_advance_are_forgotten(
    db: Database, session: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that comes later has a later number than one of another connection."""
    monkeypatch.setattr(blocking, "_RESERVED_FOR", 0.2)
    ids = [conversations.append(db, session, "user", "x", embedding=[1.0] * 384) for _ in range(4)]
    assert sorted(ids) == ids
    time.sleep(0.3)
    ((taken,),) = db.execute_sql("SELECT nextval('messages_id_seq')").fetchall()
    assert taken < conversations.append(db, session, "user", "x", embedding=[1.0] * 384)


@pytest.mark.parametrize("db", ["psycopg2"], indirect=True)
@pytest.mark.usefixtures("vectors_there")
def test_numbers_taken_in_advance_are_not_given_twice(db: Database, session: UUID) -> None:
    """By a busy connection, beside those of a plain INSERT, and across a rollback."""
    ids = []
    for number in range(60):
        with each_example(db) if number % 7 == 0 else nullcontext():
            ids.append(conversations.append(db, session, "user", "x", embedding=[1.0] * 384))
        ids.append(conversations.append(db, session, "user", "y"))
    assert len(ids) == len(set(ids))
    assert set(ids) > {one.id for one in conversations.page(db, session)}


@pytest.mark.parametrize("db", ["psycopg2"], indirect=True)
@SHARED
@given(conversations_(results=True, max_messages=3))
def test_analyses_that_others_wrote_are_read(db: Database, drawn: Any) -> None:
    """Those that plain Peewee stores."""
    with each_example(db):
        session = drawn.save(db).id
        found = conversations.result(db, session)
        assert found is not None
        assert found.chain_links is not None
        assert drawn.result.chain_links == [
            {**link._asdict(), "ts": link.ts.isoformat()} for link in found.chain_links
        ]
        assert [m.content for m in drawn.messages] == [
            m.content for m in conversations.page(db, session)
        ]


def test_plain_peewee_reads_what_the_store_wrote(db: Database, session: UUID) -> None:
    """The models are the same tables."""
    id = conversations.append(db, session, "user", "hello", ts=NOON)
    message = Message.get_by_id(id)
    assert ("user", "hello", NOON) == (message.role, message.content, message.ts)


@pytest.mark.usefixtures("vectors_there")
def test_policies_that_come_later_stop_one_call(server: Server, db: Database, user: UUID) -> None:
    """The connection had found none; it looks again."""
    session = conversations.start(db, user)
    new = [NewMessage("user", "x", NOON)]
    with server.role() as role, closing(open_connection(db.target)) as owner:
        grants = f"GRANT ALL ON messages, messages_id_seq, sessions TO {role}"
        owner.cursor().execute(f"{grants}; CREATE POLICY {role} ON messages TO {role} USING (true)")
        other = beside(db, server.url_as(role, db.target.dbname))
        try:
            with other.connection_context():
                assert 1 == conversations.append_many(other, session, new)
                owner.cursor().execute("ALTER TABLE messages ENABLE ROW LEVEL SECURITY")
                with pytest.raises(StoreError, match="FeatureNotSupported"):
                    conversations.append_many(other, session, new)
                assert 1 == conversations.append_many(other, session, new)
            assert 2 == conversations.counts(db, session).total
        finally:
            other.close_all()
            undo = f"""
                ALTER TABLE messages DISABLE ROW LEVEL SECURITY; DROP POLICY {role} ON messages;
                DROP OWNED BY {role}"""
            owner.cursor().execute(undo)
