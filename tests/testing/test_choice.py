"""Which server the fixtures run on."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest
from testing import engine as fake

from foundry import embedded
from foundry.database import open_connection, resolve
from foundry.errors import ConnectionFailed, FoundryError, InvalidURL
from foundry.fixtures import container
from foundry.fixtures import server as place
from foundry.fixtures.container import IMAGE, Unavailable
from foundry.fixtures.database import Janitor, drop_kept
from foundry.fixtures.server import Server, Wish, choose
from foundry.url import Params, parse


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/nobody.sock")
    monkeypatch.setenv("FOUNDRY_DATA", str(folder / "embedded"))
    monkeypatch.setattr(place, "cache_folder", lambda: folder / "cache")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, as sockets need, that another account may enter."""
    made = Path(tempfile.mkdtemp(prefix="fd-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def no_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make sure that a fall through to the embedded server is seen."""
    monkeypatch.setenv("FOUNDRY_PGBIN", "/nonexistent")


def test_without_url_and_engine_the_embedded_server_is_used(folder: Path) -> None:
    """It is the last in the order, and its databases have no password."""
    server = choose(Wish())
    try:
        assert "embedded" == server.source
        assert "embedded PostgreSQL" in server.describe()
        with server.admin() as session, session.cursor() as cursor:
            cursor.execute("SHOW fsync")
            assert ("on",) == cursor.fetchone()  # FOUNDRY_DATA may hold more than tests
        session.close()
    finally:
        server.end(False)
        embedded.stop(folder / "embedded")


def test_the_plugins_own_cluster_does_not_wait_for_the_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where FOUNDRY_DATA names none, the cluster holds nothing but tests."""
    monkeypatch.delenv("FOUNDRY_DATA")
    server = choose(Wish(server="embedded"))
    try:
        session = server.admin()
        with session.cursor() as cursor:
            cursor.execute("SHOW fsync")
            assert ("off",) == cursor.fetchone()
        session.close()
    finally:
        server.end(False)
        embedded.stop(folder / "cache" / "tests")


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("postgresql://app:s3cret@127.0.0.1:1/app", ConnectionFailed),
        ("mysql://app:s3cret@127.0.0.1/app", InvalidURL),
        ("postgresql://app:s3cret@127.0.0.1:port/app", InvalidURL),
    ],
    ids=["refused", "scheme", "port"],
)
def test_a_bad_url_is_an_error_and_nothing_else_is_tried(
    url: str, kind: type[FoundryError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, without the password."""
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(kind) as caught:
        choose(Wish())
    assert "s3cret" not in str(caught.value)
    assert 1 == len(str(caught.value).splitlines())


def of_url(url: str) -> Server:
    """A server as DATABASE_URL makes it, without asking it anything."""
    base = parse(url, source="DATABASE_URL", environ={})
    return Server(source="DATABASE_URL", described="it", base=base)


@pytest.mark.parametrize(
    ("url", "beside"),
    [
        (
            "postgresql://a:b%40@h1:1,h2:2/live?sslmode=require&dbname=other",
            "postgresql://a:b%40@h1:1,h2:2/new?sslmode=require",
        ),
        (
            "postgresql://h/live?db%6eame=other&sslmode=disable",
            "postgresql://h/new?sslmode=disable",
        ),
        ("postgresql:///live?host=/run/pg", "postgresql:///new?host=/run/pg"),
        ("postgresql://a@[::1]:5/live", "postgresql://a@/new?host=%3A%3A1&port=5"),
        ("postgresql://?service=x&sslmode=require", "postgresql:///new?service=x&sslmode=require"),
        (
            "postgresql://a:%5Bx%E2%84%80@127.0.0.1/live",
            "postgresql://a:%5Bx%E2%84%80@127.0.0.1/new",
        ),
        ("postgresql://a:[\u2100@127.0.0.1/live", "postgresql://a:%5B%E2%84%80@127.0.0.1/new"),
    ],
)
def test_the_url_of_a_database_beside_another_keeps_all_but_the_name(url: str, beside: str) -> None:
    """User, password, hosts and parameters are the server's, however they were spelled."""
    assert beside == of_url(url).url("new")
    assert "new" == of_url(url).target("new").params["dbname"]


def test_people_are_not_shown_the_password_of_a_url() -> None:
    """The line of a kept database is printed into logs."""
    server = of_url("postgresql://a:s3cret@h/live?sslpassword=s3cret&sslmode=require")
    assert "postgresql://a@h/x?sslmode=require" == server.shown("x")
    assert "s3cret" not in repr(server)


def test_a_session_in_another_database_is_refused() -> None:
    """A pooler may lead there whatever name is asked for."""
    server = of_url("postgresql://a:s3cret@h/live")
    server.insist("new", "new")
    with pytest.raises(ConnectionFailed, match='leads to database "live" where "new"') as caught:
        server.insist("new", "live")
    assert "s3cret" not in str(caught.value)


def test_docker_comes_before_the_embedded_server(
    folder: Path, programs: fake.Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an engine has the image; the container is used over TCP and then removed."""
    with fake.running(folder, programs, images=(IMAGE,)) as (engine, host):
        monkeypatch.setenv("DOCKER_HOST", host)
        server = choose(Wish())
        assert "docker" == server.source
        session = server.admin()
        session.close()
        created = engine.created
        assert created is not None
        assert [{"HostIp": "127.0.0.1", "HostPort": ""}] == created["HostConfig"]["PortBindings"][
            "5432/tcp"
        ]
        server.end(False)
        assert engine.created is None


def test_a_container_is_shared_and_ended_by_its_last_user(
    folder: Path, programs: fake.Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers of one run use one server."""
    with fake.running(folder, programs, images=(IMAGE,)) as (engine, host):
        monkeypatch.setenv("DOCKER_HOST", host)
        first, second = choose(Wish()), choose(Wish())
        assert 1 == engine.asked.count("POST /containers/create")
        assert first.url("x") == second.url("x")
        first.end(False)
        assert engine.created is not None
        second.end(False)
        assert engine.created is None


def test_a_container_with_a_kept_database_stays(
    folder: Path, programs: fake.Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when a later run uses it and keeps nothing."""
    with fake.running(folder, programs, images=(IMAGE,)) as (engine, host):
        monkeypatch.setenv("DOCKER_HOST", host)
        choose(Wish()).end(True)
        choose(Wish()).end(False)
        assert engine.created is not None


def test_an_engine_without_the_image_is_not_made_to_pull_it(
    folder: Path, programs: fake.Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That may take minutes: it is allowed by an option, and the line names it."""
    no_embedded(monkeypatch)
    with fake.running(folder, programs) as (engine, host):
        monkeypatch.setenv("DOCKER_HOST", host)
        with pytest.raises(Unavailable, match="--foundry-pull"):
            choose(Wish(server="docker"))
        with pytest.raises(ConnectionFailed, match=r"--foundry-pull.*FOUNDRY_PGBIN"):
            choose(Wish())
        assert [] == [one for one in engine.asked if one.startswith("POST")]


def test_docker_that_is_asked_for_and_silent_is_an_error() -> None:
    """Only "auto" goes on to the next."""
    with pytest.raises(Unavailable, match="no docker engine answers"):
        choose(Wish(server="docker"))


def test_a_missing_sdk_is_named_with_all_else_that_is_missing(
    folder: Path, programs: fake.Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starting an engine would not have helped."""
    monkeypatch.setattr(container, "find_spec", lambda name: None)
    with pytest.raises(Unavailable, match=r"SDK is not installed.*no docker engine answers"):
        choose(Wish(server="docker"))
    with fake.running(folder, programs, images=(IMAGE,)) as (_, host):
        monkeypatch.setenv("DOCKER_HOST", host)
        with pytest.raises(Unavailable, match=r"cerina-foundry\[docker\]'$"):
            choose(Wish(server="docker"))


def test_a_container_without_kept_databases_is_an_ordinary_one(
    folder: Path, programs: fake.Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once they were dropped."""
    with fake.running(folder, programs, images=(IMAGE,)) as (engine, host):
        monkeypatch.setenv("DOCKER_HOST", host)
        server = choose(Wish())
        janitor = Janitor(server)
        name = janitor.create()
        janitor.keep(name)
        janitor.close()
        assert "(from docker" in server.target(name).describe()
        server.end(True)
        assert ([name], []) == drop_kept(choose(Wish()))
        assert engine.created is None


def test_an_engine_on_another_machine_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loopback address is not ours."""
    monkeypatch.setenv("DOCKER_HOST", "ssh://build@farm")
    with pytest.raises(Unavailable, match="another machine"):
        choose(Wish(server="docker"))


@pytest.mark.parametrize(
    "host",
    [
        "tcp://127.0.0.1.evil.invalid:2375",
        "tcp://localhost.evil.invalid:2375",
        "tcp://127.0.0.1@evil.invalid:2375",
        "tcp://[2001:db8::1]:2375",
    ],
)
def test_an_engine_that_only_looks_near_is_not_used(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are compared whole."""
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(Unavailable, match="another machine"):
        choose(Wish(server="docker"))


@pytest.mark.parametrize(
    "host",
    ["tcp://[::1]:1", "tcp://127.0.0.1:99999", "tcp://localhost:abc", "tcp://[", "unix://a\u2100b"],
)
def test_a_docker_host_that_leads_nowhere_is_no_server(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line; "auto" goes on to the embedded server."""
    no_embedded(monkeypatch)
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(Unavailable) as caught:
        choose(Wish(server="docker"))
    assert 1 == len(str(caught.value).splitlines())
    assert "another machine" not in str(caught.value) or host == "tcp://["
    with pytest.raises(ConnectionFailed, match="FOUNDRY_PGBIN"):
        choose(Wish())


def test_an_engine_that_never_finishes_its_answer_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The SDK's time-out begins anew with every byte."""
    monkeypatch.setattr(container, "_PING", 0.5)
    over = threading.Event()

    def drip(line: socket.socket) -> None:
        with closing(line), suppress(OSError):
            line.recv(1000)
            line.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not over.wait(0.1):
                line.sendall(b"a")

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(door.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=accept, daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{door.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(Unavailable, match="no docker engine answers"):
            choose(Wish(server="docker"))
        assert 10 > time.monotonic() - began
        over.set()
        door.shutdown(socket.SHUT_RDWR)


def test_who_fails_to_join_a_container_leaves_it_to_its_users(
    folder: Path, programs: fake.Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted, too late or refused: the others go on."""
    with fake.running(folder, programs, images=(IMAGE,)) as (engine, host):
        monkeypatch.setenv("DOCKER_HOST", host)
        first = choose(Wish())

        def interrupted(*arguments: object, **more: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(container.psycopg2, "connect", interrupted)
            with pytest.raises(KeyboardInterrupt):
                choose(Wish())
        assert engine.created is not None
        engine.status = "paused"
        with pytest.raises(Unavailable, match="is paused: docker unpause brave_fake"):
            choose(Wish(server="docker"))
        engine.status = ""
        first.admin().close()
        first.end(True)
        engine.status = "paused"
        with pytest.raises(Unavailable, match="is paused"):
            choose(Wish(server="docker"))
        assert engine.created is not None


def test_a_server_whose_connections_are_all_taken_answers(
    folder: Path, programs: fake.Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is busy with its users, and they are not cut off."""
    with fake.running(folder, programs, images=(IMAGE,)) as (_, host):
        monkeypatch.setenv("DOCKER_HOST", host)
        first = choose(Wish())
        sessions = []
        with suppress(psycopg2.OperationalError):
            while True:
                sessions.append(psycopg2.connect(first.url("postgres")))
        monkeypatch.setattr(container, "_READY", 2.0)
        second = choose(Wish())
        assert first.url("x") == second.url("x")
        sessions[0].cursor().execute("SELECT 1")
        for session in sessions:
            session.close()
        second.end(False)
        first.end(False)


def test_an_engine_that_is_gone_at_the_end_is_told(
    folder: Path, programs: fake.Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that ends the container."""
    with fake.running(folder, programs, images=(IMAGE,)) as (engine, host):
        monkeypatch.setenv("DOCKER_HOST", host)
        server = choose(Wish())
        (folder / "engine.sock").rename(folder / "gone.sock")
        server_says = server.end(False)
        assert "docker rm -f brave_fake" in server_says
        assert 1 == len(server_says.splitlines())
        assert engine.created is not None


def test_a_container_that_does_not_start_is_removed(
    folder: Path, programs: fake.Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that starts and never answers."""
    with fake.running(folder, programs, images=(IMAGE,)) as (engine, host):
        monkeypatch.setenv("DOCKER_HOST", host)
        engine.refuses_start = True
        with pytest.raises(Unavailable, match="no room for a tmpfs"):
            choose(Wish(server="docker"))
        assert engine.created is None
        engine.refuses_start, engine.status = False, "exited"
        with pytest.raises(Unavailable, match='container "brave_fake" ended'):
            choose(Wish(server="docker"))
        assert engine.created is None


def test_containers_of_dead_runs_are_removed_and_no_others(
    folder: Path, programs: fake.Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of another account are not ours, nor those that something was kept in."""
    locks = folder / "cache"
    with fake.running(folder, programs, images=(IMAGE,)) as (engine, host):
        monkeypatch.setenv("DOCKER_HOST", host)
        engine.created = {"Env": [], "Labels": {container.LABEL: str(folder / "x" / "a.lock")}}
        locks.mkdir()
        client = container._engine()
        container._sweep(client, locks)
        assert engine.created is not None
        engine.label = str(locks / "a.lock")
        (locks / "a.kept").touch()
        container._sweep(client, locks)
        assert engine.created is not None
        (locks / "a.kept").unlink()
        container._sweep(client, locks)
        assert engine.created is None
        client.close()


def test_a_container_is_kept_no_longer_than_it_lives(
    folder: Path, programs: fake.Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it was removed by hand, the next one is an ordinary one."""
    with fake.running(folder, programs, images=(IMAGE,)) as (engine, host):
        monkeypatch.setenv("DOCKER_HOST", host)
        choose(Wish()).end(True)
        engine.end()
        choose(Wish()).end(False)
        assert engine.created is None


def test_a_long_download_does_not_send_others_to_another_server(
    folder: Path, programs: fake.Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers of a run wait for the one that pulls."""
    no_embedded(monkeypatch)
    with fake.running(folder, programs) as (engine, host):
        monkeypatch.setenv("DOCKER_HOST", host)
        monkeypatch.setattr(container, "_READY", 0.0)
        monkeypatch.setattr(container, "_CALL", 30)
        with ThreadPoolExecutor(2) as workers:
            first = workers.submit(choose, Wish(pull=True))
            assert engine.pulling.wait(30)
            second = workers.submit(choose, Wish(pull=True))
            with pytest.raises(TimeoutError):
                second.result(0.5)
            monkeypatch.setattr(container, "_READY", 30.0)
            engine.pulled.set()
            servers = [first.result(60), second.result(60)]
        assert ["docker", "docker"] == [server.source for server in servers]
        for server in servers:
            server.end(False)


@pytest.fixture
def stranger_server(
    folder: Path, programs: fake.Programs, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    """A PostgreSQL of somebody else, whom the user's PG* variables lead to."""
    home = folder / "theirs"
    home.mkdir(mode=0o755)
    with fake.running(home, programs, images=(IMAGE,)) as (engine, host):
        with monkeypatch.context() as patch:
            patch.setenv("DOCKER_HOST", host)
            found = choose(Wish(server="docker"))
        monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
        monkeypatch.setenv("PGPORT", str(engine.port))
        monkeypatch.setenv("PGPASSWORD", found.base.params["password"])
        monkeypatch.setenv("PGTARGETSESSIONATTRS", "standby")
        monkeypatch.setenv("PGREQUIREAUTH", "gss")
        monkeypatch.setenv("PGOPTIONS", "-c search_path=nowhere")
        yield replace(found, guard=Params(container.guard()))
        found.end(False)


def altered(server: Server) -> bool:
    """Whether anybody has sent ALTER SYSTEM to a server."""
    with closing(server.admin()) as session, session.cursor() as cursor:
        cursor.execute(
            "SELECT FROM pg_file_settings WHERE name = 'fsync' AND sourcefile LIKE '%auto.conf'"
        )
        return cursor.rowcount > 0


def test_variables_that_lead_elsewhere_do_not_lead_the_fixtures(
    folder: Path, stranger_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded server is asked, and no other one is told to forget about the disk."""
    monkeypatch.delenv("FOUNDRY_DATA")
    data = folder / "cache" / "tests"
    ours = choose(Wish(server="embedded"))
    try:
        with closing(ours.admin()) as session, session.cursor() as cursor:
            cursor.execute("SELECT current_setting('data_directory')")
            assert str(data) in str(cursor.fetchone())
        with closing(psycopg2.connect(ours.url("postgres"))) as session:
            cursor = session.cursor()
            cursor.execute("SELECT current_setting('data_directory')")
            assert str(data) in str(cursor.fetchone())
        with closing(open_connection(resolve(ours.url("postgres")))) as session:
            cursor = session.cursor()
            cursor.execute("SELECT current_setting('data_directory')")
            assert str(data) in str(cursor.fetchone())
        assert (True, False) == (altered(ours), altered(stranger_server))
        with pytest.raises(ConnectionFailed, match="has its data in"):
            place._speed_up(stranger_server, data / "pg0")
        assert not altered(stranger_server)
    finally:
        ours.end(False)
        embedded.stop(data)


def test_a_url_may_lead_to_a_server_without_the_usual_database(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the one it names is where databases are made from, and a server too old is refused."""
    running = embedded.acquire(folder / "embedded")
    session = psycopg2.connect(running.url("foundry"))
    session.autocommit = True
    session.cursor().execute("ALTER DATABASE postgres RENAME TO unusual")
    session.close()
    try:
        monkeypatch.setenv("DATABASE_URL", running.url("foundry"))
        server = choose(Wish())
        assert "foundry" == server.maintenance
        janitor = Janitor(server)
        assert janitor.create() in janitor.found()
        janitor.close()
        monkeypatch.setattr(place, "_OLDEST", 990000)
        with pytest.raises(ConnectionFailed, match="is older than PostgreSQL 15"):
            choose(Wish())
    finally:
        embedded.release(folder / "embedded")
        embedded.stop(folder / "embedded")


def test_a_stopped_cluster_leaves_no_socket_folder(open_folder: Path) -> None:
    """Whether it was running or killed: they would pile up in /tmp."""
    folder = open_folder / "thrown away"
    server = embedded.acquire(folder)
    assert server.socket.is_dir()
    os.kill(int(server.lock("supervisor").read_text()), signal.SIGKILL)
    os.kill(int((server.cluster / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    embedded.release(folder)
    embedded.stop(folder)
    assert not server.socket.exists()
    assert not embedded.stop(folder)
