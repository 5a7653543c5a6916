"""The service, on a database that was made as its operators make it."""

import asyncio
import os
import subprocess
import sys
from contextlib import asynccontextmanager, closing
from uuid import UUID, uuid4

import httpx
import pytest
from talks.app import app


@pytest.fixture(scope="module")
def url(foundry_server, tmp_path_factory):
    """The URL of a database with foundry's tables."""
    dbname = f"notes_{uuid4().hex[:12]}"
    url = foundry_server.url(dbname)
    subprocess.run(
        [sys.executable, "-m", "foundry.migrate", "up", "--create-database", "--database", url],
        cwd=tmp_path_factory.mktemp("service"),
        env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        check=True,
    )
    yield url
    with closing(foundry_server.admin()) as session, session.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {dbname} WITH (FORCE)")


@pytest.fixture(autouse=True)
def settings(url, monkeypatch):
    """What the service reads."""
    monkeypatch.setenv("DATABASE_URL", url)


@asynccontextmanager
async def service():
    """A client of the running service; at its end no connection is in use."""
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app):
        async with httpx.AsyncClient(transport=transport, base_url="http://talks") as client:
            yield client
        pool = app.state.db.pool
    assert 0 == pool.taken


async def posted(client, path, body=None, *, expected=200):
    """What the service answers."""
    answer = await client.post(path, json=body)
    assert expected == answer.status_code, answer.text
    return answer.json()


async def begun(client):
    """The path of a new conversation."""
    person = await posted(client, "/people", {"name": "Ada"})
    return f"/talks/{UUID(await posted(client, f'/people/{person}/talks'))}"


def test_what_was_said_is_read_page_by_page():
    """In its order, with the times as they were stored."""

    async def use():
        async with service() as client:
            talk = await begun(client)
            for number in range(5):
                await posted(client, talk, {"role": "user", "content": f"{number}"})
            first = (await client.get(talk, params={"limit": 3})).json()
            place = {"ts": first[-1]["ts"], "id": first[-1]["id"]}
            second = (await client.get(talk, params=place)).json()
            assert list("01234") == [one["content"] for one in first + second]

    asyncio.run(use())


def test_a_turn_is_stored_as_a_whole_or_not_at_all():
    """The second message is refused, and the first one is not there."""

    async def use():
        async with service() as client:
            talk = await begun(client)
            turn = {
                "question": {"role": "user", "content": "why?"},
                "reply": {"role": "robot", "content": "beep"},
            }
            refused = await posted(client, f"{talk}/turn", turn, expected=422)
            assert refused["detail"].startswith("message.role: not one of user")
            assert [] == (await client.get(talk)).json()
            turn["reply"]["role"] = "assistant"
            assert 2 == len(await posted(client, f"{talk}/turn", turn))

    asyncio.run(use())


def test_what_is_wrong_is_said_without_what_was_said():
    """A talk that is not there, a text and a vector that cannot be stored."""

    async def use():
        async with service() as client:
            said = {"role": "user", "content": "x"}
            await posted(client, f"/talks/{UUID(int=0)}", said, expected=404)
            talk = await begun(client)
            refused = await posted(client, talk, {**said, "content": "secret\0"}, expected=422)
            assert {"detail": "message.content: U+0000 at 6"} == refused
            refused = await posted(client, talk, {**said, "embedding": [0.5] * 3}, expected=422)
            assert {"detail": "message.embedding: 3 numbers, not 384"} == refused

    asyncio.run(use())


def test_200_people_talk_at_once():
    """On twenty connections."""

    async def one(client, number):
        talk = await begun(client)
        for turn in range(3):
            await posted(client, talk, {"role": "user", "content": f"{number}/{turn}"})
        heard = (await client.get(talk)).json()
        return [said["content"] for said in heard] == [f"{number}/{turn}" for turn in range(3)]

    async def use():
        async with service() as client:
            done = await asyncio.gather(*(one(client, number) for number in range(200)))
            assert [True] * 200 == done
            assert 20 >= app.state.db.pool.idle

    asyncio.run(use())
