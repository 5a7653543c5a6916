"""The DBT chain-analysis assistant: users, sessions, messages and their results."""

from __future__ import annotations

from peewee import (
    SQL,
    BigAutoField,
    Check,
    ForeignKeyField,
    ModelSelect,
    Node,
    TextField,
    UUIDField,
)

from foundry import declare
from foundry.fields import JSONField, TimestampTZField, VectorField
from foundry.schema.base import Base

DIMENSIONS = 384
"""Length of a message embedding."""

ROLES = ("user", "assistant", "system", "tool")
"""What `messages.role` may be."""

SEARCHED = 200_000
"""Characters of a message that text search looks at: a tsvector of more may be beyond 1 MB."""


def text_of(configuration: str) -> str:
    """The content of a message for text search, as the index on it has it."""
    return f"to_tsvector('{configuration}'::regconfig, \"left\"(content, {SEARCHED}))"


_NOW: list[Node] = [SQL("DEFAULT now()")]


class User(Base):
    """A person who talks to the assistant."""

    id = UUIDField(primary_key=True, constraints=[SQL("DEFAULT gen_random_uuid()")])
    email = TextField(
        null=True,
        constraints=[SQL("UNIQUE")],
        help_text="address of the person; personal data",
    )
    name = TextField(null=True, help_text="what the person is called; personal data")
    created_at = TimestampTZField(null=True, constraints=_NOW)
    sessions: ModelSelect[Session]

    class Meta:
        table_name = "users"
        help_text = "people who talk to the assistant"


class Session(Base):
    """One conversation of a user."""

    id = UUIDField(
        primary_key=True,
        constraints=[SQL("DEFAULT gen_random_uuid()")],
        help_text="also the LangGraph thread_id of the conversation, as text",
    )
    user = ForeignKeyField(User, backref="sessions", on_delete="CASCADE", index=False)
    type = TextField(null=True, help_text="kind of conversation, for example chain_analysis")
    started_at = TimestampTZField(constraints=_NOW)
    ended_at = TimestampTZField(null=True)
    messages: ModelSelect[Message]
    result: ModelSelect[ChainAnalysisResult]

    class Meta:
        table_name = "sessions"
        help_text = "conversations of a user"


class Message(Base):
    """One message of a session."""

    id = BigAutoField()
    session = ForeignKeyField(Session, backref="messages", on_delete="CASCADE", index=False)
    role = TextField(
        constraints=[Check(f"role IN ({', '.join(map(repr, ROLES))})", name="messages_role_check")],
        help_text="who said it: " + ", ".join(ROLES),
    )
    content = TextField(help_text="what was said; personal data")
    ts = TimestampTZField(constraints=_NOW, help_text="when it was said")
    embedding = declare.optional(
        VectorField(DIMENSIONS, null=True, help_text="embedding of the content; personal data"),
        needs="extension:vector",
    )

    class Meta:
        table_name = "messages"
        help_text = "what was said in a session, in order of ts and id"


class ChainAnalysisResult(Base):
    """The chain analysis that a session produced; one a session.

    `chain_links` is an array of objects, each with a time of its own:
    `{"ts": "2026-01-05T08:10:00+00:00", "kind": "thought", "text": "…", "intensity": 70}`.
    """

    session = ForeignKeyField(Session, primary_key=True, backref="result", on_delete="CASCADE")
    vulnerabilities = JSONField(null=True, help_text="what made the person vulnerable, an array")
    chain_links = JSONField(null=True, help_text="links in order, each with its own ts")
    problem_behavior = TextField(null=True)
    prompting_event = TextField(null=True)
    consequences = TextField(null=True)
    solutions = JSONField(null=True, help_text="skills and repairs, an array")
    summary = TextField(null=True)
    created_at = TimestampTZField(null=True, constraints=_NOW)

    class Meta:
        table_name = "chain_analysis_results"
        help_text = "the chain analysis of a session; personal data"


Session.add_index(declare.Index(Session, Session.user, name="idx_sessions_user"))
Message.add_index(
    declare.Index(Message, Message.session, Message.ts, name="idx_messages_session_ts")
)
# IVFFlat trained on an empty table has worthless centroids; with one list the index
# scan visits every row, so it is exact until maintenance raises the number of lists.
Message.add_index(
    declare.optional(
        declare.Index(
            Message,
            declare.Opclass(Message.embedding, "vector_cosine_ops"),
            name="idx_messages_embedding",
            using="ivfflat",
            options={"lists": declare.tuned(1)},
        ),
        needs="extension:vector",
    )
)
TEXT_INDEX = declare.optional(
    declare.Index(Message, SQL(text_of("simple")), name="idx_messages_text", using="gin"),
    needs="option:text_index",
)
"""Words of messages; what it costs is in the documentation of the store."""

MODELS = (User, Session, Message, ChainAnalysisResult)
