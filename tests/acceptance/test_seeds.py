"""The acceptance tests of the first seed document, under the names it gives them."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from support.migrations import Command, rows, tables, url_of

from foundry.database import Database, Target
from foundry.schema import ChainAnalysisResult, Message, Session, User

CORE = {"users", "sessions", "messages", "chain_analysis_results"}


def vector(hot: int) -> list[float]:
    """A unit vector along one axis."""
    return [1.0 if n == hot else 0.0 for n in range(384)]


def test_DB_1_core_tables_are_created_by_migration(empty: Target, command: Command) -> None:
    """After `up` the tables exist with their keys; columns: see tests/schema."""
    command("up", "--database", url_of(empty), code=0)
    assert CORE <= tables(empty)
    keys = rows(
        empty,
        "SELECT conrelid::regclass::text FROM pg_constraint"
        " WHERE contype = 'p' AND conrelid::regclass::text = ANY(%s)",
        sorted(CORE),
    )
    assert CORE == {name for (name,) in keys}


def test_DB_2_checkpoints_coexist_without_foreign_key_conflicts(
    database: Database, migrated: Target
) -> None:
    """An agent's run writes its checkpoints under the id of a session."""
    pytest.importorskip("langgraph.graph")
    import psycopg
    from langgraph.checkpoint.postgres import PostgresSaver
    from langgraph.graph import END, START, StateGraph
    from psycopg.rows import dict_row

    session = Session.create(user=User.create(name="Ada"), type="chain_analysis")
    with psycopg.connect(url_of(migrated), autocommit=True, row_factory=dict_row) as connection:
        builder: Any = StateGraph(dict)
        builder.add_node("ask", lambda state: {"turn": state["turn"] + 1})
        builder.add_edge(START, "ask")
        builder.add_edge("ask", END)
        graph = builder.compile(checkpointer=PostgresSaver(connection))
        config = {"configurable": {"thread_id": str(session.id)}}
        assert {"turn": 1} == graph.invoke({"turn": 0}, config)
    assert [(str(session.id),)] == rows(migrated, "SELECT DISTINCT thread_id FROM checkpoints")
    references = rows(
        migrated,
        "SELECT conname FROM pg_constraint WHERE contype = 'f'"
        " AND (confrelid = 'checkpoints'::regclass OR conrelid = 'checkpoints'::regclass)",
    )
    assert [] == references


@pytest.mark.usefixtures("vector")
def test_DB_3_messages_store_embeddings(database: Database, migrated: Target) -> None:
    """The column is there and holds what was put in."""
    session = Session.create(user=User.create(name="Ada"))
    Message.create(session=session, role="user", content="hello", embedding=vector(3))
    assert [(False, 384)] == rows(
        migrated, "SELECT embedding IS NULL, vector_dims(embedding) FROM messages"
    )


def test_T_DB_1_all_tables_exist_after_migrating_an_ephemeral_server(migrated: Target) -> None:
    """Those of both documents."""
    second = {"checkpoint", "protocol_history", "agent_interactions", "safety_logs"}
    assert CORE | second <= tables(migrated)


def test_T_DB_2_a_conversation_reads_back_as_it_was_written(database: Database) -> None:
    """Users, sessions, messages in order and the result, value by value."""
    started = datetime(2026, 3, 1, 9, 30, tzinfo=timezone(timedelta(hours=2)))
    user = User.create(email="ada@example.org", name="Ada")
    session = Session.create(user=user, type="chain_analysis", started_at=started)
    said = [("user", "I skipped work. 😟"), ("assistant", "What came before?"), ("user", "شجار")]
    for position, (role, content) in enumerate(said):
        ts = started + timedelta(minutes=position)
        Message.create(session=session, role=role, content=content, ts=ts)
    links = [{"ts": started.isoformat(), "kind": "thought", "text": "…", "intensity": 70}]
    ChainAnalysisResult.create(
        session=session, vulnerabilities=["no sleep"], chain_links=links, solutions=[],
        problem_behavior="skipped work", prompting_event="a fight", consequences="", summary="s",
    )  # fmt: skip
    read = list(Message.select().where(Message.session == session).order_by(Message.ts))
    assert said == [(m.role, m.content) for m in read]
    assert [started + timedelta(minutes=n) for n in range(3)] == [m.ts for m in read]
    assert {timezone.utc} == {m.ts.tzinfo for m in read}
    result = ChainAnalysisResult.get_by_id(session.id)
    assert (links, ["no sleep"], []) == (
        result.chain_links,
        result.vulnerabilities,
        result.solutions,
    )
    assert ("ada@example.org", uuid.UUID(str(session.id))) == (
        result.session.user.email,
        result.session_id,
    )


@pytest.mark.usefixtures("vector")
def test_T_DB_3_an_upserted_embedding_is_found_by_similarity(database: Database) -> None:
    """The nearest message is the one whose embedding was set last."""
    session = Session.create(user=User.create(name="Ada"))
    ids = [Message.create(session=session, role="user", content=c).id for c in "abc"]
    for position, message in enumerate(ids):
        Message.update(embedding=vector(position)).where(Message.id == message).execute()
    Message.update(embedding=vector(9)).where(Message.id == ids[0]).execute()
    nearest = Message.select().order_by(Message.embedding.cosine_distance(vector(9))).limit(1)
    assert [ids[0]] == [m.id for m in nearest]


def test_the_json_of_a_result_is_json_to_the_server_too(database: Database) -> None:
    """Not a string that holds JSON."""
    session = Session.create(user=User.create(name="Ada"))
    ChainAnalysisResult.create(session=session, chain_links=[{"text": "a"}])
    (row,) = database.execute_sql(
        "SELECT chain_links->0->>'text', chain_links::text FROM chain_analysis_results"
    ).fetchall()
    assert ("a", [{"text": "a"}]) == (row[0], json.loads(row[1]))
