"""What the rules say of a step is what the server does: its locks and its own messages."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from support.ddl import (
    CASES,
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
from foundry.migrate.hazards import file_locks, file_losses, locks, losses, warnings
from foundry.migrate.modes import CONFLICTS, Mode, Work
from foundry.migrate.objects import Sequence, Table
from foundry.migrate.retyping import retyping
from foundry.migrate.rules import RULES, Context
from foundry.migrate.steps import Step
from foundry.migrate.survival import rounds

CONTEXT = Context(version=180000)


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
