"""A user's program, as a type checker sees it against the installed package."""

from __future__ import annotations

from typing_extensions import assert_type

import foundry
from foundry import migrate
from foundry.database import Target, resolve
from foundry.errors import Refused
from foundry.migrate import Outcome
from foundry.schema import SCHEMA, Message, Protocol, Session, User
from foundry.store import aio, conversations, protocols
from foundry.store.conversations import ChainAnalysis, MessageRow, Rows


def main() -> None:
    database = foundry.connect("postgresql://localhost/app", pool_size=5)
    assert_type(database, foundry.Database)
    assert_type(database.target, Target)
    assert_type(resolve().describe(), str)
    try:
        outcome = migrate.up(database.target)
    except Refused as refused:
        raise SystemExit(refused.exit_code) from refused
    assert_type(outcome, Outcome)
    assert_type([done.seconds for done in outcome.done], list[float])
    with database.connection_context():
        session = Session.create(user=User.create(name="Ada"))
        message = Message.create(session=session, role="user", content="hello")
        id = conversations.append(database, session.id, "user", "hello", embedding=[0.5] * 384)
        assert_type(id, int)
        assert_type(conversations.page(database, session.id, limit=5), Rows[MessageRow])
        assert_type(conversations.result(database, session.id), ChainAnalysis | None)
        assert_type(protocols.open(database, "sleep"), str)
        assert_type(protocols.timeline(database, "x")[-1], protocols.Event)
        conversations.append(database, session.id, "user")  # type: ignore[call-arg]
        conversations.append(database, session.id, 5, "hello")  # type: ignore[arg-type]
        print(message.content.upper(), SCHEMA.externals[0].tables[0].upper())
        for found in Message.select().where(Message.role == "user").order_by(Message.ts):
            assert_type(found, Message)
            assert_type(found.content, str)
            assert_type(found.session, Session)
        assert_type(Message.get_by_id(id).id, int)
        assert_type([said.content for said in session.messages.order_by(Message.ts)], list[str])
        assert_type([talk.type for talk in session.user.sessions], list[str | None])
        for protocol in Protocol.select():
            assert_type([entry.content for entry in protocol.interactions], list[str])
            assert_type([entry.id for entry in protocol.assessments], list[int])


async def serve() -> None:
    database = await aio.connect("postgresql://localhost/app", pool_size=5)
    async with database.atomic():
        id = await aio.conversations.append(database, "x", "user", "hello")
        assert_type(id, int)
        assert_type(await aio.conversations.page(database, "x"), Rows[MessageRow])
        assert_type(await aio.protocols.timeline(database, "x"), list[protocols.Event])
        await aio.conversations.append(database, "x", "user")  # type: ignore[call-arg]
        await aio.conversations.append(database, "x", 5, "hello")  # type: ignore[arg-type]
    async with aio.DB("postgresql://localhost/app") as db:
        assert_type(await db.execute("SELECT 1"), str)
