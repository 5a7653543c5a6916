"""A server that may be killed, and commands on it that may be killed, too."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection
from support.migrations import Ended

from foundry import embedded
from foundry.database import Target, resolve

VICTIM = Path(__file__).with_name("victim.py")
APPLICATION = "foundry migrate"

Row = tuple[object, ...]
Kill = tuple[int, str, str]
"""At which statement, "before" or "after" it, and whom: "client" or "backend"."""

_ENDED = """
SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
# Of the driver's own errors, and where the server ended the session.
_LOST = (None, "57P01", "57P02", "57P03")
_PREPARED = (
    "ALTER SYSTEM SET fsync = off",
    "SELECT pg_reload_conf()",
    "CREATE DATABASE victim",
)
_EMPTY = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
# All that a migration may leave in the schema, but its history.
_SHAPE = """
SELECT relkind::text, relname, relpersistence::text, reltablespace::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relname !~ '^schema_migration'
UNION ALL
SELECT 'column', attrelid::regclass::text, attname, concat_ws(' ',
       format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid), attidentity)
FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid AND relkind = 'r'
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relnamespace = 'public'::regnamespace AND relname !~ '^schema_migration'
  AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid),
       concat_ws(' ', indisvalid, indisready, indislive)
FROM pg_index JOIN pg_class AS c ON c.oid = indrelid
WHERE relnamespace = 'public'::regnamespace AND c.relname !~ '^schema_migration'
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname,
       concat_ws(' ', pg_get_constraintdef(oid), convalidated)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
  AND conrelid::regclass::text !~ '^schema_migration'
UNION ALL
SELECT 'trigger', tgrelid::regclass::text, tgname, tgenabled::text FROM pg_trigger
WHERE NOT tgisinternal AND tgrelid::regclass::text !~ '^schema_migration'
UNION ALL
SELECT 'function', proname, '', '' FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL
SELECT 'schema', nspname, '', '' FROM pg_namespace WHERE nspname !~ '^pg_toast_temp|^pg_temp'
UNION ALL
SELECT 'lock', pid::text, '', '' FROM pg_locks WHERE locktype = 'advisory'
ORDER BY 1, 2, 3, 4
"""


@dataclass(frozen=True)
class Run:
    """A command that was started."""

    bench: Bench
    pid: int
    said: Path

    @property
    def out(self) -> str:
        """What it has printed so far."""
        return self.said.with_suffix(".out").read_text()

    @property
    def err(self) -> str:
        """What it has complained about so far."""
        return self.said.with_suffix(".err").read_text()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal; nobody else has its number before its end was asked for."""
        os.kill(self.pid, number)

    def ended(self, seconds: float = 120) -> Ended:
        """Wait for its end."""
        code = self.bench.asked(self.pid, seconds)
        return Ended(code=code, out=self.out, err=self.err)


@dataclass(frozen=True)
class Bench:
    """A server of its own, one database on it, and a process that commands are forked from."""

    place: Path
    socket: Path
    nest: subprocess.Popen[str]
    runs: list[Run] = field(default_factory=list)
    sessions: list[connection] = field(default_factory=list)
    """The one that asks, if it is open."""

    @property
    def data(self) -> Path:
        """Where the server keeps its files."""
        return self.place / "data"

    @property
    def server(self) -> embedded.Server:
        """The server, started again if it was ended."""
        return embedded.acquire(self.data)

    @property
    def url(self) -> str:
        """Where the database is."""
        return f"postgresql://postgres@/victim?host={self.socket}"

    @property
    def target(self) -> Target:
        """Where the database is."""
        return resolve(self.url)

    def folder(self, files: Mapping[str, str]) -> Path:
        """Write a directory of migrations: their texts by their names."""
        path = self.place / f"migrations{len(list(self.place.iterdir()))}"
        path.mkdir()
        for name, text in files.items():
            (path / f"{name}.py").write_text(text)
        return path

    def ask(self, *statements: str) -> list[Row]:
        """Run statements once the server answers, and return the rows of the last one.

        All of them are run again when the session was lost.
        """
        deadline = time.monotonic() + 60
        while True:
            try:
                if not self.sessions:
                    self.sessions.append(psycopg2.connect(**self.target.params))
                    self.sessions[0].autocommit = True
                with self.sessions[0].cursor() as cursor:
                    for statement in statements:
                        cursor.execute(statement)
                    return cursor.fetchall() if cursor.description else []
            except psycopg2.Error as error:
                # It recovers from the death of one of its processes, or is ended.
                if error.pgcode not in _LOST or time.monotonic() > deadline:
                    raise
                self.leave()
                assert self.server

    def leave(self) -> None:
        """Close the session that asks."""
        while self.sessions:
            self.sessions.pop().close()

    def fresh(self, *statements: str) -> None:
        """Have nothing in the database but what the statements make, and nobody in it."""
        self.ask("SET client_min_messages = warning", _ENDED, _EMPTY, *statements)

    def shape(self) -> list[Row]:
        """Return all that is in the database but its rows; sessions and locks are none of it."""
        return self.ask(_SHAPE)

    def start(
        self, verb: str, folder: Path, *words: str, kill: Kill | None = None, url: str = ""
    ) -> Run:
        """Start a command, once the server answers."""
        self.ask("SELECT")
        said = self.place / "said" / str(len(self.runs))
        given = [*words, "--directory", str(folder), "--database", url or self.url, "--no-color"]
        asked = {
            "words": [verb, *given],
            "out": f"{said}.out",
            "err": f"{said}.err",
            "kill": list(kill or ()),
        }
        for name in (asked["out"], asked["err"]):
            # Also of one that is killed before it says a word.
            Path(str(name)).touch()
        run = Run(self, self.asked(asked), said)
        self.runs.append(run)
        return run

    def run(
        self, verb: str, folder: Path, *words: str, kill: Kill | None = None, url: str = ""
    ) -> Ended:
        """Run a command to its end, whichever it is."""
        ended = self.start(verb, folder, *words, kill=kill, url=url).ended()
        if kill is not None and kill[0] and kill[2] == "backend":
            self.reset()
        return ended

    def reset(self, seconds: float = 10) -> None:
        """Wait until the server has seen that a process of it was killed, and ended the others.

        One that was at its end by itself when it was killed is not seen.
        """
        deadline = time.monotonic() + seconds
        with suppress(psycopg2.Error):
            while time.monotonic() < deadline:
                self.sessions[0].cursor().execute("SELECT")
                time.sleep(0.005)
        self.leave()

    def asked(self, question: object, seconds: float = 60) -> int:
        """Have the nest answer."""
        assert self.nest.stdin
        assert self.nest.stdout
        self.nest.stdin.write(json.dumps(question) + "\n")
        self.nest.stdin.flush()
        ready, _, _ = select.select([self.nest.stdout], [], [], seconds)
        assert ready, f"no answer to {question}"
        return int(self.nest.stdout.readline())

    def backends(self) -> Sequence[int]:
        """Return the server processes of migrations."""
        query = f"SELECT pid FROM pg_stat_activity WHERE application_name = '{APPLICATION}'"
        return [int(str(pid)) for (pid,) in self.ask(query)]

    def kill_backends(self) -> None:
        """Kill the server processes of migrations, if there are any."""
        pids = self.backends()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if pids:
            self.reset()

    def end(self) -> None:
        """End what was started."""
        with self.nest:
            self.nest.kill()
        self.leave()
        embedded.release(self.data)
        embedded.stop(self.data)


def made(place: Path) -> Bench:
    """Start a server in a folder, and the nest."""
    (place / "said").mkdir()
    place.chmod(0o755)
    nest = subprocess.Popen(
        [sys.executable, str(VICTIM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=place,
        env={k: v for k, v in os.environ.items() if k != "DATABASE_URL"},
        start_new_session=True,
    )
    server = embedded.acquire(place / "data")
    with closing(psycopg2.connect(**resolve(server.url("postgres")).params)) as session:
        session.autocommit = True
        # What was written survives a process that is killed; only a power cut would need more.
        for statement in _PREPARED:
            session.cursor().execute(statement)
    return Bench(place, server.socket, nest)


def steps(up: Sequence[str], down: Sequence[str] = (), *, atomic: bool = False) -> str:
    """Return a migration that hands on statements, each as a step."""
    lines = [f"atomic = {atomic}"]
    for way, statements in (("up", up), ("down", down)):
        if statements:
            lines += ["", "", f"def {way}(migrator, db):"]
            lines += [f"    migrator.migrate(migrator.sql({text!r}))" for text in statements]
    return "\n".join(lines) + "\n"
