"""What a look at the difference costs: foundry and its peers, on one server, in one run.

    pip install '.[embedded]' alembic sqlalchemy psycopg2-binary
    python benchmarks/diff.py [--database URL] [--tables N ...] [--rounds N] [--peers PYTHON]

Every table has 12 columns and 4 indexes beside its key, half of them a foreign key; Peewee's and
SQLAlchemy's models are written from the same description. Each contender makes its own database
and is run as a process of its own, `--peers` being the Python that has Alembic. Ours is run
four times: "cold" has no record of what the server made of the models, so that all of them are
built in a shadow; "warm" has the one that `up` leaves; both once without a difference and once
with one column changed, which is one table to build beside the record. Before the rounds every
process runs once. From 1000 tables on there is one round and nothing before it, unless --rounds
says otherwise. What is done is told on stderr as it goes.

Prints a Markdown table for each number of tables: median and range of the wall time, that time
against Alembic's and against pg_dump's, the processor's time of the client alone (the median;
it hardly depends on what else the machine does), the statements sent and the largest memory.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from psycopg2 import sql

from foundry import embedded
from foundry.database import Target, open_connection, resolve

# What the other columns are: name, Peewee's field, SQLAlchemy's type and options.
_COLUMNS = (
    ("name", "CharField(max_length=100)", "String(100), nullable=False"),
    ("title", "TextField(index=True)", "Text, nullable=False, index=True"),
    ("body", "TextField(null=True)", "Text"),
    ("rank", "{rank}Field(constraints=[SQL('DEFAULT 0')])",
     "{rank}, nullable=False, server_default='0'"),
    ("price", "DecimalField(12, 2, null=True)", "Numeric(12, 2)"),
    ("active", "BooleanField()", "Boolean, nullable=False"),
    ("created", "DateTimeField(constraints=[SQL('DEFAULT now()')])",
     "DateTime, nullable=False, server_default=func.now()"),
    ("day", "DateField(null=True)", "Date"),
    ("score", "DoubleField(null=True)", "Double"),
    ("token", "UUIDField(unique=True)", "UUID, nullable=False"),
)  # fmt: skip
_PEEWEE = """from peewee import *


class Base(Model):
    class Meta:
        legacy_table_names = False
"""
_SQLALCHEMY = "from sqlalchemy import *\n\nMODELS = MetaData()\n"
_COUNT = """
import atexit, sys
import peewee
sent, true = [], peewee.Database.execute_sql
def counted(self, *arguments, **words):
    sent.append(1)
    return true(self, *arguments, **words)
peewee.Database.execute_sql = counted
atexit.register(lambda: print(len(sent), file=sys.stderr))
"""
_OURS = _COUNT + "from foundry.migrate.cli import main; sys.exit(main(sys.argv[1:]))"
_PLAYHOUSE = (
    _COUNT
    + """
from playhouse.db_url import connect
from playhouse.schema_diff import diff_models
from importlib import import_module
models = import_module(sys.argv[1]).MODELS
database = connect(sys.argv[2])
database.bind(models)
diff_models(database, models)
"""
)
_ALEMBIC = """
import sys
from importlib import import_module
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, event
models, sent = import_module(sys.argv[1]).MODELS, []
engine = create_engine(sys.argv[2].replace("://", "+psycopg2://", 1))
if sys.argv[3:]:
    models.create_all(engine)
    sys.exit()
event.listen(engine, "before_cursor_execute", lambda *arguments: sent.append(1))
with engine.connect() as connection:
    options = {"compare_type": True, "compare_server_default": True}
    compare_metadata(MigrationContext.configure(connection, opts=options), models)
print(len(sent), file=sys.stderr)
"""
_CREATE = """
import sys
from importlib import import_module
from playhouse.db_url import connect
models, database = import_module(sys.argv[1]).MODELS, connect(sys.argv[2])
with database.bind_ctx(models):
    for first in range(0, len(models), 100):
        with database.atomic():
            database.create_tables(models[first:first + 100], safe=False)
"""


_MANY = 1000
"""Of so many tables one look takes long enough to be measured once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A process to be measured; `cold`: the record is taken away before it runs."""

    name: str
    command: tuple[str, ...]
    dbname: str
    cold: bool = False
    counts: bool = True
    seconds: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    """Seconds of processor time."""
    statements: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


def peewee_models(tables: int, *, changed: bool) -> str:
    """Models of foundry and playhouse."""
    lines = [_PEEWEE]
    for number in range(tables):
        lines.append(f"\nclass Table{number:04d}(Base):")
        parent = f"ForeignKeyField(Table{number - 1:04d}, on_delete='CASCADE')"
        lines.append(f"    parent = {parent if number % 2 else 'IntegerField(index=True)'}")
        rank = "BigInteger" if changed and number == tables // 2 else "Integer"
        lines += [f"    {name} = {made.format(rank=rank)}" for name, made, _ in _COLUMNS]
        lines.append("\n    class Meta:\n        indexes = ((('name', 'rank'), False),)\n")
    return "\n".join([*lines, f"MODELS = [{', '.join(f'Table{n:04d}' for n in range(tables))}]\n"])


def sqlalchemy_models(tables: int) -> str:
    """The same tables for Alembic."""
    lines = [_SQLALCHEMY]
    for number in range(tables):
        name, before = f"table{number:04d}", f"table{number - 1:04d}"
        parent = f"'parent_id', ForeignKey('{before}.id', ondelete='CASCADE')"
        parent = parent if number % 2 else "'parent', Integer"
        lines.append(f"Table('{name}', MODELS, Column('id', Integer, primary_key=True),")
        lines.append(f"    Column({parent}, nullable=False, index=True),")
        columns = [(column, made.format(rank="Integer")) for column, _, made in _COLUMNS]
        lines += [f"    Column('{column}', {made})," for column, made in columns]
        lines.append(f"    Index('{name}_name_rank', 'name', 'rank'),")
        lines.append(f"    Index('{name}_token', 'token', unique=True))")
    return "\n".join([*lines, ""])


@contextmanager
def databases(server: Target, *names: str) -> Iterator[None]:
    """Empty ones, dropped at the end."""

    def run(statement: str) -> None:
        with closing(open_connection(server, dbname="postgres")) as admin:
            for name in names:
                admin.cursor().execute(sql.SQL(statement).format(sql.Identifier(name)))

    run("DROP DATABASE IF EXISTS {} WITH (FORCE)")
    run("CREATE DATABASE {}")
    try:
        yield
    finally:
        run("DROP DATABASE IF EXISTS {} WITH (FORCE)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a process took; memory in kB, and the last line of stderr."""

    seconds: float
    own: float
    memory: int
    said: str


def process(command: tuple[str, ...], folder: Path) -> Run:
    """Run it to its end."""
    paths = [str(folder), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)}
    if command[0] != sys.executable:
        # Another Python has packages of its own.
        environment["PYTHONPATH"] = str(folder)
    with (folder / "said").open("w+") as said:
        began = time.perf_counter()
        running = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=said
        )
        _, status, usage = os.wait4(running.pid, 0)
        took = time.perf_counter() - began
        running.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    if running.returncode:
        raise SystemExit(f"{command[:3]} failed: {text}")
    memory = usage.ru_maxrss // (1024 if sys.platform == "darwin" else 1)
    own, said_last = usage.ru_utime + usage.ru_stime, (text.splitlines() or [""])[-1]
    return Run(seconds=took, own=own, memory=memory, said=said_last)


def url_of(target: Target, dbname: str) -> str:
    """A URL that every contender understands."""
    words = target.params
    host = str(words.get("host") or words.get("hostaddr") or "")
    secret = f":{words['password']}" if words.get("password") else ""
    who = f"{words.get('user') or 'postgres'}{secret}"
    if host.startswith("/"):
        return f"postgresql://{who}@/{dbname}?host={host}&port={words.get('port') or 5432}"
    return f"postgresql://{who}@{host or 'localhost'}:{words.get('port') or 5432}/{dbname}"


def contenders(tables: int, server: Target, peers: str) -> list[Contender]:
    """Ours and theirs."""
    ours, theirs = url_of(server, "diff_peewee"), url_of(server, "diff_alembic")
    made: list[Contender] = []
    for cold in (True, False):
        for what, module in (("no change", "things"), ("one column", "changed")):
            words = ("--models", f"{module}:MODELS", "--directory", "m", "--database", ours, "-q")
            name = f"foundry {'cold' if cold else 'warm'}, {what}"
            command = (sys.executable, "-c", _OURS, "diff", *words)
            made.append(Contender(name=name, command=command, dbname="diff_peewee", cold=cold))
    alembic = (peers, "-c", _ALEMBIC, "metadata", theirs)
    playhouse = (sys.executable, "-c", _PLAYHOUSE, "things", ours)
    dump = (str(embedded.pg_tool("pg_dump")), "--schema-only", "-d", ours)
    return [
        *made,
        Contender(name="Alembic", command=alembic, dbname="diff_alembic"),
        Contender(name="playhouse", command=playhouse, dbname="diff_peewee"),
        Contender(name="pg_dump", command=dump, dbname="diff_peewee", counts=False),
    ]


def prepare(tables: int, server: Target, peers: str, folder: Path) -> None:
    """Write the models and make their tables; an empty migration gives `up` its history."""
    (folder / "things.py").write_text(peewee_models(tables, changed=False))
    (folder / "changed.py").write_text(peewee_models(tables, changed=True))
    (folder / "metadata.py").write_text(sqlalchemy_models(tables))
    (folder / "m").mkdir()
    (folder / "m" / "0001_start.py").write_text("def up(migrator, db):\n    pass\n")
    ours, theirs = url_of(server, "diff_peewee"), url_of(server, "diff_alembic")
    process((sys.executable, "-c", _CREATE, "things", ours), folder)
    process((peers, "-c", _ALEMBIC, "metadata", theirs, "create"), folder)


def record(server: Target, folder: Path, *, wanted: bool) -> None:
    """Have `up` leave its record, or take it away."""
    if wanted:
        words = ("--models", "things:MODELS", "--directory", "m", "-q")
        where = ("--database", url_of(server, "diff_peewee"))
        process((sys.executable, "-c", _OURS, "up", *words, *where), folder)
        return
    with closing(open_connection(replace(server, dbname="diff_peewee"))) as connection:
        connection.cursor().execute("DELETE FROM schema_migration_step WHERE step < -1")


def measure(tables: int, rounds: int, server: Target, peers: str) -> list[Contender]:
    """Run all in turn, the order alternating, after one round that does not count."""
    found = contenders(tables, server, peers)
    first = 1 if tables >= _MANY else 0
    with tempfile.TemporaryDirectory(prefix="foundry-bench-") as name:
        folder = Path(name)
        with databases(server, "diff_peewee", "diff_alembic"):
            tell(f"{tables} tables are made")
            prepare(tables, server, peers, folder)
            for number in range(first, rounds + 1):
                warm = [c for c in found if not c.cold]
                tell(f"round {number} of {rounds}")
                record(server, folder, wanted=True)
                once(warm[:: -1 if number % 2 else 1], folder, counts=number > 0)
                record(server, folder, wanted=False)
                once([c for c in found if c.cold], folder, counts=number > 0)
    return found


def once(some: list[Contender], folder: Path, *, counts: bool) -> None:
    """One round of some of them."""
    for contender in some:
        run = process(contender.command, folder)
        tell(f"    {contender.name}: {run.seconds:.2f} s")
        if counts:
            contender.seconds.append(run.seconds)
            contender.own.append(run.own)
            contender.memory.append(run.memory)
            contender.statements.append(run.said if contender.counts else "")


def tell(what: str) -> None:
    """Say how far it is."""
    print(what, file=sys.stderr, flush=True)


def show(tables: int, found: list[Contender]) -> None:
    """Print one table."""
    rounds = len(found[0].seconds)
    medians = {c.name: statistics.median(c.seconds) for c in found}
    print(f"\n{tables} tables, {rounds} round{'s' if rounds > 1 else ''}\n")
    print("| | s | of Alembic | of pg_dump | s of the client | statements | MB |")
    print("|---|---|---|---|---|---|---|")
    for c in found:
        took = medians[c.name]
        print(
            f"| {c.name} | {took:.2f} ({min(c.seconds):.2f} to {max(c.seconds):.2f}) "
            f"| {took / medians['Alembic']:.2f} | {took / medians['pg_dump']:.1f} "
            f"| {statistics.median(c.own):.2f} | {c.statements[-1]} | {max(c.memory) / 1024:.0f} |",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", metavar="URL", help="a server (default: the embedded one)")
    parser.add_argument("--tables", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--rounds", type=int, help="default: 5, and 1 from 1000 tables on")
    parser.add_argument("--peers", default=sys.executable, help="the Python that has Alembic")
    options = parser.parse_args()
    server = resolve(options.database or embedded.acquire().url())
    with closing(open_connection(server, dbname="postgres")) as connection:
        version = connection.info.parameter_status("server_version")
    print(f"PostgreSQL {version}, Python {sys.version.split()[0]}")
    for tables in options.tables:
        rounds = options.rounds or (1 if tables >= _MANY else 5)
        show(tables, measure(tables, rounds, server, options.peers))


if __name__ == "__main__":
    main()
