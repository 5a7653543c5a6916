"""What the models hold, refuse and take along."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from peewee import IntegrityError
from support.migrations import rows, url_of

from foundry.database import Database, Target, connect
from foundry.errors import InvalidValue, ReadOnlyModel
from foundry.schema import (
    AgentInteraction,
    ChainAnalysisResult,
    Checkpoint,
    CheckpointState,
    Message,
    Protocol,
    SafetyLog,
    Session,
    User,
)

BERLIN = timezone(timedelta(hours=2))
NOON = datetime(2026, 6, 1, 12, 0, 0, 123456, tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("model", "field", "stored"),
    [
        (User, "created_at", "2026-06-01 10:00:00.123456+00"),
        (Protocol, "created_at", "2026-06-01 10:00:00.123456"),
    ],
)
def test_aware_datetimes_go_in_and_come_out_as_utc(
    database: Database, migrated: Target, model: Any, field: str, stored: str
) -> None:
    """Also in a `timestamp` column, which holds UTC."""
    more = {"id": "p", "user_intent": "sleep"} if model is Protocol else {}
    made = model.create(**{field: NOON}, **more)
    read = getattr(model.get_by_id(made.id), field)
    assert (NOON, timezone.utc) == (read, read.tzinfo)
    table = model._meta.table_name
    assert [(stored,)] == rows(migrated, f"SET timezone = 'UTC'; SELECT {field}::text FROM {table}")


@pytest.mark.parametrize("model", [User, Protocol])
@pytest.mark.parametrize("value", [NOON.replace(tzinfo=None), "now", "2026-06-01", 0])
def test_what_is_no_aware_datetime_is_refused_before_sql(
    database: Database, model: Any, value: object
) -> None:
    """The error names table and column."""
    with pytest.raises(InvalidValue, match=rf'"{model._meta.table_name}"."created_at": '):
        model.create(created_at=value)
    with pytest.raises(InvalidValue):
        list(model.select().where(model.created_at > value))
    assert 0 == model.select().count()


def test_a_default_time_stamp_is_utc_whatever_the_server_says(
    database: Database, migrated: Target
) -> None:
    """CURRENT_TIMESTAMP in a `timestamp` column is the session's wall clock."""
    before = datetime.now(timezone.utc) - timedelta(minutes=1)
    database.execute_sql(f"ALTER DATABASE \"{migrated.dbname}\" SET timezone = 'Asia/Tokyo'")
    assert [("Asia/Tokyo",)] == rows(migrated, "SHOW timezone")
    other = connect(url_of(migrated), bind=False)
    with other.connection_context(), other.bind_ctx([Protocol]):
        Protocol.create(id="p", user_intent="sleep")
    other.close_all()
    made = Protocol.get_by_id("p").created_at
    assert before < made < before + timedelta(minutes=2)


def test_deleting_a_user_takes_everything_along(database: Database) -> None:
    """Sessions, messages and results; another user's stay."""
    for name in ("Ada", "Ben"):
        session = Session.create(user=User.create(name=name))
        Message.create(session=session, role="user", content="x")
        ChainAnalysisResult.create(session=session)
    User.delete().where(User.name == "Ada").execute()
    counts = [m.select().count() for m in (User, Session, Message, ChainAnalysisResult)]
    assert [1, 1, 1, 1] == counts


@pytest.mark.parametrize("audit", ["interaction", "assessment"])
def test_a_protocol_with_audit_rows_cannot_be_deleted(database: Database, audit: str) -> None:
    """The trail outlives the wish to tidy up."""
    protocol = Protocol.create(id="p", user_intent="sleep")
    if audit == "interaction":
        AgentInteraction.create(protocol=protocol, agent_role="drafter", iteration=1, content="x")
    else:
        SafetyLog.create(protocol=protocol, safety_level="safe")
    with pytest.raises(IntegrityError, match="foreign key"):
        protocol.delete_instance()
    assert 1 == Protocol.select().count()


@pytest.mark.parametrize(
    "make",
    [
        lambda s, p: Message.create(session=s, role="patient", content="x"),
        lambda s, p: SafetyLog.create(protocol=p, safety_level="fine"),
        lambda s, p: AgentInteraction.create(
            protocol=p, agent_role="judge", iteration=1, content="x"
        ),
    ],
)
def test_words_the_documents_do_not_know_are_refused(database: Database, make: Any) -> None:
    """Message roles, safety levels and agent roles are closed sets."""
    session = Session.create(user=User.create())
    with pytest.raises(IntegrityError, match="check constraint"):
        make(session, Protocol.create(id="p", user_intent="sleep"))


def test_a_session_has_one_result(database: Database) -> None:
    """Its key is the session's."""
    session = Session.create(user=User.create())
    ChainAnalysisResult.create(session=session)
    with pytest.raises(IntegrityError, match="duplicate key"):
        ChainAnalysisResult.create(session=session)


def test_an_audit_row_needs_its_protocol(database: Database) -> None:
    """The documents call it a foreign key."""
    with pytest.raises(IntegrityError, match="foreign key"):
        SafetyLog.create(protocol="nobody", safety_level="safe")


@pytest.mark.parametrize("model", [Checkpoint, CheckpointState])
@pytest.mark.parametrize(
    "write",
    [
        lambda m: m.create(thread_id="t", checkpoint_ns="", checkpoint_id="1"),
        lambda m: m.insert_many([{"thread_id": "t"}]),
        lambda m: m(thread_id="t").save(force_insert=True),
        lambda m: m.update(thread_id="u"),
        lambda m: m.delete(),
        lambda m: m.bulk_create([m(thread_id="t")]),
        lambda m: m.truncate_table(),
        lambda m: m.create_table(),
        lambda m: m.drop_table(),
    ],
)
def test_langgraphs_tables_are_read_only(database: Database, model: Any, write: Any) -> None:
    """A write goes through a saver."""
    with pytest.raises(ReadOnlyModel, match="belongs to LangGraph"):
        write(model)


@pytest.mark.usefixtures("vector")
def test_a_similarity_search_over_few_rows_is_exact(database: Database) -> None:
    """The IVFFlat index has one list, so going through it visits every row."""
    session = Session.create(user=User.create())
    for n in range(50):
        embedding = [1.0, n / 50] + [0.0] * 382
        Message.create(session=session, role="user", content=str(n), embedding=embedding)
    with database.atomic():
        database.execute_sql("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        query = (
            Message.select(Message.content)
            .order_by(Message.embedding.cosine_distance([1.0, 0.0] + [0.0] * 382))
            .limit(50)
        )
        sql, values = query.sql()
        plan = database.execute_sql(f"EXPLAIN {sql}", values).fetchall()
        assert any("idx_messages_embedding" in line for (line,) in plan)
        assert [str(n) for n in range(50)] == [m.content for m in query]
