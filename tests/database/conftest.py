"""A server of our own, with passwords and TLS: the embedded one has neither."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from foundry.database import proxy

BINARIES = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "s3cr3t-canäry%2F"
ENCODED = "s3cr3t-can%C3%A4ry%252F"
HOST = "db.example.test"

_HBA = """
local all all trust
host nohba all all reject
host all all all scram-sha-256
"""
_CONFIGURATION = """
listen_addresses = '127.0.0.1'
ssl = on
fsync = off
max_connections = 60
timezone = 'Asia/Tokyo'
"""
_SETUP = (
    "SET password_encryption = 'scram-sha-256'",
    f"CREATE ROLE app LOGIN CREATEDB PASSWORD '{PASSWORD}'",
    f"CREATE ROLE plain LOGIN PASSWORD '{PASSWORD}'",
    f"CREATE ROLE away PASSWORD '{PASSWORD}'",
    f"CREATE ROLE one LOGIN CONNECTION LIMIT 0 PASSWORD '{PASSWORD}'",
    "CREATE DATABASE app OWNER app",
    "CREATE DATABASE nohba",
    "CREATE DATABASE closed",
    "REVOKE CONNECT ON DATABASE closed FROM PUBLIC",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server: its folder, port, log and certificate authority."""

    folder: Path
    port: int

    @property
    def authority(self) -> Path:
        return self.folder / "ca.crt"

    def url(self, dbname: str = "app", *, user: str = "app", password: str = ENCODED) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{dbname}"

    def remote_url(self, query: str = "", *, host: str = HOST) -> str:
        """A URL whose host has a name that is not this machine's, reached over loopback."""
        return f"postgresql://app:{ENCODED}@{host}:{self.port}/app?hostaddr=127.0.0.1" + (
            f"&{query}" if query else ""
        )

    def admin(self, statement: str) -> list[tuple[Any, ...]]:
        conn = psycopg2.connect(host=str(self.folder), port=self.port, user="boss", dbname="app")
        try:
            conn.autocommit = True
            with conn.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            conn.close()


def _account() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _certificates(folder: Path) -> None:
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test ca")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", f"/CN={HOST}")
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.crt"]
    openssl("x509", "-req", "-in", "server.csr", *signed)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _prepare(folder: Path, port: int, account: dict[str, Any]) -> None:
    _certificates(folder)
    if account:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, "nobody", account["group"])
    data = folder / "data"
    subprocess.run(
        [BINARIES / "initdb", "-D", data, "-U", "boss", "-E", "UTF8", "-A", "trust", "-N"],
        check=True,
        capture_output=True,
        cwd=folder,
        **account,
    )
    (data / "pg_hba.conf").write_text(_HBA)
    with (data / "postgresql.conf").open("a") as file:
        file.write(_CONFIGURATION + f"port = {port}\nunix_socket_directories = '{folder}'\n")
        file.write(f"ssl_cert_file = '{folder}/server.crt'\nssl_key_file = '{folder}/server.key'\n")


def _wait(process: subprocess.Popen[bytes], folder: Path, port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg2.connect(host=str(folder), port=port, user="boss", dbname="postgres").close()
        except psycopg2.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _run_setup(folder: Path, port: int) -> None:
    conn = psycopg2.connect(host=str(folder), port=port, user="boss", dbname="postgres")
    try:
        conn.autocommit = True
        with conn.cursor() as cursor:
            for statement in _SETUP:
                cursor.execute(statement)
    finally:
        conn.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """PostgreSQL 15 with TLS, a certificate of its own authority, and passwords over TCP."""
    if not (BINARIES / "postgres").exists() or shutil.which("openssl") is None:
        pytest.skip("needs Debian's PostgreSQL 15 and openssl for TLS and passwords")
    folder = Path(tempfile.mkdtemp(prefix="connect-"))
    port, account = free_port(), _account()
    process = None
    try:
        _prepare(folder, port, account)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [BINARIES / "postgres", "-D", folder / "data"],
                stdout=log,
                stderr=log,
                cwd=folder,
                **account,
            )
        _wait(process, folder, port)
        _run_setup(folder, port)
        yield Server(folder=folder, port=port)
    finally:
        if process is not None:
            process.send_signal(2)
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No variable of libpq, no .env and no password file leaks in; the proxy stays unbound."""
    for name in [n for n in os.environ if n.startswith("PG") or n == "DATABASE_URL"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = proxy.obj
    yield
    proxy.obj = before
