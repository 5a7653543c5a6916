"""What `python -m foundry demo` shows: conversations in, similar messages and checkpoints out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from itertools import pairwise
from time import perf_counter
from typing import Any, TypedDict

from peewee import fn
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from foundry.database import connect
from foundry.embedder import HashingEmbedder
from foundry.migrate import up
from foundry.samples import SampleConversation, Samples, read, store
from foundry.schema import (
    AgentInteraction,
    ChainAnalysisResult,
    CheckpointState,
    Message,
    Protocol,
    SafetyLog,
    Session,
    User,
)
from foundry.schema.base import has_column

QUERY = "I kept opening the chat, checking for an answer"
"""What the demo looks for among the messages it stored."""

_SHOWN = "en_unanswered_message"
_WIDE = frozenset({"content", "summary", "what"})
"""Columns that take what the others leave; of these only "what" is folded, not cut."""

_NO_LANGGRAPH = (
    "No checkpoints: LangGraph's package is not installed "
    "(pip install 'cerina-foundry[langgraph]')."
)


class _Analysis(TypedDict, total=False):
    """The state of the demo's graph."""

    vulnerabilities: list[str]
    chain_links: list[dict[str, Any]]
    solutions: list[dict[str, Any]]
    summary: str


def run(url: str | None, console: Console) -> None:
    """Migrate, store the packaged conversations, search them and write checkpoints.

    A second run reuses the users by their address, replaces the sessions and threads
    of the first one and leaves its protocols, whose audit rows are never replaced.
    No other row is changed. `url` is what `connect()` takes.
    """
    began = perf_counter()
    database = connect(url)
    try:
        console.print(Text(f"Database: {database.target.describe()}"))
        _migrate(database.target, console)
        with database.connection_context():
            samples = read()
            conversations = samples.conversations
            _store(database, samples, console)
            console.print(_rows_table(samples))
            _search(database, conversations, console)
            console.print(_chain_table(conversations))
            _checkpoints(database.target.params, conversations, console)
    finally:
        database.close_all()
    console.print(f"Done in {perf_counter() - began:.1f} s. Run it again: it adds no rows.")


def _migrate(target: Any, console: Console) -> None:
    console.print("Bringing the schema up to date")
    up(target, report=lambda line: console.print(Text(f"  {line}")))


def _store(database: Any, samples: Samples, console: Console) -> None:
    embedder = HashingEmbedder()
    if has_column(database, Message.embedding):
        console.print(f"Storing, with embeddings: {embedder.name}")
    else:
        console.print("Storing without embeddings: this server has no pgvector.")
    store(database, samples, embed=embedder.embed)


def _rows_table(samples: Samples) -> Table:
    sessions = [c.session_id for c in samples.conversations]
    people = [c.user_email for c in samples.conversations]
    ids = [p.id for p in samples.protocols]
    table = _table("Rows", ("table", "demo", "all"), right=("demo", "all"))
    for model, mine in (
        (User, User.email.in_(people)),
        (Session, Session.id.in_(sessions)),
        (Message, Message.session.in_(sessions)),
        (ChainAnalysisResult, ChainAnalysisResult.session.in_(sessions)),
        (Protocol, Protocol.id.in_(ids)),
        (AgentInteraction, AgentInteraction.protocol.in_(ids)),
        (SafetyLog, SafetyLog.protocol.in_(ids)),
    ):
        query = model.select(fn.COUNT("*").filter(mine), fn.COUNT("*"))
        table.add_row(model._meta.table_name, *(str(n) for n in query.tuples().get()))
    return table


def _search(database: Any, conversations: Sequence[SampleConversation], console: Console) -> None:
    if not has_column(database, Message.embedding):
        return
    [vector] = HashingEmbedder().embed([QUERY])
    distance = Message.embedding.cosine_distance(vector)
    # The demo prints what it finds, so it looks at nobody's messages but its own.
    nearest = (
        Message.select(distance.alias("distance"), Message.role, Message.content)
        .where(Message.session.in_([c.session_id for c in conversations]))
        .order_by(distance)
        .limit(3)
    )
    columns = ("distance", "role", "content")
    table = _table(f'Nearest by shared words to "{QUERY}"', columns, right=("distance",))
    for away, role, content in nearest.tuples():
        table.add_row(f"{away:.3f}", role, _line(content))
    console.print(table)


def _chain_table(conversations: Sequence[SampleConversation]) -> Table:
    shown = next(c for c in conversations if c.name == _SHOWN)
    links = (
        ChainAnalysisResult.select(ChainAnalysisResult.chain_links)
        .where(ChainAnalysisResult.session == shown.session_id)
        .scalar()
    )
    day = datetime.fromisoformat(links[0]["ts"]).date()
    columns = ("time", "link", "what", "0-100")
    table = _table(f"A chain of {day} (UTC)", columns, right=("0-100",))
    for link in links:
        intensity = "" if link["intensity"] is None else str(link["intensity"])
        moment = datetime.fromisoformat(link["ts"]).astimezone(timezone.utc)
        table.add_row(f"{moment:%H:%M:%S}", link["kind"], _line(link["text"]), intensity)
    return table


def _checkpoints(
    params: Mapping[str, Any], conversations: Sequence[SampleConversation], console: Console
) -> None:
    try:
        import psycopg
        from langgraph.checkpoint.postgres import PostgresSaver
        from psycopg.rows import dict_row
    except ImportError:
        console.print(Text(_NO_LANGGRAPH))
        return
    with psycopg.connect(
        **params, autocommit=True, row_factory=dict_row, prepare_threshold=0
    ) as connection:
        saver = PostgresSaver(connection)
        write, how = _writer(saver)
        for conversation in conversations:
            saver.delete_thread(str(conversation.session_id))
            write(conversation)
        resumed = sum(saver.get_tuple(_thread(c)) is not None for c in conversations)
    console.print(f"Checkpoints written by {how}; the saver finds {resumed} threads again")
    console.print(_checkpoints_table(conversations))


def _writer(saver: Any) -> tuple[Callable[[SampleConversation], None], str]:
    """A graph where the package is installed, else the saver alone."""
    try:
        import langgraph.graph  # noqa: F401
    except ImportError:
        return lambda conversation: _put(saver, conversation), "PostgresSaver alone"
    return lambda conversation: _run_graph(saver, conversation), "a LangGraph graph"


def _run_graph(saver: Any, conversation: SampleConversation) -> None:
    """Three nodes that replay the stored analysis where an application asks its model."""
    from langgraph.graph import END, START, StateGraph

    result = conversation.result
    graph = StateGraph(_Analysis)
    steps = (("describe", "chain_links"), ("solve", "solutions"), ("summarise", "summary"))
    for name, key in steps:
        graph.add_node(name, _replay(key, result[key]))
    nodes = [START, *(name for name, _ in steps), END]
    for before, after in pairwise(nodes):
        graph.add_edge(before, after)
    graph.compile(checkpointer=saver).invoke(
        {"vulnerabilities": result["vulnerabilities"]},
        _thread(conversation),
    )


def _thread(conversation: SampleConversation) -> Any:
    return {"configurable": {"thread_id": str(conversation.session_id), "checkpoint_ns": ""}}


def _replay(key: str, value: Any) -> Any:
    return lambda state: {key: value}


def _put(saver: Any, conversation: SampleConversation) -> None:
    from langgraph.checkpoint.base import empty_checkpoint

    result = conversation.result
    config = _thread(conversation)
    values: dict[str, Any] = {}
    for step, key in enumerate(("vulnerabilities", "chain_links", "solutions", "summary")):
        values = {**values, key: result[key]}
        # A version is the step a channel was written in: only what is new is stored again.
        versions = {name: f"{at:032}" for at, name in enumerate(values)}
        checkpoint = {
            **empty_checkpoint(),
            "channel_values": values,
            "channel_versions": versions,
        }
        metadata = {"source": "update", "step": step, "parents": {}}
        config = saver.put(config, checkpoint, metadata, {key: versions[key]})


def _checkpoints_table(conversations: Sequence[SampleConversation]) -> Table:
    columns = ("thread", "checkpoints", "links", "summary")
    table = _table(
        "Checkpoints per thread, read with SQL from the view",
        columns,
        right=("checkpoints", "links"),
    )
    for conversation in conversations:
        rows = list(
            CheckpointState.select(CheckpointState.checkpoint)
            .where(CheckpointState.thread_id == str(conversation.session_id))
            .order_by(CheckpointState.checkpoint_id)
        )
        values = rows[-1].checkpoint["channel_values"]
        table.add_row(
            str(conversation.session_id)[:8],
            str(len(rows)),
            str(len(values["chain_links"])),
            _line(values["summary"]),
        )
    return table


def _table(title: str, columns: Sequence[str], *, right: Sequence[str] = ()) -> Table:
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE)
    for column in columns:
        wide = column in _WIDE
        table.expand |= wide
        table.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column != "what",
            overflow="ellipsis",
            ratio=1 if wide else None,
        )
    return table


def _line(content: str) -> Text:
    """One line of somebody's words, which are never markup."""
    return Text(" ".join(content.split()))
