"""The service: `uvicorn talks.app:app`, on the database of DATABASE_URL."""

from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from foundry.errors import ConnectionFailed, InvalidValue, MissingRow
from foundry.schema import User
from foundry.store import aio
from foundry.store.aio import conversations


class Person(BaseModel):
    """Who talks."""

    name: str


class Said(BaseModel):
    """What somebody says."""

    role: str
    content: str
    embedding: list[float] | None = None


class Heard(BaseModel):
    """What was said."""

    id: int
    ts: datetime
    role: str
    content: str


@asynccontextmanager
async def lifespan(app):
    """One pool for as long as the service runs."""
    app.state.db = await aio.connect(pool_size=20, pool_timeout=10)
    yield
    await app.state.db.close_pool()


app = FastAPI(lifespan=lifespan)


def answers(kind, status):
    """Answer an error of foundry with a status; its message holds nothing personal."""

    @app.exception_handler(kind)
    async def answer(request: Request, error: Exception):
        return JSONResponse({"detail": str(error)}, status)


answers(InvalidValue, 422)
answers(MissingRow, 404)
answers(ConnectionFailed, 503)


@app.post("/people")
async def arrive(person: Person, request: Request) -> UUID:
    """Somebody new; Peewee's models work, too."""
    user = await request.app.state.db.run(User.create, name=person.name)
    return user.id


@app.post("/people/{person}/talks")
async def start(person: UUID, request: Request) -> UUID:
    """A new conversation."""
    return await conversations.start(request.app.state.db, person, type="chain_analysis")


@app.post("/talks/{talk}")
async def say(talk: UUID, said: Said, request: Request) -> int:
    """One message more."""
    db = request.app.state.db
    return await conversations.append(db, talk, said.role, said.content, embedding=said.embedding)


@app.post("/talks/{talk}/turn")
async def turn(talk: UUID, question: Said, reply: Said, request: Request) -> list[int]:
    """A question and its answer, both or neither."""
    db = request.app.state.db
    async with db.atomic():
        return [
            await conversations.append(db, talk, said.role, said.content)
            for said in (question, reply)
        ]


@app.get("/talks/{talk}")
async def read(
    talk: UUID,
    request: Request,
    ts: datetime | None = None,
    id: int | None = None,
    limit: int = 50,
) -> list[Heard]:
    """A page of a conversation, after the message that `ts` and `id` name."""
    after = None if ts is None or id is None else (ts, id)
    found = await conversations.page(request.app.state.db, talk, after=after, limit=limit)
    return found.dicts()
