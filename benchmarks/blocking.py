"""How long clients wait while a table changes: what foundry generates, and the plain statement.

    pip install '.[embedded]'
    python benchmarks/blocking.py [--database URL] [--rows N] [--changes NAME ...]

A table of 1.5 million rows is used by four sessions that write (updates of one row, inserts,
deletes of what they inserted) and four that read one row at a time, each with a pause of some
milliseconds between two statements. Meanwhile the table is changed, twice from the same start: by
the statement that says it plainly, and by `python -m foundry.migrate up`, run as a process, with
the files that `generate` wrote from two versions of the models. The last rows are a change that
is instant, behind a transaction that has read the table and stays open for four seconds.

Prints a Markdown table: how long each took, the longest any client waited for any statement
while it ran and in the second after it, the longest without a change in as much time before
(three seconds at most), the errors clients had, and the rows that are lost or doubled: writers
count what they did, and tables must agree. The second table tells where the longest waits of
ours fell. What is done is told on stderr as it goes. Waits depend on whatever else the machine
does: its load stands beside them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from diff import databases, tell, url_of
from psycopg2 import sql
from traffic import OWNERS, Wait, traffic

from foundry import embedded
from foundry.database import Target, open_connection, resolve

HELD = 4.0
"""Seconds for which the transaction that has read the table stays open."""
_BEFORE, _AFTER = 3.0, 1.0
_SOURCE, _CLONE = "blocking", "blocking_clone"
_FIELDS = {
    "owner_id": "IntegerField()",
    "tag": "CharField(max_length=40)",
    "kind": "CharField(max_length=20)",
    "score": "IntegerField(null=True)",
    "hits": "IntegerField(constraints=[SQL('DEFAULT 0')])",
    "note": "TextField(null=True)",
    "body": "TextField()",
}
_MODELS = """from peewee import *


class Base(Model):
    class Meta:
        legacy_table_names = False


class Owner(Base):
    name = TextField()
    visits = IntegerField(constraints=[SQL("DEFAULT 0")])


class Item(Base):
    {fields}

    class Meta:
        renames = {renames}


MODELS = [Owner, Item]
"""
_FILL = f"""
INSERT INTO owner (name) SELECT 'owner ' || n FROM generate_series(1, {OWNERS}) AS n;
INSERT INTO item (owner_id, tag, kind, score, note, body)
SELECT n % {OWNERS} + 1, 'tag ' || n, 'kind ' || n % 10, n % 100, 'note', repeat('x', 60)
FROM generate_series(1, {{rows}}) AS n;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One version of the table to the next: fields that differ, None for one that goes."""

    name: str
    naive: str
    fields: Mapping[str, str | None]
    renames: Mapping[str, str] = field(default_factory=dict)
    behind: bool = False
    """A transaction has read the table and stays open."""


_UUID = "UUIDField(constraints=[SQL('DEFAULT gen_random_uuid()')])"
_PLAIN = "ALTER TABLE item ADD COLUMN more integer"
CHANGES = (
    Change(
        name="column with a volatile default",
        naive="ALTER TABLE item ADD COLUMN token uuid NOT NULL DEFAULT gen_random_uuid()",
        fields={"token": _UUID},
    ),
    Change(
        name="NOT NULL",
        naive="ALTER TABLE item ALTER COLUMN score SET NOT NULL",
        fields={"score": "IntegerField()"},
    ),
    Change(
        name="CHECK",
        naive="ALTER TABLE item ADD CHECK (score >= 0)",
        fields={"score": "IntegerField(null=True, constraints=[Check('score >= 0')])"},
    ),
    Change(
        name="foreign key",
        naive="ALTER TABLE item ADD FOREIGN KEY (owner_id) REFERENCES owner",
        fields={
            "owner_id": None,
            "owner": "ForeignKeyField(Owner, column_name='owner_id', index=False)",
        },
    ),
    Change(
        name="UNIQUE",
        naive="ALTER TABLE item ADD UNIQUE (tag)",
        fields={"tag": "CharField(max_length=40, unique=True)"},
    ),
    Change(
        name="index",
        naive="CREATE INDEX ON item (score)",
        fields={"score": "IntegerField(null=True, index=True)"},
    ),
    Change(
        name="type, rows stay as they are",
        naive="ALTER TABLE item ALTER COLUMN kind TYPE text",
        fields={"kind": "TextField()"},
    ),
    Change(
        name="type, rows are written anew",
        naive="ALTER TABLE item ALTER COLUMN score TYPE bigint",
        fields={"score": "BigIntegerField(null=True)"},
    ),
    Change(name="column dropped", naive="ALTER TABLE item DROP COLUMN note", fields={"note": None}),
    Change(
        name="column renamed",
        naive="ALTER TABLE item RENAME COLUMN note TO remark",
        fields={"note": None, "remark": "TextField(null=True)"},
        renames={"remark": "note"},
    ),
    Change(
        name="plain column, behind a reader of 4 s",
        naive=_PLAIN,
        fields={"more": "IntegerField(null=True)"},
        behind=True,
    ),
    Change(
        name="CHECK, behind a reader of 4 s",
        naive="ALTER TABLE item ADD CHECK (score >= 0)",
        fields={"score": "IntegerField(null=True, constraints=[Check('score >= 0')])"},
        behind=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What clients met with during a change; times in seconds."""

    took: float
    before: float
    waits: tuple[Wait, ...]
    """The longest ones, the longest first; their `began` counts from the start of the change."""
    errors: Mapping[str, int]
    wrong: int
    """Rows and counts that are lost or doubled."""
    load: float


@contextmanager
def reading(target: Target) -> Iterator[None]:
    """Have a transaction that has read the table; it ends after four seconds."""
    has_read = threading.Event()

    def hold() -> None:
        with closing(open_connection(target)) as connection, connection.cursor() as cursor:
            cursor.execute("BEGIN; SELECT hits FROM item WHERE id = 1")
            has_read.set()
            time.sleep(HELD)
            cursor.execute("COMMIT")

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    has_read.wait()
    yield
    thread.join()


def models(change: Change | None) -> str:
    """The module of the table as it is at the start, or after a change."""
    fields = {**_FIELDS, **(change.fields if change else {})}
    lines = [f"{name} = {made}" for name, made in fields.items() if made]
    renames = dict(change.renames) if change else {}
    return _MODELS.format(fields="\n    ".join(lines), renames=renames)


def migrate(verb: Sequence[str], module: str, folder: Path, target: Target) -> None:
    """Run a verb as a user does."""
    named = ("--models", f"{module}:MODELS", "--directory", "migrations", "--wait", "60")
    command = (sys.executable, "-m", "foundry.migrate", *verb, *named)
    paths = os.pathsep.join(p for p in (str(folder), *sys.path) if p)
    url = url_of(target, target.dbname)
    done = subprocess.run(
        (*command, "--database", url),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(verb)} failed: {done.stdout}{done.stderr}")


def prepare(server: Target, rows: int, folder: Path) -> None:
    """Make the table at its start and fill it."""
    target = replace(server, dbname=_SOURCE)
    (folder / "before.py").write_text(models(None))
    migrate(("generate", "start"), "before", folder, target)
    migrate(("up",), "before", folder, target)
    with closing(open_connection(target)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(_FILL.format(rows=rows))
        cursor.execute("VACUUM (FREEZE, ANALYZE) item, owner")


@contextmanager
def cloned(server: Target) -> Iterator[Target]:
    """A copy of the table at its start."""
    with closing(open_connection(server, dbname="postgres")) as connection:
        connection.autocommit = True
        admin = connection.cursor()
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(_CLONE))
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        admin.execute(drop)
        admin.execute(create.format(sql.Identifier(_CLONE), sql.Identifier(_SOURCE)))
        admin.execute("CHECKPOINT")
        try:
            yield replace(server, dbname=_CLONE)
        finally:
            admin.execute(drop)


def observed(change: Change, target: Target, rows: int, folder: Path | None) -> Seen:
    """Make one change under traffic: foundry's way in a folder that has its files, else plainly."""
    with traffic(target, rows) as clients, ExitStack() as stack:
        start = time.perf_counter()
        time.sleep(_BEFORE)
        if change.behind:
            stack.enter_context(reading(target))
        began = time.perf_counter()
        if folder:
            migrate(("up", "--allow-data-loss"), "after", folder, target)
        else:
            with closing(open_connection(target)) as connection, connection.cursor() as cursor:
                connection.autocommit = True
                cursor.execute(change.naive)
        took = time.perf_counter() - began
        load = os.getloadavg()[0]
        time.sleep(_AFTER)
        ended = time.perf_counter()
    # Behind the block: what is computed while clients run would keep them waiting.
    return Seen(
        took=took,
        before=clients.waits(start, began)[0].seconds,
        waits=tuple(clients.waits(began, ended)[:3]),
        errors=clients.errors(),
        wrong=clients.wrong(target, rows),
        load=load,
    )


def measure(change: Change, server: Target, rows: int, folder: Path) -> tuple[Seen, Seen]:
    """Both ways, the plain one first."""
    with cloned(server) as target:
        naive = observed(change, target, rows, None)
    with cloned(server) as target, tempfile.TemporaryDirectory(prefix="foundry-bench-") as name:
        own = Path(name)
        (own / "migrations").mkdir()
        for file in (folder / "migrations").glob("*.py"):
            (own / "migrations" / file.name).write_text(file.read_text())
        (own / "after.py").write_text(models(change))
        migrate(("generate", "change"), "after", own, target)
        ours = observed(change, target, rows, own)
        migrate(("diff", "--check"), "after", own, target)
    for seen in (naive, ours):
        tell(f"    {seen.took:.1f} s, {spoken(seen)}; errors: {dict(seen.errors)}")
    return naive, ours


def spoken(seen: Seen) -> str:
    """The longest waits, and how long after the start of the change each began."""
    return "; ".join(
        f"{wait.what} {wait.seconds * 1e3:.0f} ms at {wait.began:.1f} s" for wait in seen.waits
    )


def show(found: Mapping[str, tuple[Seen, Seen]]) -> None:
    """Print both tables."""
    print("| change | naive: s | ours: s | before: ms | naive: longest stall, ms "
          "| ours: longest stall, ms | errors | lost or doubled | load |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    for name, (naive, ours) in found.items():
        errors = sum(naive.errors.values()), sum(ours.errors.values())
        print(
            f"| {name} | {naive.took:.1f} | {ours.took:.1f} "
            f"| {max(naive.before, ours.before) * 1e3:.0f} | {naive.waits[0].seconds * 1e3:.0f} "
            f"| {ours.waits[0].seconds * 1e3:.0f} | {errors[0]}, {errors[1]} "
            f"| {naive.wrong}, {ours.wrong} | {naive.load:.1f}, {ours.load:.1f} |"
        )
    print("\n| change | longest waits of ours |\n|---|---|")
    for name, (_, ours) in found.items():
        print(f"| {name} | {spoken(ours)} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", metavar="URL", help="a server (default: the embedded one)")
    parser.add_argument("--rows", type=int, default=1_500_000)
    parser.add_argument("--changes", metavar="NAME", nargs="+", help="words of their names")
    options = parser.parse_args()
    server = resolve(options.database or embedded.acquire().url())
    wanted = [
        c for c in CHANGES if not options.changes or any(n in c.name for n in options.changes)
    ]
    found = {}
    with tempfile.TemporaryDirectory(prefix="foundry-bench-") as name, databases(server, _SOURCE):
        tell(f"{options.rows} rows are made")
        (Path(name) / "migrations").mkdir()
        prepare(server, options.rows, Path(name))
        for change in wanted:
            tell(change.name)
            found[change.name] = measure(change, server, options.rows, Path(name))
        with closing(open_connection(server, dbname="postgres")) as connection:
            version = connection.info.parameter_status("server_version")
    print(f"PostgreSQL {version}, Python {sys.version.split()[0]}, {options.rows} rows, "
          f"{os.cpu_count()} processors\n")  # fmt: skip
    show(found)


if __name__ == "__main__":
    main()
