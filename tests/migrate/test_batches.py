"""A long UPDATE in batches comes to the same as the UPDATE."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from psycopg2 import errors
from psycopg2.extensions import connection
from support.migrations import rows, url_of
from support.server import Server

from foundry.database import Database, Target, connect, resolve
from foundry.errors import MigrationError
from foundry.migrate.batches import Batches, Whole, plan_batches, run
from foundry.migrate.statements import read

COUNT = "UPDATE t SET n = n + 1"
FILL = "UPDATE t SET n = 7 WHERE n IS NULL"
TABLE = "CREATE TABLE t (id serial PRIMARY KEY, n int)"
BY_HAND = "CREATE TABLE t (id int PRIMARY KEY, n int)"
THOUSAND = f"{TABLE}; INSERT INTO t SELECT i, 0 FROM generate_series(1, 1000) AS i"


class Stop(Exception):
    """What ends a run in the middle."""


@pytest.fixture(scope="module")
def place(server: Server) -> Iterator[Target]:
    """A database for all tests of this module."""
    name = server.create()
    yield resolve(server.url(name))
    server.drop(name)


@pytest.fixture
def empty(place: Target) -> Iterator[Target]:
    """The database with nothing in it."""
    yield place
    with closing(psycopg2.connect(**place.params)) as session:
        session.autocommit = True
        execute(session, "SET synchronous_commit = off")
        execute(session, 'DROP SCHEMA IF EXISTS public, ext, "a.b" CASCADE; CREATE SCHEMA public')


@pytest.fixture
def db(empty: Target) -> Iterator[Database]:
    """A connection on an empty database."""
    pool = connect(url_of(empty), bind=False, pool_size=1, max_overflow=0)
    with pool.connection_context():
        # Batches are many commits, and no test here cuts the power.
        execute(pool, "SET synchronous_commit = off")
        yield pool
    pool.close_all()


@pytest.fixture
def other(empty: Target) -> Iterator[connection]:
    """Another session, which commits each statement."""
    with closing(psycopg2.connect(**empty.params)) as session:
        session.autocommit = True
        yield session


def execute(on: Any, sql: str) -> None:
    on.cursor().execute(sql)


def planned(db: Database, sql: str, *, note: str | None = None) -> Batches | Whole:
    update = read(sql).update
    assert update is not None
    return plan_batches(db, update, note=note)


def batches(db: Database, sql: str, *, note: str | None = None) -> Batches:
    found = planned(db, sql, note=note)
    assert isinstance(found, Batches), found
    return found


class Journal:
    """A table for the note, as the runner has one; it may be told to fail."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.saved = 0
        self.fails: int | None = None
        execute(db, "CREATE TABLE IF NOT EXISTS journal (note text)")

    def save(self, note: str) -> None:
        self.saved += 1
        cursor = self.db.cursor()
        cursor.execute("DELETE FROM journal; INSERT INTO journal VALUES (%s)", (note,))
        if self.saved == self.fails:
            raise Stop

    def note(self) -> str | None:
        return next((r[0] for r in rows_of(self.db, "SELECT note FROM journal")), None)


def rows_of(db: Database, query: str) -> list[tuple[Any, ...]]:
    cursor = db.cursor()
    cursor.execute(query)
    return list(cursor.fetchall())


def ran(db: Database, sql: str, **options: Any) -> tuple[int, int]:
    """Run a statement in batches of 7; returns the rows changed and how often was committed."""
    journal = Journal(db)
    changed = run(db, batches(db, sql), save=journal.save, **{"size": 7, **options})
    return changed, journal.saved


# Type of the key, an expression of i for its value, and what else to say of the column.
KEYS = {
    "int": ("int", "500 - i", ""),
    "bigint": ("bigint", "i * 10000000000 - 5", ""),
    "uuid": ("uuid", "gen_random_uuid()", ""),
    "numeric": ("numeric", "i / 7.0", ""),
    "numeric NaN": ("numeric", "CASE WHEN i = 50 THEN 'NaN' ELSE i / 3.0 END", ""),
    "timestamptz": ("timestamptz", "'2026-10-25'::timestamptz + i * '1 s 1 us'::interval", ""),
    "infinity": ("date", "CASE WHEN i > 1 THEN '2026-01-01'::date + i ELSE 'infinity' END", ""),
    "float": ("float8", "i / 3.0", ""),
    "text": ("text", "(ARRAY['a', 'A', 'ä', '''', '\\', '%%s', '-'])[i %% 7 + 1] || i", ""),
    "text with a collation": ("text", "chr(64 + i %% 40) || i", 'COLLATE "C"'),
    "varchar": ("varchar(9)", "'x' || i", ""),
    "char": ("char(9)", "'x' || i", ""),
    "bytea": ("bytea", "decode(md5(i::text), 'hex')", ""),
    "date": ("date", "'2026-01-01'::date + i", ""),
    "inet": ("inet", "('10.0.0.' || i)::inet", ""),
    "name": ("name", "('N' || i)", ""),
    "bit": ("bit(8)", "i::bit(8)", ""),
    "array": ("int[]", "ARRAY[i %% 3, i]", ""),
    "jsonb": ("jsonb", "jsonb_build_object('a', i)", ""),
    "range": ("int4range", "int4range(i, i + 5)", ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_any_type_lead_through_all_rows(db: Database, kind: str) -> None:
    """Each row is changed once, whatever its key is."""
    type_, value, more = KEYS[kind]
    value = value.replace("%%", "%")
    execute(db, f'CREATE TABLE t ("the Key" {type_} {more} PRIMARY KEY, n int)')
    execute(db, f'INSERT INTO t ("the Key") SELECT {value} FROM generate_series(1, 100) AS i')
    assert (100, 30) == ran(db, FILL)
    assert [(7, 100)] == rows_of(db, "SELECT n, count(*) FROM t GROUP BY n")


@pytest.mark.parametrize(
    "definition",
    [
        "PRIMARY KEY (a, b)",
        "UNIQUE (b, a)",
        "PRIMARY KEY (b DESC, a DESC)",
        'PRIMARY KEY (a COLLATE "C", b)',
        "PRIMARY KEY (a) INCLUDE (b)",
        "PRIMARY KEY (a text_pattern_ops)",
    ],
)
def test_keys_of_several_columns_and_odd_indexes(db: Database, definition: str) -> None:
    """They are compared as their index does it."""
    execute(db, "CREATE TABLE t (a text NOT NULL, b int NOT NULL, n int)")
    kind, columns = definition.split(" (", 1)
    if "KEY" in kind and ("DESC" in columns or "COLLATE" in columns or "ops" in columns):
        kind = "UNIQUE"
    if kind == "UNIQUE":
        execute(db, f"CREATE UNIQUE INDEX ON t ({columns}")
    else:
        execute(db, f"ALTER TABLE t ADD {kind} ({columns}")
    execute(
        db,
        "INSERT INTO t (a, b) SELECT (ARRAY['a', 'B', 'á', 'Z', ''])[i % 5 + 1]"
        " || CASE WHEN i % 2 = 0 THEN '' ELSE i::text END || i, i FROM generate_series(1, 100) i",
    )
    assert (100, 30) == ran(db, FILL)
    assert [(7, 100)] == rows_of(db, "SELECT n, count(*) FROM t GROUP BY n")


def test_a_key_of_an_extension_outside_the_search_path(db: Database) -> None:
    """Where text would be compared instead, rows would be passed by."""
    try:
        execute(db, "CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext")
    except errors.FeatureNotSupported:
        pytest.skip("this server has no citext")
    execute(db, "CREATE TABLE t (a ext.citext PRIMARY KEY, n int)")
    execute(
        db,
        "INSERT INTO t (a) SELECT CASE WHEN i % 2 = 0 THEN chr(65 + i % 26)"
        " ELSE chr(97 + i % 26) END || i FROM generate_series(1, 100) AS i",
    )
    assert (100, 30) == ran(db, FILL)
    assert [(7, 100)] == rows_of(db, "SELECT n, count(*) FROM t GROUP BY n")
    # Without its namespace it would be the operator of text, which the index does not serve.
    assert "OPERATOR(ext.>)" == batches(db, FILL).key.more


def test_a_key_is_compared_with_the_collation_of_its_index(db: Database) -> None:
    """That of the column would not be served by it."""
    execute(db, "CREATE TABLE t (a text NOT NULL, n int)")
    execute(db, 'CREATE UNIQUE INDEX ON t (a COLLATE "C")')
    assert ('pg_catalog."C"',) == batches(db, FILL).key.collations


@pytest.mark.parametrize("fails", [1, 4, 143, None])
@pytest.mark.parametrize("where", ["in the batch", "behind it"])
def test_a_run_that_was_ended_goes_on_behind_its_last_batch(
    db: Database, fails: int | None, where: str
) -> None:
    """No row is changed twice, and none is left."""
    execute(db, THOUSAND)
    journal = Journal(db)
    passed: list[int] = []

    def progress(rows: int, total: int) -> None:
        passed.append(rows)
        if where == "behind it" and fails == len(passed):
            raise Stop

    if where == "in the batch":
        journal.fails = fails
    options: Any = {"save": journal.save, "size": 7, "progress": progress}
    if fails is not None:
        with pytest.raises(Stop):
            run(db, batches(db, COUNT), **options)
    journal.fails = None
    assert 1000 == run(db, batches(db, COUNT, note=journal.note()), **options)
    assert [(1, 1000)] == rows_of(db, "SELECT n, count(*) FROM t GROUP BY n")
    assert 1000 == passed[-1]
    # The journal was not written to its end when a run ended behind its last batch.
    assert 1000 == run(db, batches(db, COUNT, note=journal.note()), **options)
    assert [(1, 1000)] == rows_of(db, "SELECT n, count(*) FROM t GROUP BY n")


def test_a_batch_that_is_run_again_changes_its_rows_once(
    db: Database, other: connection, empty: Target
) -> None:
    """A row that another session holds ends the batch, not the run."""
    execute(db, THOUSAND)
    execute(db, "SET lock_timeout = '20ms'")
    other.autocommit = False
    execute(other, "UPDATE t SET n = n + 100 WHERE id = 500")
    failed: list[str] = []

    def retry(batch: Callable[[], Any]) -> Any:
        while True:
            try:
                return batch()
            except errors.LockNotAvailable:
                failed.append("here")
                if len(failed) == 3:
                    other.commit()

    assert (1000, 143) == ran(db, COUNT, retry=retry)
    assert 3 == len(failed)
    assert {(1, 999), (101, 1)} == set(rows(empty, "SELECT n, count(*) FROM t GROUP BY n"))


def test_each_batch_is_committed_before_the_next(db: Database, empty: Target) -> None:
    """Nobody waits for rows of earlier ones."""
    execute(db, THOUSAND)
    seen: list[object] = []

    def progress(passed: int, total: int) -> None:
        seen.append((passed, *rows(empty, "SELECT count(*) FROM t WHERE n = 1")[0]))

    ran(db, COUNT, size=300, progress=progress)
    assert [(300, 300), (600, 600), (900, 900), (1000, 1000)] == seen


def test_progress_ends_where_the_statistics_say(db: Database) -> None:
    """The estimate is never less than what was done."""
    execute(db, THOUSAND + "; ANALYZE t")
    seen: list[tuple[int, int]] = []
    ran(db, COUNT, size=600, progress=lambda *numbers: seen.append(numbers))
    assert [(600, 1000), (1000, 1000)] == seen


def test_rows_of_others_while_it_runs(db: Database, other: connection) -> None:
    """What was there is changed once; what is inserted behind the end of before is not."""
    execute(db, THOUSAND)

    def progress(passed: int, total: int) -> None:
        execute(other, f"DELETE FROM t WHERE id = {passed + 50}")
        execute(other, f"INSERT INTO t VALUES ({-passed}, 0), ({passed + 2000}, 0)")

    changed, _ = ran(db, COUNT, size=100, progress=progress)
    found = rows_of(db, "SELECT n, count(*), min(id), max(id) FROM t WHERE id BETWEEN 1 AND 1000 GROUP BY n")  # fmt: skip  # noqa: E501
    assert [(1, 991, 1, 1000)] == found
    assert 991 == changed
    assert [(0,)] == rows_of(db, "SELECT max(n) FROM t WHERE id NOT BETWEEN 1 AND 1000")


def test_what_is_filled_is_filled_behind_the_batches_too(db: Database, other: connection) -> None:
    """Rows that others insert or empty meanwhile are found by a second turn."""
    execute(db, f"{TABLE}; INSERT INTO t (id) SELECT i FROM generate_series(1, 1000) AS i")
    once: list[int] = []

    def progress(passed: int, total: int) -> None:
        if passed == 500:
            once.append(passed)
            execute(other, "INSERT INTO t VALUES (-5), (2000); UPDATE t SET n = NULL WHERE id = 3")

    changed, _ = ran(db, FILL, size=100, progress=progress)
    assert [500] == once
    assert 1003 == changed
    assert [(7, 1002)] == rows_of(db, "SELECT n, count(*) FROM t GROUP BY n")


def test_a_filling_run_that_was_ended_in_its_second_turn(db: Database, other: connection) -> None:
    """It goes on in it."""
    execute(db, f"{TABLE}; INSERT INTO t (id) SELECT i FROM generate_series(1, 100) AS i")
    journal = Journal(db)
    journal.fails = 12
    with pytest.raises(Stop):
        run(db, batches(db, FILL), save=journal.save, size=10)
    left = batches(db, FILL, note=journal.note())
    assert (2, ("10",)) == (left.start.turn, left.start.after)
    execute(other, "UPDATE t SET n = NULL WHERE id IN (5, 50)")
    assert 101 == run(db, left, save=journal.save, size=10)
    assert [(5,)] == rows_of(db, "SELECT id FROM t WHERE n IS NULL")


def test_conditions_aliases_and_comments(db: Database) -> None:
    """The statement's own text stays as it is."""
    execute(db, 'CREATE SCHEMA "a.b"; CREATE TABLE "a.b"."T%" (id serial PRIMARY KEY, "or" text)')
    execute(db, """INSERT INTO "a.b"."T%" SELECT i, '5%' FROM generate_series(1, 100) AS i""")
    text = (
        'UPDATE ONLY "a.b"."T%" AS "x y" -- SET n = 1\n'
        """SET "or" = "or" || '%s %% $1 WHERE' /* ; */ WHERE id > 10 -- a\n OR "x y".id = 5 -- b"""
    )
    assert (91, 15) == ran(db, text)
    assert [(91,)] == rows_of(
        db, """SELECT count(*) FROM "a.b"."T%" WHERE "or" = '5%%s %% $1 WHERE'"""
    )


@pytest.mark.parametrize("sql", [COUNT, FILL])
def test_an_empty_table_has_no_batches(db: Database, sql: str) -> None:
    """Nothing is saved either."""
    execute(db, TABLE)
    assert (0, 0) == ran(db, sql)


def test_partitions_are_gone_through_together(db: Database) -> None:
    """In the order of the key of the whole table."""
    execute(db, "CREATE TABLE t (id serial PRIMARY KEY, n int) PARTITION BY HASH (id)")
    for part in range(3):
        execute(db, f"CREATE TABLE t{part} PARTITION OF t FOR VALUES WITH (MODULUS 3, REMAINDER {part})")  # fmt: skip  # noqa: E501
    execute(db, "INSERT INTO t SELECT i, 0 FROM generate_series(1, 100) AS i")
    assert (100, 15) == ran(db, COUNT)
    assert [(1, 100)] == rows_of(db, "SELECT n, count(*) FROM t GROUP BY n")


def test_it_leaves_no_statement_or_setting_behind(db: Database) -> None:
    """Also when it is ended."""
    execute(db, THOUSAND)
    journal = Journal(db)
    journal.fails = 2
    with pytest.raises(Stop):
        run(db, batches(db, COUNT), save=journal.save, size=300)
    ran(db, COUNT)
    assert [] == rows_of(db, "SELECT name FROM pg_prepared_statements")
    shown = "SELECT current_setting('enable_seqscan'), current_setting('plan_cache_mode')"
    assert [("on", "auto")] == rows_of(db, shown)


def test_a_batch_reads_its_own_rows_only(db: Database) -> None:
    """Also of a table that nobody has analyzed, by a key of two columns."""
    execute(db, "CREATE TABLE t (a int, b int, n int, PRIMARY KEY (a, b))")
    execute(db, "ALTER TABLE t SET (autovacuum_enabled = false)")
    execute(db, "INSERT INTO t SELECT i / 100, i FROM generate_series(1, 20000) AS i")
    asked = "SELECT seq_scan, idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 't'"
    execute(db, "SELECT pg_stat_force_next_flush()")
    (before,) = rows_of(db, asked)
    ran(db, FILL, size=500)
    execute(db, "SELECT pg_stat_force_next_flush()")
    (after,) = rows_of(db, asked)
    assert before[0] == after[0]
    # Each row is looked at when its batch is found and when it is changed, and old versions
    # of it may be.
    assert after[1] - before[1] < 7 * 20000


WHOLE = {
    "no key": ("CREATE TABLE t (id int, n int)", COUNT, "no unique index"),
    "key that may be NULL": ("CREATE TABLE t (id int UNIQUE, n int)", COUNT, "no unique index"),
    "key of an expression": (
        "CREATE TABLE t (id int NOT NULL, n int); CREATE UNIQUE INDEX ON t (abs(id))",
        COUNT,
        "no unique index",
    ),
    "key of some rows": (
        "CREATE TABLE t (id int NOT NULL, n int); CREATE UNIQUE INDEX ON t (id) WHERE id > 0",
        COUNT,
        "no unique index",
    ),
    "key with two directions": (
        "CREATE TABLE t (id int NOT NULL, m int NOT NULL, n int);"
        " CREATE UNIQUE INDEX ON t (id, m DESC)",
        COUNT,
        "no unique index",
    ),
    "key that it sets": (TABLE, "UPDATE t SET id = id + 1", 'values of "id" are unique'),
    "unique values": (
        f"{TABLE}; CREATE UNIQUE INDEX ON t (n)", COUNT, 'values of "n" are unique'
    ),
    "unique in a partition": (
        "CREATE TABLE t (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);"
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (9);"
        "CREATE UNIQUE INDEX ON t1 (n)",
        COUNT,
        'values of "n" are unique',
    ),
    "unique where it is filled": (
        f"{TABLE}; CREATE UNIQUE INDEX ON t ((coalesce(n, 0) + id))",
        FILL,
        'values of "n" are unique',
    ),
    "excluded values": (
        f"{TABLE}; ALTER TABLE t ADD EXCLUDE USING btree (n WITH =)",
        COUNT,
        'values of "n" are unique',
    ),
    "children": (f"{TABLE}; CREATE TABLE u () INHERITS (t)", COUNT, "inherit"),
    "rule": (f"{TABLE}; CREATE RULE r AS ON UPDATE TO t DO ALSO NOTIFY x", COUNT, "rules"),
    "view": (f"{TABLE}; CREATE VIEW v AS TABLE t", "UPDATE v SET n = 1", "no ordinary table"),
    "nothing": (TABLE, "UPDATE x SET n = 1", 'no table "x"'),
    "wrong column": (TABLE, "UPDATE t SET n = y", 'cannot be seen .column "y" does not exist'),
    "key that others choose": (BY_HAND, COUNT, "could change rows that others insert"),
    "key at random": (
        "CREATE TABLE t (id uuid DEFAULT gen_random_uuid() PRIMARY KEY, n int)",
        COUNT,
        "without a key that counts up",
    ),
    "key that counts down": (
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY (INCREMENT -1) PRIMARY KEY, n int)",
        COUNT,
        "without a key that counts up",
    ),
    "moment": (TABLE, "UPDATE t SET n = extract(epoch FROM now())", "another moment"),
    "moment in the condition": (TABLE, f"{COUNT} WHERE CURRENT_DATE > '2020-01-01'", "another"),
    "trigger of a partition": (
        "CREATE TABLE t (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);"
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (9);"
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER x BEFORE UPDATE ON t1 FOR EACH ROW EXECUTE FUNCTION f()",
        FILL,
        'trigger "x"',
    ),
    "RETURNING": (TABLE, "UPDATE t SET n = 1 RETURNING n", "RETURNING"),
    "function": (
        f"{TABLE}; CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT sum(n) FROM t'",
        "UPDATE t SET n = f()",
        r"function f\(\)",
    ),
    "function in the condition": (
        f"{TABLE}; CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT sum(n) FROM t'",
        "UPDATE t SET n = 1 WHERE f() < 5",
        r"function f\(\)",
    ),
    "function of an operator": (
        f"{TABLE}; CREATE FUNCTION f(int, int) RETURNS bigint LANGUAGE sql STABLE"
        " AS 'SELECT $1 + $2 + sum(n) FROM t';"
        "CREATE OPERATOR <+> (LEFTARG = int, RIGHTARG = int, FUNCTION = f)",
        "UPDATE t SET n = n <+> 1",
        r"function f\(integer,integer\)",
    ),
    "function of a default": (
        f"{TABLE}; CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT sum(n) FROM t';"
        "ALTER TABLE t ALTER n SET DEFAULT f()",
        "UPDATE t SET n = default",
        r"function f\(\)",
    ),
}  # fmt: skip
FUNCTION = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
for name, trigger in {
    "trigger for a statement": "TRIGGER x AFTER UPDATE ON t",
    "trigger with old rows": "TRIGGER x AFTER UPDATE ON t REFERENCING OLD TABLE AS o FOR EACH ROW",
    "trigger before": "TRIGGER x BEFORE UPDATE OF n ON t",
    "trigger that may move the key": "TRIGGER x BEFORE UPDATE ON t FOR EACH ROW",
    "trigger that may look at other rows": "TRIGGER x AFTER UPDATE ON t FOR EACH ROW",
    "constraint trigger": "CONSTRAINT TRIGGER x AFTER UPDATE ON t DEFERRABLE FOR EACH ROW",
}.items():
    make = f"{TABLE}; {FUNCTION}; CREATE {trigger} EXECUTE FUNCTION f()"
    WHOLE[name] = (make, COUNT, 'trigger "x"')


@pytest.mark.parametrize("case", WHOLE)
def test_what_would_differ_in_parts_runs_whole(db: Database, case: str) -> None:
    """And the reason is said."""
    make, sql, reason = WHOLE[case]
    execute(db, make)
    found = planned(db, sql)
    assert isinstance(found, Whole)
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found.reason)
    assert [] == rows_of(db, "SELECT relname FROM pg_class WHERE relname LIKE 'foundry%'")


HARMLESS = {
    "trigger on another column": f"{FUNCTION}; CREATE TRIGGER x BEFORE UPDATE OF id ON t FOR EACH ROW EXECUTE FUNCTION f()",  # noqa: E501
    "trigger on INSERT": f"{FUNCTION}; CREATE TRIGGER x AFTER INSERT ON t EXECUTE FUNCTION f()",
    "trigger that is off": f"{FUNCTION}; CREATE TRIGGER x AFTER UPDATE ON t EXECUTE FUNCTION f(); ALTER TABLE t DISABLE TRIGGER x",  # noqa: E501
    "unique column that is filled": "CREATE UNIQUE INDEX ON t (n)",
    "foreign key to itself": "ALTER TABLE t ADD FOREIGN KEY (n) REFERENCES t",
    "rule on DELETE": "CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING",
}  # fmt: skip


@pytest.mark.parametrize("case", HARMLESS)
def test_what_is_the_same_in_parts_runs_in_batches(db: Database, case: str) -> None:
    """What no UPDATE of these columns meets is in nobody's way."""
    execute(db, f"{TABLE}; {HARMLESS[case]}; INSERT INTO t (id) SELECT generate_series(1, 50)")
    sql = "UPDATE t SET n = id WHERE (t.n IS NULL)"
    assert 50 == ran(db, sql)[0]
    assert [(50,)] == rows_of(db, "SELECT count(*) FROM t WHERE n = id")


def test_functions_of_the_server_and_immutable_ones_are_no_obstacle(db: Database) -> None:
    """They read no tables."""
    execute(db, f"{TABLE}; ALTER TABLE t ALTER n SET DEFAULT 5; ALTER TABLE t ADD u uuid")
    execute(db, "CREATE FUNCTION g(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'")
    sql = (
        "UPDATE t SET n = default, u = gen_random_uuid()"
        " WHERE g(n) > 1 AND clock_timestamp() > '2020-01-01'"
    )
    assert ("id",) == batches(db, sql).key.columns


def test_a_key_that_is_set_leaves_another_one(db: Database) -> None:
    """The column that is filled is unique, and so is the one that stays."""
    execute(db, "CREATE TABLE t (id int PRIMARY KEY, code text UNIQUE NOT NULL, n int)")
    assert ("id",) == batches(db, FILL).key.columns
    execute(db, "ALTER TABLE t DROP CONSTRAINT t_pkey")
    assert ("code",) == batches(db, FILL).key.columns


def test_not_null_that_was_never_checked_orders_nothing(db: Database) -> None:
    """Rows of before may have no key."""
    if db.connection().server_version < 180000:
        pytest.skip("this server checks every NOT NULL")
    execute(db, "CREATE TABLE t (id int UNIQUE, n int); INSERT INTO t VALUES (NULL, 0)")
    execute(db, "ALTER TABLE t ADD CONSTRAINT c NOT NULL id NOT VALID")
    assert isinstance(planned(db, FILL), Whole)
    execute(db, "UPDATE t SET id = 1; ALTER TABLE t VALIDATE CONSTRAINT c")
    assert isinstance(planned(db, FILL), Batches)


def test_row_security_that_applies_is_an_obstacle(db: Database, empty: Target, server: Any) -> None:
    """A policy may read any table."""
    execute(db, f"{TABLE}; ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    assert isinstance(planned(db, COUNT), Batches)
    with server.role() as role:
        execute(
            db, f"GRANT ALL ON SCHEMA public TO {role}; GRANT ALL ON t TO {role}; SET ROLE {role}"
        )
        assert Whole(reason="row security applies") == planned(db, COUNT)
        execute(db, f"RESET ROLE; DROP OWNED BY {role}")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD UNIQUE (code)", "that is no key any more"),
        ("ALTER TABLE t DROP CONSTRAINT t_pkey", "no unique index"),
        (f"{FUNCTION}; CREATE TRIGGER x AFTER UPDATE ON t EXECUTE FUNCTION f()", 'trigger "x"'),
    ],
)
def test_a_run_that_cannot_go_on_is_not_begun_again(db: Database, change: str, reason: str) -> None:
    """Rows would be changed twice; one that only fills may."""
    execute(db, "CREATE TABLE t (id serial PRIMARY KEY, code serial NOT NULL, n int)")
    execute(db, "INSERT INTO t SELECT i, i, 0 FROM generate_series(1, 30) AS i")
    journal = Journal(db)
    journal.fails = 3
    with pytest.raises(Stop):
        run(db, batches(db, COUNT), save=journal.save, size=7)
    execute(db, change)
    with pytest.raises(MigrationError, match=f'"t" was updated in part, .*"id".*{reason}'):
        planned(db, COUNT, note=journal.note())
    planned(db, FILL, note=journal.note())


def test_the_key_of_the_run_before_is_kept(db: Database) -> None:
    """Another one would be chosen for a new run."""
    execute(db, "CREATE TABLE t (id serial NOT NULL, code serial UNIQUE NOT NULL, n int)")
    execute(db, "INSERT INTO t SELECT 100 - i, i, 0 FROM generate_series(1, 30) AS i")
    journal = Journal(db)
    journal.fails = 3
    with pytest.raises(Stop):
        run(db, batches(db, COUNT), save=journal.save, size=7)
    execute(db, "ALTER TABLE t ADD PRIMARY KEY (id)")
    assert ("id",) == batches(db, COUNT).key.columns
    left = batches(db, COUNT, note=journal.note())
    assert 30 == run(db, left, save=journal.save, size=7)
    assert [(1, 30)] == rows_of(db, "SELECT n, count(*) FROM t GROUP BY n")


@pytest.mark.parametrize("kind", ["serial", "int GENERATED ALWAYS AS IDENTITY", "bigserial"])
def test_a_key_that_counts_up_leads_through_any_update(db: Database, kind: str) -> None:
    """What others insert comes behind all of it, and stays as it is."""
    execute(db, f"CREATE TABLE t (id {kind} PRIMARY KEY, n int)")
    assert batches(db, COUNT).key.grows


def test_a_key_that_got_another_type_is_another_one(db: Database, other: connection) -> None:
    """Its values have another order: what was filled in part is filled from the start."""
    execute(db, "CREATE TABLE t (id text PRIMARY KEY, n int)")
    execute(db, "INSERT INTO t SELECT i FROM generate_series(1, 400) AS i")
    journal = Journal(db)
    journal.fails = 100
    with pytest.raises(Stop):
        run(db, batches(db, FILL), save=journal.save, size=7)
    execute(other, "ALTER TABLE t ALTER id TYPE int USING id::int; UPDATE t SET n = NULL")
    run(db, batches(db, FILL, note=journal.note()), save=journal.save, size=7)
    assert [(7, 400)] == rows_of(db, "SELECT n, count(*) FROM t GROUP BY n")


def test_a_run_by_a_key_of_another_type_does_not_go_on(db: Database) -> None:
    """Where rows would be changed twice."""
    execute(db, THOUSAND)
    journal = Journal(db)
    journal.fails = 3
    with pytest.raises(Stop):
        run(db, batches(db, COUNT), save=journal.save, size=7)
    execute(db, "ALTER TABLE t ALTER id TYPE bigint")
    with pytest.raises(MigrationError, match="or one of other types"):
        planned(db, COUNT, note=journal.note())
