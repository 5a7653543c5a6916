"""The view over LangGraph's tables: what the saver loads, in SQL."""

from __future__ import annotations

import json
import operator
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated, Any, TypedDict

import pytest

psycopg = pytest.importorskip("psycopg")
pytest.importorskip("langgraph.checkpoint.postgres")
pytest.importorskip("langgraph.graph")
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage  # noqa: E402
from langgraph.checkpoint.postgres import PostgresSaver  # noqa: E402
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer  # noqa: E402
from langgraph.graph import START, StateGraph  # noqa: E402
from langgraph.graph.message import add_messages  # noqa: E402
from langgraph.types import Send  # noqa: E402
from psycopg.rows import dict_row  # noqa: E402
from pydantic import BaseModel  # noqa: E402

SERDE = JsonPlusSerializer(allowed_msgpack_modules=True)
COLUMNS = [
    ("thread_id", "text"),
    ("checkpoint_ns", "text"),
    ("checkpoint_id", "text"),
    ("parent_checkpoint_id", "text"),
    ("type", "text"),
    ("checkpoint", "jsonb"),
    ("metadata", "jsonb"),
]


@dataclass
class Link:
    """A link of a behaviour chain."""

    label: str
    at: datetime
    strength: float = 0.5


class Review(BaseModel):
    """A reviewer's verdict."""

    safe: bool
    concerns: list[str] = []


class State(TypedDict, total=False):
    """A state with every way of being stored: in the row, in a blob, not at all."""

    messages: Annotated[list[AnyMessage], add_messages]
    links: Annotated[list[Link], operator.add]
    review: Review
    turn: int
    ratio: float
    note: str | None
    mixed: Any
    never: dict[str, Any]


@dataclass
class Store:
    """A saver on tables of this run."""

    connection: Any
    saver: Any

    def rows(self, where: str = "true") -> list[dict[str, Any]]:
        """The view's rows, newest first."""
        found: list[dict[str, Any]] = self.connection.execute(
            f"select * from checkpoint where {where} order by checkpoint_id desc"
        ).fetchall()
        return found


@pytest.fixture(scope="module")
def store(url: str, schema: str, view_statements: list[str]) -> Iterator[Store]:
    """Tables made by the package's own setup, and the view."""
    connection = psycopg.connect(
        url,
        autocommit=True,
        prepare_threshold=0,
        row_factory=dict_row,
        options=f"-csearch_path={schema}",
    )
    saver = PostgresSaver(connection, serde=SERDE)
    saver.setup()
    for statement in view_statements:
        connection.execute(statement)
    yield Store(connection, saver)
    connection.close()


@pytest.fixture
def thread(store: Store) -> str:
    """A thread after three turns of a graph."""
    thread_id = str(uuid.uuid4())
    graph = compiled(store)
    for turn in range(3):
        graph.invoke(
            {"messages": [HumanMessage(f"turn {turn}: I couldn't sleep 😴")]},
            {"configurable": {"thread_id": thread_id}},
        )
    return thread_id


def compiled(store: Store) -> Any:
    """A graph that writes a value of each kind in two steps and two parallel tasks."""

    def listen(state: State) -> dict[str, Any]:
        turn = state.get("turn", 0) + 1
        return {
            "messages": [AIMessage("What happened before?", response_metadata={"n": turn})],
            "turn": turn,
            "ratio": turn / 3,
            "note": None if turn % 2 else "a note",
            "mixed": [{"k": (1, b"\x00")}, "text", 7][turn - 1],
        }

    def branch(state: State) -> list[Send]:
        return [Send("link", {"label": f"l{i}"}) for i in range(2)]

    def link(state: Any) -> dict[str, Any]:
        return {"links": [Link(state["label"], datetime(2026, 11, 22, tzinfo=timezone.utc))]}

    def review(_: State) -> dict[str, Any]:
        return {"review": Review(safe=True, concerns=["a\0"])}

    builder: Any = StateGraph(State)
    builder.add_node("listen", listen)
    builder.add_node("link", link)
    builder.add_node("review", review)
    builder.add_edge(START, "listen")
    builder.add_conditional_edges("listen", branch, ["link"])
    builder.add_edge("link", "review")
    return builder.compile(checkpointer=store.saver)


def loaded(store: Store, thread_id: str) -> list[Any]:
    """What the saver itself loads."""
    return list(store.saver.list({"configurable": {"thread_id": thread_id}}))


def assert_same_state(
    means: Callable[[bytes, Any], bool], loaded_values: dict[str, Any], row: dict[str, Any]
) -> None:
    """The row's state is the saver's, value by value."""
    shown = row["checkpoint"]["channel_values"]
    assert loaded_values.keys() == shown.keys()
    for channel, value in loaded_values.items():
        if value is None:
            assert shown[channel] is None
        else:
            assert means(SERDE.dumps_typed([value])[1], [shown[channel]]), channel


def test_the_view_has_the_columns_of_the_table_it_stands_for(store: Store) -> None:
    """Names, order and types."""
    found = store.connection.execute(
        "select attname, format_type(atttypid, null) as type from pg_attribute"
        " where attrelid = 'checkpoint'::regclass and attnum > 0 order by attnum"
    ).fetchall()
    assert COLUMNS == [(row["attname"], row["type"]) for row in found]


def test_every_row_is_what_the_saver_loads(
    store: Store, thread: str, means: Callable[[bytes, Any], bool]
) -> None:
    """All checkpoints of several turns: state, keys, parent and metadata."""
    rows = store.rows(f"thread_id = '{thread}'")
    tuples = loaded(store, thread)
    assert len(tuples) == len(rows) >= 9
    for one, row in zip(tuples, rows, strict=True):
        assert_same_state(means, one.checkpoint["channel_values"], row)
        assert one.config["configurable"]["checkpoint_id"] == row["checkpoint_id"]
        parent = one.parent_config and one.parent_config["configurable"]["checkpoint_id"]
        assert parent == row["parent_checkpoint_id"]
        assert one.metadata == row["metadata"]
        for key in ("v", "ts", "id", "channel_versions", "versions_seen", "updated_channels"):
            assert one.checkpoint.get(key) == row["checkpoint"].get(key)


def test_state_is_readable_in_sql(store: Store, thread: str) -> None:
    """What a person would ask of the latest state."""
    row = store.connection.execute(
        """
        select state -> 'messages' -> -1 ->> 'content' as said,
            state -> 'messages' -> 0 ->> '$type' as kind,
            (state ->> 'turn')::int as turn,
            jsonb_array_length(state -> 'links') as links,
            state -> 'links' -> 0 -> 'at' ->> 'value' as at,
            state -> 'review' -> 'concerns' as concerns
        from (
            select checkpoint -> 'channel_values' as state from checkpoint
            where thread_id = %s and checkpoint_ns = '' order by checkpoint_id desc limit 1
        ) as latest
        """,
        (thread,),
    ).fetchone()
    assert {
        "said": "What happened before?",
        "kind": "langchain_core.messages.human.HumanMessage",
        "turn": 3,
        "links": 6,
        "at": "2026-11-22T00:00:00+00:00",
        "concerns": [{"$text_base64": "YQA="}],
    } == row


def test_a_damaged_blob_spoils_only_its_channel(store: Store, thread: str) -> None:
    """The other channels of the row, and the other rows, stay readable."""
    store.connection.execute(
        "update checkpoint_blobs set blob = '\\x93c1' where thread_id = %s and channel = 'review'",
        (thread,),
    )
    latest, *others = store.rows(f"thread_id = '{thread}'")
    state = latest["checkpoint"]["channel_values"]
    assert "k8E=" == state["review"]["$undecodable"]
    assert 6 == len(state["messages"])
    assert len(others) >= 8


def test_an_encrypted_channel_is_opaque(store: Store, thread: str) -> None:
    """Its name and size are shown, and nothing fails."""
    store.connection.execute(
        "update checkpoint_blobs set type = 'msgpack+aes', blob = 'abc'"
        " where thread_id = %s and channel = 'links'",
        (thread,),
    )
    latest = store.rows(f"thread_id = '{thread}'")[0]
    assert {"$opaque": "msgpack+aes", "bytes": 3} == latest["checkpoint"]["channel_values"]["links"]


def test_rows_of_older_versions_are_read(store: Store, means: Callable[[bytes, Any], bool]) -> None:
    """Every value in a blob, no channel_values, tasks to send among the parent's writes."""
    thread_id = str(uuid.uuid4())
    put_old(store, thread_id, "1", {"messages": ["hello"], "note": "x", "gone": None})
    put_old(store, thread_id, "2", {"messages": ["hello", "again"], "note": "y"}, parent="1")
    for index, value in enumerate((Send("link", {"n": 1}), Send("link", {"n": 2}))):
        store.connection.execute(
            "insert into checkpoint_writes values (%s, '', '1', 't', %s, '__pregel_tasks', %s, %s)",
            (thread_id, index, *SERDE.dumps_typed(value)),
        )
    rows = store.rows(f"thread_id = '{thread_id}'")
    for one, row in zip(loaded(store, thread_id), rows, strict=True):
        assert_same_state(means, one.checkpoint["channel_values"], row)
    latest, first = (row["checkpoint"]["channel_values"] for row in rows)
    assert {"messages": ["hello"], "note": "x"} == first
    assert ["hello", "again"] == latest["messages"]
    assert 2 == len(latest["__pregel_tasks"])


def put_old(
    store: Store, thread_id: str, checkpoint_id: str, values: dict[str, Any], parent: str = ""
) -> None:
    """A checkpoint as langgraph-checkpoint-postgres 2.0.0 stored it; None stands for empty."""
    version = f"{int(checkpoint_id):032}.0"
    body = {
        "v": 1,
        "id": checkpoint_id,
        "ts": "2024-11-22T00:00:00+00:00",
        "channel_versions": dict.fromkeys(values, version),
        "versions_seen": {},
        "pending_sends": [],
    }
    store.connection.execute(
        "insert into checkpoints values (%s, '', %s, %s, null, %s, '{}')",
        (thread_id, checkpoint_id, parent or None, json.dumps(body)),
    )
    for channel, value in values.items():
        stored = ("empty", None) if value is None else SERDE.dumps_typed(value)
        store.connection.execute(
            "insert into checkpoint_blobs values (%s, '', %s, %s, %s, %s)",
            (thread_id, channel, version, *stored),
        )


@pytest.mark.parametrize(
    "body", ["{}", '{"v": 4, "channel_values": null, "channel_versions": null}', '{"v": "x"}', "[]"]
)
def test_a_strange_row_is_still_a_row(store: Store, body: str) -> None:
    """Whatever JSON stands in the row, reading the table does not fail."""
    thread_id = str(uuid.uuid4())
    store.connection.execute(
        "insert into checkpoints values (%s, '', '1', null, null, %s, '{}')", (thread_id, body)
    )
    assert 1 == len(store.rows(f"thread_id = '{thread_id}'"))


@pytest.mark.parametrize("analyzed", [False, True])
def test_one_thread_is_read_by_keys(store: Store, thread: str, analyzed: bool) -> None:
    """No table is scanned, and a blob is found by its whole primary key."""
    store.connection.execute(
        """
        insert into checkpoint_blobs
        select 't' || n % 500, '', 'c' || n % 20, n::text, 'msgpack', '\\xc0'
        from generate_series(1, 30000) as n on conflict do nothing
        """
    )
    store.connection.execute(
        """
        insert into checkpoints
        select 't' || n % 500, '', n::text, null, null, '{"v": 4}', '{}'
        from generate_series(1, 5000) as n on conflict do nothing
        """
    )
    store.connection.execute(
        """
        insert into checkpoint_writes
        select 't' || n % 500, '', n::text, 'k', 0, 'c', 'null', ''
        from generate_series(1, 5000) as n on conflict do nothing
        """
    )
    if analyzed:
        store.connection.execute("analyze checkpoints, checkpoint_blobs, checkpoint_writes")
    (row,) = store.connection.execute(
        "explain (format json) select * from checkpoint where thread_id = 't7'"
        " and checkpoint_ns = '' order by checkpoint_id desc limit 1"
    ).fetchall()
    nodes = list(plan_nodes(row["QUERY PLAN"][0]["Plan"]))
    assert [] == [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"]
    blobs = [n for n in nodes if n.get("Index Name") == "checkpoint_blobs_pkey"]
    assert all(key in blobs[0]["Index Cond"] for key in ("thread_id", "channel", "version"))


def plan_nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's nodes."""
    yield node
    for inner in node.get("Plans", ()):
        yield from plan_nodes(inner)


def test_the_view_survives_another_search_path(store: Store, thread: str, schema: str) -> None:
    """Names inside are bound when it is made."""
    with store.connection.transaction(force_rollback=True):
        store.connection.execute("set local search_path = ''")
        (row,) = store.connection.execute(
            f"select checkpoint from {schema}.checkpoint where thread_id = %s"
            " order by checkpoint_id desc limit 1",
            (thread,),
        ).fetchall()
    assert 3 == row["checkpoint"]["channel_values"]["turn"]


def test_the_view_gives_nobody_more_than_the_tables(store: Store, schema: str) -> None:
    """The reader's own rights on the tables count, not those of the view's owner."""
    role = f"reader_{uuid.uuid4().hex}"
    with store.connection.transaction(force_rollback=True):
        store.connection.execute(f"create role {role}")
        store.connection.execute(f"grant usage on schema {schema} to {role}")
        store.connection.execute(f"grant select on checkpoint to {role}")
        store.connection.execute(f"set local role {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            store.connection.execute("select * from checkpoint")
