"""The PostgreSQL server that comes with foundry: started by its first user, ended by its last.

Who is a user is the kernel's book-keeping, not ours. Beside each cluster four files are locked:
`start` by whoever starts or stops, one at a time; `users` shared by every process that uses the
server and wanted exclusively by the supervisor, which gets it when the last of them is gone,
killed or not; `supervisor` by the supervisor; `server` by every process of PostgreSQL.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection

from foundry import supervisor
from foundry.binaries import Account, find_binaries
from foundry.cluster import (
    DATABASE,
    Server,
    clear_leftovers,
    has_socket_folder,
    in_one_line,
    initialise,
    make_folder,
    make_socket_folder,
    no_space,
    number_in,
    prepare,
    shield,
    socket_folder,
)
from foundry.errors import EmbeddedError
from foundry.supervisor import is_postmaster, remove_socket_folder, take_lock

if sys.platform != "win32":
    import fcntl

__all__ = ["Server", "acquire", "data_folder", "find_binaries", "pg_tool", "release", "serve"]
__all__ += ["stop"]

_START_TIMEOUT = 120.0  # crash recovery replays up to max_wal_size, 1 GB by default
_STOP_TIMEOUT = 60.0
_STUCK_AFTER = 2.0
_LOG_LIMIT = 4_000_000
_NOT_YET = ("starting up", "shutting down", "not yet accepting", "in recovery mode")
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "cluster_name": "foundry",
    "TimeZone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "logging_collector": "off",
    "log_destination": "stderr",
    "shared_buffers": "128MB",
    "max_connections": "200",
    # What people wrote to an agent does not belong in a log file: statements carry it, and so
    # does the detail line of a violated constraint.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


_mutex = threading.RLock()
_held: dict[tuple[Path, Path], tuple[Server, int]] = {}


def _forget_mutex() -> None:
    global _mutex
    _mutex = threading.RLock()


if hasattr(os, "register_at_fork"):
    # Another thread may have held it at the fork; in the child nobody would ever release it.
    os.register_at_fork(after_in_child=_forget_mutex)


def data_folder() -> Path:
    """`FOUNDRY_DATA`, else the platform's folder for a user's data; for root /var/lib/foundry."""
    _refuse_windows()
    named = os.environ.get("FOUNDRY_DATA")
    if named:
        return Path(os.path.abspath(os.path.expanduser(named)))
    if os.geteuid() == 0:
        return Path("/var/lib/foundry")
    home = os.path.expanduser("~")
    if sys.platform == "darwin":
        return Path(home, "Library", "Application Support", "foundry")
    given = os.environ.get("XDG_DATA_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path(home, ".local", "share")
    return base / "foundry"


def pg_tool(name: str) -> Path:
    """A program of the same PostgreSQL, "pg_dump" for one."""
    program = find_binaries() / name
    if not os.access(program, os.X_OK):
        raise EmbeddedError(f'"{program.parent}" holds no program "{name}" that can be run')
    return program


def acquire(data: Path | None = None) -> Server:
    """Start the server or join the one that runs; this process uses it until it ends.

    Forked children are users too. Calling again returns the same server, started anew if it
    was killed meanwhile.
    """
    _refuse_windows()
    folder = _resolved(data)
    source = find_binaries()
    with _mutex, in_one_line(folder):
        server, users = _held.get((folder, source), (None, None))
        if server and _probe(server, DATABASE) == "up":
            return server
        make_folder(folder)
        server, account = prepare(folder, source)
        make_folder(server.lock("start").parent, mode=0o700)
        with _exclusive(server.lock("start"), _START_TIMEOUT + _STOP_TIMEOUT) as start:
            # A supervisor that is ending its server has this lock until it is done.
            mine = users or _claim(server.lock("users"), fcntl.LOCK_SH, _STOP_TIMEOUT)
            try:
                _ensure_running(server, account, start)
                _ensure_database(server)
            except BaseException:
                if mine != users:
                    os.close(mine)
                raise
        _held[folder, source] = server, mine
        return server


def release(data: Path | None = None) -> None:
    """This process no longer uses the server; happens by itself when the process ends."""
    folder = _resolved(data)
    with _mutex:
        for key in [key for key in _held if key[0] == folder]:
            os.close(_held.pop(key)[1])


def stop(data: Path | None = None) -> bool:
    """End a running server whoever uses it; False when none runs."""
    _refuse_windows()
    folder = _resolved(data)
    with _mutex, in_one_line(folder):
        ended = [_stop(locks) for locks in sorted(folder.glob("pg*.locks"))]
        release(folder)
    return any(ended)


def serve(
    data: Path | None = None, *, announce: Callable[[Server], None]
) -> Literal["interrupted", "stopped"]:
    """Use the server and block: until SIGINT or SIGTERM, or until somebody's `stop()`."""
    server = acquire(data)
    received: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, lambda got, _: received.append(got)) for number in signals]
    try:
        announce(server)
        keeper = server.lock("supervisor")
        while not received and not _free(keeper):
            time.sleep(0.1)
        if not received and keeper.stat().st_size:
            raise EmbeddedError(f"the server ended by itself: {_last_words(server.log)}")
        return "interrupted" if received else "stopped"
    finally:
        release(data)
        for number, action in zip(signals, previous, strict=True):
            signal.signal(number, action)


def _refuse_windows() -> None:
    if sys.platform == "win32":
        raise EmbeddedError("the embedded server does not run on Windows: set DATABASE_URL")


def _resolved(data: Path | None) -> Path:
    return Path(os.path.realpath(data if data is not None else data_folder()))


def _claim(path: Path, mode: int, seconds: float) -> int:
    deadline = time.monotonic() + seconds
    while (lock := take_lock(path, mode)) is None:
        if time.monotonic() > deadline:
            raise EmbeddedError(f'another process has held "{path}" for {seconds:.0f} seconds')
        time.sleep(0.02)
    return lock


@contextmanager
def _exclusive(path: Path, seconds: float) -> Iterator[int]:
    lock = _claim(path, fcntl.LOCK_EX, seconds)
    try:
        yield lock
    finally:
        os.close(lock)


def _free(path: Path) -> bool:
    lock = take_lock(path, fcntl.LOCK_SH)
    if lock is not None:
        os.close(lock)
    return lock is not None


def _probe(server: Server, dbname: str) -> Literal["up", "missing", "down"]:
    """Ask the server itself: a process, its file or its socket may be there without one."""
    if not has_socket_folder(server.socket):
        return "down"
    try:
        _connect(server, dbname).close()
    except psycopg2.OperationalError as error:
        said = str(error)
        if "FATAL:" not in said or any(text in said for text in _NOT_YET):
            return "down"
        return "missing" if f'database "{dbname}" does not exist' in said else "up"
    return "up"


def _connect(server: Server, dbname: str) -> connection:
    params: dict[str, Any] = {
        "host": str(server.socket),
        "port": server.port,
        "user": "postgres",
        "dbname": dbname,
        "connect_timeout": 2,
        "client_encoding": "UTF8",
        **shield(),
    }
    session: connection = psycopg2.connect(**params)
    return session


def _ensure_running(server: Server, account: Account | None, start: int) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    idle_since: float | None = None
    written: int | None = None
    while time.monotonic() < deadline:
        keeper = take_lock(server.lock("supervisor"), fcntl.LOCK_EX)
        if keeper is not None:
            try:
                if written is not None:
                    raise _not_started(server, _last_words(server.log, written))
                written = _start(server, account, start, keeper)
            finally:
                os.close(keeper)
        elif _probe(server, "postgres") == "up":
            return
        elif not has_socket_folder(server.socket) and not _free(server.lock("server")):
            idle_since = idle_since or time.monotonic()
            if time.monotonic() - idle_since > _STUCK_AFTER:
                raise EmbeddedError(
                    f'the socket folder "{server.socket}" of the running server was removed: '
                    f"run python -m foundry stop"
                )
        elif _free(server.lock("server")) and not _free(server.lock("supervisor")):
            # No process of PostgreSQL is left, at most a zombie its stopped parent never reaped.
            idle_since = idle_since or time.monotonic()
            if time.monotonic() - idle_since > _STUCK_AFTER:
                _signal_supervisor(server.lock("supervisor"), signal.SIGKILL)
        time.sleep(0.02)
    raise EmbeddedError(
        f'the server of "{server.data}" does not answer after {_START_TIMEOUT:.0f} seconds: '
        f'{_last_words(server.log)}; see "{server.log}"'
    )


def _not_started(server: Server, words: str) -> EmbeddedError:
    if os.strerror(errno.ENOSPC) in words:
        return no_space(server.data)
    return EmbeddedError(f"the server did not start: {words}")


def _ensure_database(server: Server) -> None:
    if _probe(server, DATABASE) != "missing":
        return
    statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE))
    try:
        with closing(_connect(server, "postgres")) as session:
            session.autocommit = True
            with session.cursor() as cursor:
                cursor.execute(statement)
    except psycopg2.Error as error:
        reason = " ".join(str(error).split())
        raise EmbeddedError(f'cannot create database "{DATABASE}": {reason}') from error


def _start(server: Server, account: Account | None, start: int, keeper: int) -> int:
    """Hand a new supervisor its locks; returns where its part of the log begins."""
    if not _free(server.lock("server")):
        _end_orphan(server.cluster)
    with _exclusive(server.lock("server"), _STOP_TIMEOUT) as engine:
        clear_leftovers(server)
        make_socket_folder(server.socket, account)
        initialise(server, account, start)
        log = os.open(
            server.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            if os.fstat(log).st_size > _LOG_LIMIT:
                os.ftruncate(log, 0)
            written = os.fstat(log).st_size
            _spawn(server, account, (keeper, engine, log))
        finally:
            os.close(log)
    return written


def _spawn(server: Server, account: Account | None, descriptors: tuple[int, int, int]) -> None:
    keeper, engine, log = descriptors
    settings = {**_SETTINGS, "unix_socket_directories": str(server.socket)}
    options = [f"--{name}={value}" for name, value in {**settings, "port": server.port}.items()]
    spec = {
        "keeper": keeper,
        "server": engine,
        "users": str(server.lock("users")),
        "socket": str(server.socket),
        "uid": account and account.uid,
        "gid": account and account.gid,
        "command": [str(server.bindir / "postgres"), "-D", str(server.cluster), *options],
    }
    subprocess.run(
        [sys.executable, "-I", "-S", supervisor.__file__, json.dumps(spec)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd="/",
        start_new_session=True,
        pass_fds=(keeper, engine),
        check=False,
    )


def _end_orphan(cluster: Path) -> None:
    """A postmaster whose supervisor was killed; backends of a killed postmaster end alone."""
    pid = number_in(cluster / "postmaster.pid")
    if pid and is_postmaster(pid, cluster):
        os.kill(pid, signal.SIGINT)


def _stop(locks: Path) -> bool:
    cluster = locks.with_suffix("")
    with _exclusive(locks / "start", _START_TIMEOUT + _STOP_TIMEOUT):
        running = True
        if not _free(locks / "supervisor"):
            _signal_supervisor(locks / "supervisor", signal.SIGTERM)
        elif not _free(locks / "server"):
            _end_orphan(cluster)
        else:
            running = False  # killed, perhaps, and its folder is still there
        for name in ("supervisor", "server"):
            os.close(_claim(locks / name, fcntl.LOCK_EX, _STOP_TIMEOUT))
        with suppress(FileNotFoundError):
            owner = cluster.stat().st_uid
            remove_socket_folder(socket_folder(cluster, owner), owner)  # an orphan has not done it
    return running


def _signal_supervisor(keeper: Path, number: signal.Signals) -> None:
    pid = number_in(keeper)
    command = supervisor.command_of(pid) if pid else []
    if not command:
        return  # it is ending, and gives the lock back as the last thing it does
    if Path(supervisor.__file__).name not in " ".join(command):
        raise EmbeddedError(
            f'the supervisor that holds "{keeper}" cannot be seen from here: '
            "stop the server where it was started"
        )
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _last_words(log: Path, start: int = 0) -> str:
    with open(log, "rb") as file:
        file.seek(max(start, os.fstat(file.fileno()).st_size - 10_000))
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    words = [re.sub(r"^.*?\b([A-Z]+: )", r"\1", line) for line in lines[-2:]]
    return " ".join(" ".join(words).split()) or "it said nothing"
