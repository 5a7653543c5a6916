"""The packaged conversations and protocols of invented people: read them, store them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any
from uuid import UUID, uuid5

from foundry.database import Database
from foundry.errors import InvalidValue
from foundry.schema import (
    AgentInteraction,
    ChainAnalysisResult,
    Message,
    Protocol,
    SafetyLog,
    Session,
    User,
)
from foundry.schema.base import has_column

Embed = Callable[[Iterable[str]], Sequence[Sequence[float]]]
"""Takes texts, returns a vector for each."""

_IDS = UUID("3f0d7c1a-94c6-5d0e-8f7b-6c1f1d2f7a55")
"""Fixed, so that a second run finds the sessions of the first one and nobody else's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleMessage:
    """One message of a packaged conversation."""

    role: str
    content: str
    ts: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleConversation:
    """One packaged chain analysis; `session_id` is the same in every database.

    `result` has the columns of `chain_analysis_results`, the links in `chain_links`.
    """

    name: str
    language: str
    session_id: UUID
    session_type: str
    started_at: datetime
    ended_at: datetime
    user_name: str
    user_email: str
    messages: tuple[SampleMessage, ...]
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleProtocol:
    """One packaged protocol request; each mapping has the columns of its table."""

    name: str
    language: str
    id: str
    protocol: Mapping[str, Any]
    interactions: tuple[Mapping[str, Any], ...]
    assessments: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Packaged conversations and protocols, each in the order of their names."""

    conversations: tuple[SampleConversation, ...]
    protocols: tuple[SampleProtocol, ...]


def read(*, languages: Iterable[str] | None = None) -> Samples:
    """Read the packaged files, by default those of every language.

    A language nothing is written in is InvalidValue.
    """
    documents = _documents()
    if languages is not None:
        documents = _of_languages(documents, languages)
    return Samples(
        conversations=tuple(
            _conversation(name, document)
            for name, document in documents.items()
            if document["kind"] == "chain_analysis"
        ),
        protocols=tuple(
            _protocol(name, document)
            for name, document in documents.items()
            if document["kind"] == "protocol"
        ),
    )


def store(database: Database, samples: Samples, *, embed: Embed | None = None) -> None:
    """Store samples through the models, all or nothing; storing them again adds no rows.

    Users are reused by their address, sessions replaced, and protocols that are there
    left alone: their audit rows are never replaced. No other row is changed. Without
    pgvector, `embed` is not called.
    """
    embedded = embed if has_column(database, Message.embedding) else None
    with database.atomic():
        # Two that store at once would both find a sample missing.
        database.execute_sql("SELECT pg_catalog.pg_advisory_xact_lock(%s)", (_IDS.int >> 65,))
        for conversation in samples.conversations:
            _store_conversation(conversation, embedded)
        for protocol in samples.protocols:
            _store_protocol(protocol)


def _documents() -> dict[str, Any]:
    folder = resources.files("foundry") / "fixtures" / "conversations"
    files = sorted(
        (entry for entry in folder.iterdir() if entry.name.endswith(".json")),
        key=lambda entry: entry.name,
    )
    return {
        entry.name.removesuffix(".json"): json.loads(entry.read_text(encoding="utf-8"))
        for entry in files
    }


def _of_languages(documents: dict[str, Any], languages: Iterable[str]) -> dict[str, Any]:
    wanted = [languages] if isinstance(languages, str) else list(languages)
    known = {document["language"] for document in documents.values()}
    for language in wanted:
        if language not in known:
            raise InvalidValue(
                f'no sample is in language "{language}": there are {", ".join(sorted(known))}'
            )
    return {n: d for n, d in documents.items() if d["language"] in wanted}


def _conversation(name: str, document: Mapping[str, Any]) -> SampleConversation:
    session = document["session"]
    return SampleConversation(
        name=name,
        language=document["language"],
        session_id=uuid5(_IDS, name),
        session_type=session["type"],
        started_at=_time(session["started_at"]),
        ended_at=_time(session["ended_at"]),
        user_name=document["user"]["name"],
        user_email=document["user"]["email"],
        messages=tuple(
            SampleMessage(role=m["role"], content=m["content"], ts=_time(m["ts"]))
            for m in document["messages"]
        ),
        result=document["result"],
    )


def _protocol(name: str, document: Mapping[str, Any]) -> SampleProtocol:
    protocol = dict(document["protocol"])
    completed = protocol["completed_at"]
    protocol["created_at"] = _time(protocol["created_at"])
    protocol["completed_at"] = completed and _time(completed)
    return SampleProtocol(
        name=name,
        language=document["language"],
        id=protocol["id"],
        protocol=protocol,
        interactions=_timed(document["interactions"]),
        assessments=_timed(document["safety"]),
    )


def _timed(rows: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    return tuple({**row, "timestamp": _time(row["timestamp"])} for row in rows)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _store_conversation(conversation: SampleConversation, embed: Embed | None) -> None:
    session = conversation.session_id
    Session.delete().where(Session.id == session).execute()
    Session.insert(
        id=session,
        user=_user(conversation),
        type=conversation.session_type,
        started_at=conversation.started_at,
        ended_at=conversation.ended_at,
    ).execute()
    messages: list[dict[str, Any]] = [
        {"session": session, "role": m.role, "content": m.content, "ts": m.ts}
        for m in conversation.messages
    ]
    if embed is not None:
        vectors = embed(message.content for message in conversation.messages)
        for message, vector in zip(messages, vectors, strict=True):
            message["embedding"] = vector
    Message.insert_many(messages).execute()
    ChainAnalysisResult.insert(session=session, **conversation.result).execute()


def _user(conversation: SampleConversation) -> UUID:
    email = conversation.user_email
    new = User.insert(id=uuid5(_IDS, email), email=email, name=conversation.user_name)
    new.on_conflict(conflict_target=[User.email], action="IGNORE").execute()
    id: UUID = User.select(User.id).where(User.email == email).scalar()
    return id


def _store_protocol(sample: SampleProtocol) -> None:
    if Protocol.select(Protocol.id).where(Protocol.id == sample.id).exists():
        return
    Protocol.insert(**sample.protocol).execute()
    for model, rows in ((AgentInteraction, sample.interactions), (SafetyLog, sample.assessments)):
        model.insert_many({**row, "protocol": sample.id} for row in rows).execute()
