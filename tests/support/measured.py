"""What a statement does on a server: its locks, what it reads and what it writes anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2

from foundry.database import Target
from foundry.migrate.hazards import locks
from foundry.migrate.modes import Mode, Work
from foundry.migrate.rules import Context
from foundry.migrate.steps import Step
from support.ddl import DEFAULTS, SETUP, SETUP_18


@dataclass(frozen=True)
class Seen:
    """What a statement did on a server, by table: strongest lock and heaviest work."""

    locks: dict[str, Mode]
    work: dict[str, Work]
    rewritten: frozenset[str]
    """Tables whose rows are in another file behind it."""

    @property
    def by_table(self) -> dict[str, tuple[Mode, Work]]:
        """Lock and work, without the lock of a mere reader, which every statement takes."""
        return {
            table: (lock, self.work.get(table, Work.INSTANT))
            for table, lock in self.locks.items()
            if lock > Mode.ACCESS_SHARE
        }


_SAID = (
    (re.compile(r'rewriting table "(\w+)"'), Work.REWRITE),
    (re.compile(r'building index "\w+" on table "(\w+)"'), Work.BUILD),
    (re.compile(r'verifying table "(\w+)"'), Work.SCAN),
)
_KEYS = re.compile(r'validating foreign key constraint "\w+"')
_TABLES = """
SELECT oid, relname, pg_relation_filenode(oid) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
"""
# The server says nothing of reading a default partition, but counts it.
_READ = """
SELECT c.relname, p.relname FROM pg_class AS c
JOIN pg_inherits AS i ON i.inhrelid = c.oid JOIN pg_class AS p ON p.oid = i.inhparent
WHERE pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT' AND pg_stat_get_xact_numscans(c.oid) > 0
"""
_LOCKED = "SELECT relation, mode FROM pg_locks WHERE pid = %s AND granted"


def mode(name: str) -> Mode:
    """Return `ShareRowExclusiveLock` as a Mode."""
    return Mode["_".join(re.findall("[A-Z][a-z]+", name.removesuffix("Lock"))).upper()]


def tables_of(cursor: Any) -> dict[int, str]:
    """The names of all tables, by oid."""
    cursor.execute(_TABLES)
    return {oid: name for oid, name, _ in cursor.fetchall()}


def strongest(cursor: Any, pid: int, tables: dict[int, str]) -> dict[str, Mode]:
    """The locks that a session has on the tables that were there before."""
    cursor.execute(_LOCKED, (pid,))
    found: dict[str, Mode] = {}
    for relation, name in cursor.fetchall():
        if relation not in tables:
            continue
        table = tables[relation]
        found[table] = max(mode(name), found.get(table, Mode.ACCESS_SHARE))
    return found


def worked(notices: list[str], statement: str) -> dict[str, Work]:
    """What a server that is asked for its debugging messages says of its work."""
    found: dict[str, Work] = {}
    for notice in notices:
        for pattern, work in _SAID:
            for table in pattern.findall(notice):
                found[table] = max(work, found.get(table, Work.INSTANT))
        if _KEYS.search(notice):
            found.update({name: max(Work.SCAN, found.get(name, Work.SCAN)) for name in "tr"})
    if statement.startswith("UPDATE"):
        found["t"] = Work.FILL
    return found


@contextmanager
def session(target: Target) -> Iterator[Any]:
    """A cursor of a session of its own, each statement of which commits."""
    with closing(psycopg2.connect(**target.params)) as connection:
        connection.autocommit = True
        yield connection.cursor()


def observed(target: Target, statement: str) -> Seen:
    """Run a statement in a transaction that is given up."""
    with session(target) as cursor:
        cursor.execute("SET TIME ZONE 'UTC'; SET client_min_messages = debug1; BEGIN")
        cursor.execute(_TABLES)
        before = cursor.fetchall()
        cursor.connection.notices.clear()
        cursor.execute(statement)
        notices = list(cursor.connection.notices)
        pid = cursor.connection.get_backend_pid()
        held = strongest(cursor, pid, {oid: name for oid, name, _ in before})
        cursor.execute(_TABLES)
        after = {oid: file for oid, _, file in cursor.fetchall()}
        moved = frozenset(n for oid, n, file in before if after.get(oid, file) != file)
        work = worked(notices, statement)
        cursor.execute(_READ)
        for default, whole in cursor.fetchall():
            work.setdefault(default, Work.SCAN)
            # Whoever wants the whole table waits for as long as that takes.
            if held.get(whole) is Mode.ACCESS_EXCLUSIVE:
                work.setdefault(whole, Work.SCAN)
        cursor.execute("ROLLBACK")
    return Seen(held, work, moved)


def expected(step: Step, version: int) -> dict[str, tuple[Mode, Work]]:
    """Lock and work by table, as the rules have it."""
    found = {}
    for table, lock, work in locks(step, Context(version=version, defaults=DEFAULTS)):
        found[table] = (Mode[lock.replace(" ", "_")], Work[work.upper()])
    return found


def version_of(target: Target) -> int:
    """The server's, such as 180006."""
    with session(target) as cursor:
        return int(cursor.connection.server_version)


def prepared(target: Target) -> int:
    """Make the tables that the changes are of; returns the server's version."""
    version = version_of(target)
    with session(target) as cursor:
        cursor.execute(SETUP)
        if version >= 180000:
            cursor.execute(SETUP_18)
    return version
