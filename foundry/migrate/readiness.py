"""What is asked before a run changes anything: may it write here, and will it fit?

Whether the session is the server's own is asked before all else, by pooling.require_direct.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from shutil import disk_usage
from typing import Any

from peewee import OperationalError, PostgresqlDatabase, ProgrammingError
from psycopg2 import errors

from foundry.database import Target
from foundry.errors import MigrationError
from foundry.migrate import queries, space
from foundry.migrate.failure import told
from foundry.migrate.files import MigrationFile
from foundry.migrate.locked import Locked, locked, namespace_of
from foundry.migrate.modes import Work
from foundry.migrate.space import Need, Room, Size
from foundry.migrate.spelling import quote
from foundry.url import is_local

# The sizes of a table that is being changed can be had only when that is over.
_LOCK_TIMEOUT = "1s"


def require_ready(
    database: PostgresqlDatabase,
    target: Target,
    files: Sequence[MigrationFile],
    *,
    namespace: str,
    table: str,
) -> tuple[str, ...]:
    """Return notes on what `files` will write; MigrationError where they cannot succeed.

    That is a standby, a read-only session, a privilege the role lacks, or a disk that is too
    small. `namespace` and `table` are the history's; `database` must not be in a transaction.
    Nothing is changed.
    """
    _refuse_read_only(database)
    require_history(database, namespace, table)
    locks = locked(files)
    _refuse_namespaces(database, files)
    _refuse_strangers(database, locks)
    return _require_room(database, target, locks)


def _rows(database: PostgresqlDatabase, name: str, **values: object) -> list[Any]:
    try:
        return list(database.execute_sql(queries.text(name), values or None).fetchall())
    except ProgrammingError as error:
        # A name in a namespace that the role may not even look into.
        if isinstance(error.__context__, errors.InsufficientPrivilege):
            raise MigrationError(told(error)) from error
        raise


def _refuse_read_only(database: PostgresqlDatabase) -> None:
    ((recovering, default, source, now, dbname, role),) = _rows(database, "read_only")
    if recovering:
        raise MigrationError(
            "the server is a standby (pg_is_in_recovery), which takes no writes: use the URL of "
            "its primary"
        )
    if default == "on":
        off, reset = (
            "SET default_transaction_read_only = off",
            "RESET default_transaction_read_only",
        )
        remedy = {
            "database": f"{off}; ALTER DATABASE {quote(dbname)} {reset}",
            "user": f"{off}; ALTER ROLE {quote(role)} {reset}",
            "database user": f"{off}; ALTER ROLE {quote(role)} IN DATABASE {quote(dbname)} {reset}",
            "client": "take it out of the options of the URL and of PGOPTIONS",
            "session": off,
        }.get(source, "turn it off in the server's configuration once it may be written to")
        raise MigrationError(
            f'the session is read-only ("default_transaction_read_only", set by {source}): {remedy}'
        )
    if now == "on":
        raise MigrationError(
            'the transaction is read-only ("transaction_read_only"): end it before the run'
        )


def require_history(database: PostgresqlDatabase, namespace: str, table: str) -> None:
    """Refuse a history that cannot be written; where there is none, one that cannot be made."""
    names = [f"{quote(namespace)}.{quote(name)}" for name in (table, f"{table}_step")]
    rows = _rows(database, "history_privileges", names=names)
    if len(rows) < len(names):
        _refuse_closed(database, [quote(namespace)])
    for name, writable, role in rows:
        if not writable:
            raise MigrationError(
                f"{quote(role)} may not write the history {space.shown(name)}: GRANT SELECT, "
                f"INSERT, UPDATE, DELETE ON {name} TO {quote(role)}"
            )
    for name, usable, role in _rows(database, "history_sequences", names=names):
        if not usable:
            raise MigrationError(
                f"{quote(role)} may not number the rows of the history: GRANT USAGE ON SEQUENCE "
                f"{name} TO {quote(role)}"
            )


def _refuse_namespaces(database: PostgresqlDatabase, files: Sequence[MigrationFile]) -> None:
    made = {namespace_of(new) for f in files for _, new in f.head.tables if new}
    if made:
        _refuse_closed(database, sorted(made))


def _refuse_closed(database: PostgresqlDatabase, namespaces: Sequence[str]) -> None:
    rows = _rows(database, "closed_namespaces", namespaces=list(namespaces))
    if rows:
        names = ", ".join(quote(name) for name, _, _ in rows)
        role, owner = quote(rows[0][2]), quote(rows[0][1])
        raise MigrationError(
            f"{role} may not create in schema {names}: GRANT CREATE ON SCHEMA {names} TO {role}, "
            f"or run as {owner}"
        )


def _refuse_strangers(database: PostgresqlDatabase, locks: Sequence[Locked]) -> None:
    if not locks:
        return
    rows = _rows(
        database,
        "unowned_tables",
        files=[lock.file.name for lock in locks],
        names=[lock.name for lock in locks],
        modes=[lock.mode for lock in locks],
    )
    if rows:
        (role,) = database.execute_sql("SELECT current_user::text").fetchone()
        tables = ", ".join(space.shown(name) for name, _ in rows)
        owners = ", ".join(quote(owner) for owner in dict.fromkeys(o for _, o in rows))
        raise MigrationError(
            f"{quote(role)} does not own {tables}, which the files change: run as the owner, or "
            f"GRANT {owners} TO {quote(role)}"
        )


def _require_room(
    database: PostgresqlDatabase, target: Target, locks: Sequence[Locked]
) -> tuple[str, ...]:
    works = [lock for lock in locks if lock.work in (Work.BUILD, Work.REWRITE)]
    if not works:
        return ()
    spaces = _rows(database, "tablespaces")
    try:
        sizes = _sizes(database, works)
    except OperationalError as error:
        if not isinstance(error.__context__, errors.LockNotAvailable):
            raise
        tables = ", ".join(dict.fromkeys(space.shown(lock.table) for lock in works))
        return (f"whether there is room for {tables} was not checked: a session has it locked",)
    building = next((oid for oid, _, default in spaces if default), 0)
    needed = [
        need
        for number, lock in enumerate(works, start=1)
        for need in space.needs(lock, sizes.get(number, []), building=building)
    ]
    data = _data_directory(database, target) if needed else None
    if data is None:
        return space.notes(needed)
    rooms = _rooms(data, {oid: place for oid, place, _ in spaces}, needed)
    space.refuse_lack(space.with_wal(needed, largest=_wal_room(database, data)), rooms)
    unseen = [need for need in needed if need.tablespace not in rooms]
    return space.notes(unseen)


def _sizes(database: PostgresqlDatabase, locks: Sequence[Locked]) -> dict[int, list[Size]]:
    """Return what each lock's table takes up, by the lock's place from 1."""
    with database.atomic():
        database.execute_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        rows = _rows(database, "table_sizes", names=[lock.name for lock in locks])
    found: dict[int, list[Size]] = {}
    for number, tablespace, total, table, count, heap in rows:
        size = Size(tablespace=tablespace, total=total, table=table, rows=count, heap=heap)
        found.setdefault(number, []).append(size)
    return found


def _data_directory(database: PostgresqlDatabase, target: Target) -> Path | None:
    """Return the server's data directory, if it is on this machine and can be read.

    A path alone proves nothing: a server in a container, or behind a tunnel, may name one
    that is another server's here.
    """
    if not is_local(target.params, os.environ):
        return None
    rows = _settings(database, "data_directory")
    if not rows:
        return None
    data = Path(rows["data_directory"])
    with suppress(OSError, ValueError, IndexError):
        postmaster = int((data / "postmaster.pid").read_text().splitlines()[0])
        (pid,) = database.execute_sql("SELECT pg_catalog.pg_backend_pid()").fetchone()
        if postmaster == _parent(pid):
            return data
    return None


def _settings(database: PostgresqlDatabase, *names: str) -> dict[str, str]:
    """Return the settings the role may see."""
    rows = database.execute_sql(
        "SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY(%s)", (list(names),)
    )
    return dict(rows.fetchall())


def _parent(pid: int) -> int | None:
    with suppress(OSError):
        # The name of the program, in brackets, may hold anything.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    with suppress(OSError, ValueError):
        said = subprocess.run(
            ["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return int(said.stdout)
    return None


def _rooms(data: Path, places: Mapping[int, str], needed: Sequence[Need]) -> dict[int, Room]:
    """Return the room of each tablespace that is needed and can be seen, and of the log."""
    folders = {need.tablespace: places.get(need.tablespace, "") for need in needed}
    # An empty place is the database's own; a relative one is in the data directory too.
    found = {oid: data / (place or "base") for oid, place in folders.items()}
    rooms = {}
    for oid, folder in {**found, space.WAL: data / "pg_wal"}.items():
        with suppress(OSError):
            rooms[oid] = Room(
                folder=str(folder), device=folder.stat().st_dev, free=disk_usage(folder).free
            )
    return rooms


def _wal_room(database: PostgresqlDatabase, data: Path) -> int:
    """Return how many bytes the write-ahead log may grow before it is recycled."""
    largest = int(_settings(database, "max_wal_size").get("max_wal_size", "0")) * 1024**2
    try:
        there = sum(entry.stat().st_size for entry in os.scandir(data / "pg_wal"))
    except OSError:
        return 0
    return max(0, largest - there)
