"""Which server the fixtures run on."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from testing import engine as fake

from foundry import embedded
from foundry.errors import ConnectionFailed, FoundryError, InvalidURL
from foundry.fixtures import server as place
from foundry.fixtures.container import IMAGE, Unavailable
from foundry.fixtures.server import Wish, beside, choose


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


def test_the_url_of_a_database_beside_another_keeps_all_but_the_name() -> None:
    """User, password, hosts and parameters are the server's."""
    url = "postgresql://a:b%40@h1:1,h2:2/live?sslmode=require&dbname=other&x=1"
    assert "postgresql://a:b%40@h1:1,h2:2/new?sslmode=require&x=1" == beside(url, "new")


def test_people_are_not_shown_the_password_of_a_url() -> None:
    """The line of a kept database is printed into logs."""
    server = place.Server(
        source="DATABASE_URL",
        described="",
        locate=lambda name: f"postgresql://a:s3cret@h/{name}?password=s3cret&sslmode=require",
    )
    assert "postgresql://a@h/x?sslmode=require" == server.shown("x")
    assert "s3cret" not in repr(server)


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


def test_an_engine_on_another_machine_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loopback address is not ours."""
    monkeypatch.setenv("DOCKER_HOST", "ssh://build@farm")
    with pytest.raises(Unavailable, match="another machine"):
        choose(Wish(server="docker"))
