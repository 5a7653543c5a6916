"""PgBouncer in front of the server of the tests, and clients that keep it busy."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg2

from foundry.database import Target

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
PASSWORD = "n0t-t0ld"


@contextmanager
def bouncing(folder: Path, behind: Target, mode: str, size: int, *settings: str) -> Iterator[str]:
    """Yield the URL of a PgBouncer with one pool; `settings` are lines of its file."""
    assert PROGRAM is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    users, ini = folder / f"users-{port}.txt", folder / f"bouncer-{port}.ini"
    user = behind.user
    users.write_text(f'"{user}" "{PASSWORD}"\n')
    words = {k: v for k, v in behind.params.items() if k in ("host", "port", "password")}
    place = " ".join(f"{k}='{v}'" for k, v in {**words, "dbname": behind.dbname}.items())
    lines = (
        f"[databases]\npool = {place}\n[pgbouncer]\nlisten_addr = 127.0.0.1",
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {users}",
        f"pool_mode = {mode}\ndefault_pool_size = {size}\nmax_client_conn = 100\n",
    )
    ini.write_text("\n".join((*lines, *settings)) + "\n")
    command = [PROGRAM, "-q", str(ini)]
    if os.geteuid() == 0:
        # The account of the server, whose socket may be closed to others.
        socket_of = str(words.get("host", ""))
        owner = os.stat(socket_of).st_uid if socket_of.startswith("/") else 0
        command[1:1] = ["-u", pwd.getpwuid(owner).pw_name if owner else "nobody"]
    with (folder / f"bouncer-{port}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait(process, port)
        yield f"postgresql://{user}:{PASSWORD}@127.0.0.1:{port}/pool"
    finally:
        process.kill()
        process.wait(20)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Crowd:
    """Clients that come, ask a few things, every other one in a transaction, and go."""

    def __init__(self, url: str, count: int, *, transactions: bool = True) -> None:
        self._url = url
        self._transactions = transactions
        self._over = threading.Event()
        self.asked = 0
        self._threads = [threading.Thread(target=self._live, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _live(self) -> None:
        while not self._over.is_set():
            # Ours are ended with the pooler, in whatever they do.
            with suppress(psycopg2.Error):
                conn = psycopg2.connect(self._url, connect_timeout=5)
                conn.autocommit = True
                cursor = conn.cursor()
                for number in range(20):
                    statement = "SELECT pg_sleep(0.001 * random())"
                    if number % 2 and self._transactions:
                        statement = f"BEGIN; {statement}; SELECT 1; COMMIT"
                    cursor.execute(statement)
                    self.asked += 1
                conn.close()

    def end(self) -> None:
        """Let them go; those who wait for a server go when the pooler does."""
        self._over.set()

    def join(self) -> None:
        """Wait for the last one, after the pooler is gone."""
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()
