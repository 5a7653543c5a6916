"""What the rules say of a step is what the server does: its locks and its own messages."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg2
import pytest
from peewee import PostgresqlDatabase
from support.ddl import (
    CASES,
    DEFAULTS,
    FK,
    INDEX,
    SETUP,
    T_TABLE,
    Case,
    T,
    added,
    altered,
    column,
    constrained,
    constraint,
    retyped,
)
from support.measured import (
    expected,
    observed,
    prepared,
    session,
    strongest,
    tables_of,
    version_of,
)

from foundry.database import Target
from foundry.migrate import catalog
from foundry.migrate.hazards import file_locks, file_losses, locks, losses, warnings
from foundry.migrate.modes import CONFLICTS, Mode, Work
from foundry.migrate.objects import Column, Constraint, Key, Object, Sequence, Table
from foundry.migrate.retyping import retyping
from foundry.migrate.rules import RULES, Context
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.steps import Step
from foundry.migrate.survival import rounds

CONTEXT = Context(version=180000, defaults=DEFAULTS)


@pytest.fixture(scope="module")
def standing(server: Any) -> Iterator[Target]:
    """A database with the tables of SETUP, left as it is by every case."""
    from foundry.database import resolve

    name = server.create()
    target = resolve(server.url(name))
    prepared(target)
    yield target
    server.drop(name)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.action}: {case.sql}")
def test_a_rule_says_what_the_server_does(case: Case, standing: Target) -> None:
    """Locks from pg_locks, work from the server's messages and file numbers; no alarm too many."""
    version = version_of(standing)
    if version < case.since:
        pytest.skip(f"needs PostgreSQL {case.since // 10000}")
    seen = observed(standing, case.sql)
    said = expected(case.step, version)
    assert said == seen.by_table
    assert seen.rewritten == {table for table, (_, work) in said.items() if work is Work.REWRITE}


@pytest.mark.parametrize(
    ("action", "statement"),
    [
        ("create index concurrently", 'CREATE INDEX CONCURRENTLY "x" ON "t" (n)'),
        ("drop index concurrently", 'DROP INDEX CONCURRENTLY "t_s"'),
    ],
)
def test_concurrent_work_lets_writers_write(action: str, statement: str, empty: Target) -> None:
    """Seen from outside, while it waits for a transaction that has the table open."""
    step = Step(action=action, sql=statement, after=INDEX)
    # Of its own: what is cancelled leaves an INVALID index.
    with session(empty) as writer, session(empty) as builder:
        writer.execute(SETUP)
        tables = tables_of(writer)
        writer.execute("BEGIN; UPDATE t SET n = n; SELECT pg_current_xact_id()")
        builder.execute("SELECT pg_backend_pid()")
        pid = builder.fetchone()[0]

        def build() -> None:
            with pytest.raises(psycopg2.errors.QueryCanceled):
                builder.execute(statement)

        thread = threading.Thread(target=build)
        thread.start()
        seen: dict[str, Mode] = {}
        deadline = time.monotonic() + 20
        while not seen.get("t", Mode.ACCESS_SHARE) > Mode.ACCESS_SHARE:
            assert time.monotonic() < deadline
            seen = strongest(writer, pid, tables)
        writer.execute("SELECT pg_cancel_backend(%s)", (pid,))
        thread.join()
        writer.execute("ROLLBACK")
    assert {"t": seen["t"]} == {t: m for t, (m, _) in expected(step, 180000).items()}


PROOF = constraint("x", "CHECK", "CHECK ((n IS NOT NULL))")
PROVE = (
    Step(
        action="add constraint",
        sql='ALTER TABLE "t" ADD CONSTRAINT "x" CHECK (n IS NOT NULL) NOT VALID',
        after=PROOF,
    ),
    Step(
        action="validate constraint",
        sql='ALTER TABLE "t" VALIDATE CONSTRAINT "x"',
        before=PROOF,
        after=PROOF,
    ),
    Step(
        action="set not null",
        sql='ALTER TABLE "t" ALTER COLUMN "n" SET NOT NULL',
        before=column("n"),
        after=column("n", not_null=True),
    ),
)


DOMAINS = """
CREATE DOMAIN num AS int; CREATE DOMAIN pos AS int CHECK (value > 0); CREATE DOMAIN num2 AS num;
CREATE DOMAIN word AS varchar(10); CREATE DOMAIN word2 AS word; CREATE DOMAIN price AS numeric(8,2);
CREATE TABLE r (id num PRIMARY KEY);
CREATE TABLE t (a int, n num, n2 num2, p pos, w word, w2 word2, v varchar(10), v5 varchar(5),
    x text, c price, f num REFERENCES r, g int REFERENCES r, ns num[]);
INSERT INTO r VALUES (1); INSERT INTO t (a, n, f, g) VALUES (1, 1, 1, 1);
"""


def changed(columns: dict[str, Column], name: str, type: str) -> tuple[Column, Column]:
    """A column, and what it is with another type."""
    like = next((c for c in columns.values() if c.type == type), None)
    base, checked = (like.base, like.checked) if like else ("", False)
    return columns[name], replace(columns[name], type=type, base=base, checked=checked)


@pytest.mark.parametrize(
    ("name", "type"),
    [
        *(("n", "integer"), ("n", "bigint"), ("n", "num2"), ("n", "pos"), ("n2", "num")),
        *(("n2", "integer"), ("p", "integer"), ("p", "num"), ("a", "num"), ("a", "pos")),
        *(("w", "text"), ("w", "character varying"), ("w", "character varying(10)")),
        *(("w", "character varying(5)"), ("w2", "text"), ("w2", "word"), ("v", "word")),
        *(("v5", "word"), ("x", "word"), ("c", "numeric"), ("c", "numeric(8,2)")),
        *(("c", "integer"), ("ns", "integer[]"), ("f", "integer"), ("f", "bigint"), ("g", "num")),
        ("g", "bigint"),
    ],
)
def test_what_a_domain_costs_is_what_the_server_does(
    domains: tuple[Target, Snapshot], name: str, type: str
) -> None:
    """To it, from it, and from one to another; and where a foreign key is on the column."""
    target, live = domains
    found = {c.name: c for c in live.of_table(Column, ("public", "t"))}
    before, after = changed(found, name, type)
    sql = f"ALTER TABLE t ALTER COLUMN {name} TYPE {type}"
    step = Step(action="retype column", sql=sql, before=before, after=after)
    seen = observed(target, sql)
    said = keyed(step, live)
    assert {t for t, (_, w) in said.items() if w is Work.REWRITE} == seen.rewritten
    assert {t: m for t, (m, _) in said.items()} == {t: m for t, (m, _) in seen.by_table.items()}


KEYS = """
CREATE TABLE r (id int PRIMARY KEY, n int);
CREATE TABLE t (id int PRIMARY KEY, n int REFERENCES r, m int, self int REFERENCES t);
INSERT INTO r VALUES (1, 1); INSERT INTO t VALUES (1, 1, 1, 1);
"""


@pytest.mark.parametrize(
    ("action", "table", "column", "sql"),
    [
        ("drop table", "t", "", "DROP TABLE t"),
        ("drop column", "t", "n", "ALTER TABLE t DROP COLUMN n"),
        ("drop column", "t", "m", "ALTER TABLE t DROP COLUMN m"),
        ("drop column", "r", "n", "ALTER TABLE r DROP COLUMN n"),
        ("retype column", "t", "m", "ALTER TABLE t ALTER COLUMN m TYPE bigint"),
        ("retype column", "t", "n", "ALTER TABLE t ALTER COLUMN n TYPE bigint"),
        ("retype column", "r", "id", "ALTER TABLE r ALTER COLUMN id TYPE bigint"),
    ],
)
def test_a_foreign_key_that_goes_along_locks_the_other_table_too(
    empty: Target, action: str, table: str, column: str, sql: str
) -> None:
    """Nobody can read it meanwhile, although the statement does not name it."""
    live = snapshot(empty, KEYS)
    place = ("public", table)
    before = there(live, ("column", *place, column) if column else ("table", *place))
    after = replace(before, type="bigint") if isinstance(before, Column) else None
    after = after if action == "retype column" else None
    step = Step(action=action, sql=sql, before=before, after=after)
    assert keyed(step, live) == observed(empty, sql).by_table


def test_a_foreign_key_that_went_before_locks_nothing_any_more(empty: Target) -> None:
    """The other table is free by then."""
    live = snapshot(empty, KEYS)
    key = there(live, ("constraint", "public", "t", "t_n_fkey"))
    gone = Step(action="drop constraint", sql="ALTER TABLE t DROP CONSTRAINT t_n_fkey", before=key)
    step = Step(
        action="drop table", sql="DROP TABLE t", before=there(live, ("table", "public", "t"))
    )
    context = Context(version=180000, keys=live.kind(Constraint), earlier=(gone,))
    assert (("t", "ACCESS EXCLUSIVE", "instant"),) == locks(step, context)


def snapshot(target: Target, sql: str) -> Snapshot:
    """What a database has after some statements."""
    with session(target) as cursor:
        cursor.execute(sql)
    database = PostgresqlDatabase(
        target.dbname, **{k: v for k, v in target.params.items() if k != "dbname"}
    )
    with database.connection_context():
        return catalog.read(database, {"public": "public"}, search_path=("public",))


def there(live: Snapshot, key: Key) -> Object:
    """What a database has by that key."""
    found = live.get(key)
    assert found is not None
    return found


def keyed(step: Step, live: Snapshot) -> dict[str, tuple[Mode, Work]]:
    """Lock and work by table, as the rules have it who know the foreign keys."""
    keys = tuple(c for c in live.kind(Constraint) if c.references)
    return {
        table: (Mode[lock.replace(" ", "_")], Work[work.upper()])
        for table, lock, work in locks(step, Context(version=180000, keys=keys))
    }


@pytest.fixture(scope="module")
def domains(server: Any) -> Iterator[tuple[Target, Snapshot]]:
    """A database with columns of domains, left as it is by every case."""
    from foundry.database import resolve

    name = server.create()
    target = resolve(server.url(name))
    yield target, snapshot(target, DOMAINS)
    server.drop(name)


def test_a_proven_not_null_is_instant(standing: Target) -> None:
    """The server and the rule both see the check that was validated before."""
    with session(standing) as cursor:
        cursor.execute("BEGIN")
        for step in PROVE[:2]:
            cursor.execute(step.sql)
        cursor.execute("SET LOCAL client_min_messages = debug1")
        cursor.connection.notices.clear()
        cursor.execute(PROVE[2].sql)
        notices = list(cursor.connection.notices)
        cursor.execute("ROLLBACK")
    assert [] == [n for n in notices if "verifying" in n]
    proven = Context(version=180000, earlier=PROVE[:2])
    assert (("t", "ACCESS EXCLUSIVE", "instant"),) == locks(PROVE[2], proven)
    unproven = Context(version=180000, earlier=PROVE[:1])
    assert (("t", "ACCESS EXCLUSIVE", "scan"),) == locks(PROVE[2], unproven)


def test_a_check_of_another_column_proves_nothing() -> None:
    """Nor does one that says more or less than NOT NULL."""
    for text in ("CHECK ((r IS NOT NULL))", "CHECK (((n IS NOT NULL) OR (r > 0)))"):
        other = constraint("x", "CHECK", text)
        earlier = (Step(action="validate constraint", sql="", before=other, after=other),)
        found = locks(PROVE[2], Context(version=180000, earlier=earlier))
        assert (("t", "ACCESS EXCLUSIVE", "scan"),) == found


def test_a_file_names_each_table_once_a_lock() -> None:
    """What a stronger lock with as much work stands for is left out."""
    assert (
        ("t", "SHARE UPDATE EXCLUSIVE", "scan"),
        ("t", "ACCESS EXCLUSIVE", "instant"),
    ) == tuple(sorted(file_locks(PROVE, CONTEXT), reverse=True))


def test_tables_of_the_same_plan_are_not_spoken_of() -> None:
    """Nobody uses them yet; the standing table that a key of theirs references is."""
    made = Step(action="create table", sql="", after=T_TABLE, standing=False)
    key = constraint("x", "FOREIGN KEY", "FOREIGN KEY (n) REFERENCES r(id)", **FK)
    step = Step(action="add constraint", sql="", after=key, standing=False)
    assert (("r", "SHARE ROW EXCLUSIVE", "instant"),) == file_locks((made, step), CONTEXT)
    other = Step(
        action="create table", sql="", after=Table(namespace="public", name="r"), standing=False
    )
    assert () == file_locks((made, other, step), CONTEXT)


def test_tables_are_named_as_the_server_prints_them() -> None:
    """Other namespaces stand before the name, and what needs quotes has them."""
    odd = Table(namespace="my app", name="T")
    step = Step(action="set row security", sql="", before=odd, after=odd)
    assert '"my app"."T"' == locks(step, CONTEXT)[0][0]
    assert '"T"' == locks(step, Context(version=180000, namespace="my app"))[0][0]


def test_words_in_a_name_are_no_words_of_the_statement() -> None:
    """A constraint may be called "NOT VALID"."""
    step = Step(
        action="add constraint",
        sql='ALTER TABLE "t" ADD CONSTRAINT " NOT VALID" CHECK (s <> \' NOT VALID\')',
        after=constraint(" NOT VALID", "CHECK", ""),
    )
    assert (("t", "ACCESS EXCLUSIVE", "scan"),) == locks(step, CONTEXT)


def test_what_is_lost_is_said_in_words() -> None:
    """Rows and values; a definition can be written again."""
    dropped = Step(action="drop column", sql="", before=column("note"))
    assert ("column t.note and its values",) == losses(dropped, CONTEXT)
    gone = Step(action="drop table", sql="", before=T_TABLE)
    assert ("table t and its rows",) == losses(gone, CONTEXT)
    assert ("column t.note and its values", "table t and its rows") == file_losses(
        (dropped, dropped, gone), CONTEXT
    )
    computed = column("note", generated="STORED")
    assert () == losses(Step(action="drop column", sql="", before=computed), CONTEXT)
    assert () == losses(Step(action="drop index", sql="", before=INDEX), CONTEXT)
    alone = Sequence(namespace="public", name="s", type="bigint", options="")
    owned = Sequence(
        namespace="public", name="s", type="bigint", options="", owner=("public", "t", "n")
    )
    left, replaced = (Step(action="drop sequence", sql="", before=s) for s in (alone, owned))
    assert ("sequence s and where it stands",) == losses(left, CONTEXT)
    assert () == losses(replaced, CONTEXT)


def test_rounding_is_a_loss_where_no_check_finds_it() -> None:
    """PostgreSQL 15 cannot be asked which values fit."""
    old, new = "text", "date"
    step = Step(action="retype column", sql="", before=column("n", old), after=column("n", new))
    assert (f"what {new} does not hold of {old} in t.n",) == losses(step, Context(version=150000))
    assert () == losses(step, Context(version=180000))
    assert not rounds("numeric(10,2)", "numeric(12,4)", version=150000)
    assert not rounds("numeric(10,4)[]", "numeric(10,2)[]", version=150000)


@pytest.mark.parametrize(
    ("before", "after", "work"),
    [
        ("vector(3)", "vector", Work.INSTANT),
        ("vector", "vector(3)", Work.REWRITE),
        ("vector(3)", "halfvec(3)", Work.REWRITE),
        ("shade", "text", Work.REWRITE),
        ("integer", "integer", Work.INSTANT),
    ],
)
def test_types_of_extensions(before: str, after: str, work: Work) -> None:
    """A pair that nobody measured is taken for a rewrite."""
    assert work is retyping(before, after)


def test_warnings_name_the_step_the_effect_and_the_way_out() -> None:
    """Only for what lasts, and only for tables in use."""
    step = Step(action="create index", sql='CREATE INDEX "x" ON "t" (n)', after=INDEX)
    (warning,) = warnings((step,), CONTEXT)
    assert warning.startswith("create index x on t: an index is built")
    assert warning.endswith("build it CONCURRENTLY in a file of its own")
    assert () == warnings(PROVE[:2], CONTEXT)


def test_values_for_rows_that_are_there_have_a_line_of_their_own() -> None:
    """No lock that lets writers write stands for what keeps rows locked."""
    filled = Step(action="fill column", sql="UPDATE t SET n = 1", after=column("n"))
    assert (
        ("t", "ROW EXCLUSIVE", "fill"),
        ("t", "ACCESS EXCLUSIVE", "instant"),
        ("t", "SHARE UPDATE EXCLUSIVE", "scan"),
    ) == file_locks((filled, *PROVE), CONTEXT)


@pytest.mark.parametrize(
    ("case", "partitioned", "said"),
    [
        (constrained("EXCLUDE", "EXCLUDE USING gist (n WITH =)"), False, "no other way"),
        (constrained("UNIQUE", "UNIQUE (n)"), False, "USING INDEX"),
        (constrained("UNIQUE", "UNIQUE (n)"), True, "no other way"),
        (added("int GENERATED ALWAYS AS (1) STORED", generated="STORED"), False, "VIRTUAL"),
        (added("int GENERATED ALWAYS AS IDENTITY", identity="ALWAYS"), False, "in batches"),
        (altered("set not null", "SET NOT NULL", not_null=True), False, "validate a check"),
        (altered("set not null", "SET NOT NULL", not_null=True), True, "no other way"),
        (retyped("n", "integer", "bigint"), True, "in batches"),
    ],
)
def test_advice_can_be_followed(case: Case, partitioned: bool, said: str) -> None:
    """Not all that a plain table can do, a partitioned one can; for some there is no other way."""
    tables = frozenset({T} if partitioned else ())
    (warning,) = warnings((case.step,), Context(version=180000, partitioned=tables))
    assert said in warning.rpartition("; nobody")[2].partition(";")[2]


def test_rules_have_names_of_their_own() -> None:
    """One registry: an id says one thing."""
    assert len(RULES) == len({rule.id for rule in RULES})


def test_every_rule_has_a_case() -> None:
    """A rule that no case reaches is not known to be true."""
    from foundry.migrate.rules import rule_for

    steps = [case.step for case in CASES] + [
        Step(action="create index concurrently", sql="CREATE INDEX CONCURRENTLY", after=INDEX),
        Step(action="drop index concurrently", sql="DROP INDEX CONCURRENTLY", before=INDEX),
        Step(action="add column", sql="", after=column("x", not_null=True)),
        Step(
            action="add constraint",
            sql="",
            after=constraint("x", "FOREIGN KEY", "FOREIGN KEY (n) REFERENCES r(id)", **FK),
            standing=False,
        ),
    ]
    reached = {rule.id for step in steps if (rule := rule_for(step, CONTEXT))}
    assert set() == {rule.id for rule in RULES} - reached


def test_lock_modes_exclude_each_other_both_ways() -> None:
    """As in the manual's table, which is symmetric."""
    for mine in Mode:
        for other in Mode:
            assert mine.conflicts(other) == other.conflicts(mine)
    assert 38 == sum(len(others) for others in CONFLICTS.values())
