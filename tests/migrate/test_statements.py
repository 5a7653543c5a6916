"""What a statement needs of the runner is read off its text, as the server would read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2 import errors
from psycopg2.extensions import connection
from support.server import Server

from foundry.migrate.statements import (
    CreatesIndex,
    Detaches,
    DropsIndex,
    Reindexes,
    Statement,
    read,
)
from foundry.migrate.tokens import tokens
from foundry.migrate.updates import Update

SETUP = """
CREATE TABLE t (id int PRIMARY KEY, n int);
CREATE INDEX t_n ON t (n);
CLUSTER t USING t_pkey;
ALTER TABLE t ADD CONSTRAINT c CHECK (n > 0) NOT VALID;
CREATE TABLE p (id int) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9);
CREATE MATERIALIZED VIEW m AS SELECT 1 AS id;
CREATE UNIQUE INDEX ON m (id);
CREATE TYPE e AS ENUM ('a');
CREATE PROCEDURE q() LANGUAGE plpgsql AS 'BEGIN NULL; END';
CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION x WITH (connect = false, slot_name = 'x');
"""

ALONE = [
    "CREATE INDEX CONCURRENTLY ON t (n)",
    "create /* */ unique index Concurrently if not exists i on only t (n)",
    "DROP INDEX CONCURRENTLY t_n",
    "DROP INDEX CONCURRENTLY IF EXISTS public.t_n",
    "REINDEX INDEX CONCURRENTLY t_n",
    "REINDEX TABLE CONCURRENTLY t",
    "REINDEX (VERBOSE, CONCURRENTLY) TABLE t",
    "REINDEX (CONCURRENTLY ON) INDEX t_n",
    "REINDEX (CONCURRENTLY 1) INDEX t_n",
    "REINDEX (CONCURRENTLY false, CONCURRENTLY 'true') INDEX t_n",
    "REINDEX SCHEMA public",
    "REINDEX SCHEMA CONCURRENTLY public",
    "REINDEX (VERBOSE) SYSTEM {database}",
    "REINDEX DATABASE {database}",
    "VACUUM",
    "VACUUM FULL t",
    "VACUUM (ANALYZE) t",
    "CREATE DATABASE x",
    "DROP DATABASE x",
    "DROP DATABASE IF EXISTS x WITH (FORCE)",
    "ALTER DATABASE {database} SET TABLESPACE pg_default",
    "CREATE TABLESPACE x LOCATION '/x'",
    "DROP TABLESPACE x",
    "ALTER SYSTEM SET work_mem = '4MB'",
    "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY",
    "ALTER TABLE IF EXISTS public.p DETACH PARTITION public.p1 CONCURRENTLY",
    "CLUSTER",
    "CLUSTER VERBOSE",
    "DISCARD ALL",
    "CREATE SUBSCRIPTION y CONNECTION '' PUBLICATION x",
    "CREATE SUBSCRIPTION y CONNECTION '' PUBLICATION x WITH (enabled = false)",
    "CREATE SUBSCRIPTION y CONNECTION '' PUBLICATION x WITH (create_slot = true)",
    "DROP SUBSCRIPTION s",
    "ALTER SUBSCRIPTION s REFRESH PUBLICATION",
    "ALTER SUBSCRIPTION s SET PUBLICATION y",
    "ALTER SUBSCRIPTION s ADD PUBLICATION y WITH (copy_data = false)",
    "COMMIT PREPARED 'x'",
    "ROLLBACK PREPARED 'x'",
    "DO $do$ BEGIN COMMIT; END $do$",
    "DO LANGUAGE plpgsql 'BEGIN ROLLBACK; END'",
]

TOGETHER = [
    "CREATE INDEX concurrent ON t (n)",
    'CREATE INDEX "concurrently" ON t (n)',
    "CREATE TABLE concurrently_ (vacuum int)",
    "CREATE INDEX x ON t (n) WHERE n > 0 -- CONCURRENTLY",
    "DROP INDEX t_n",
    'DROP INDEX IF EXISTS "concurrently"',
    "REINDEX TABLE t",
    "REINDEX (VERBOSE) INDEX t_n",
    "REINDEX (CONCURRENTLY false) TABLE t",
    "REINDEX (CONCURRENTLY 'off', VERBOSE) TABLE t",
    "REINDEX (CONCURRENTLY, CONCURRENTLY 0) TABLE t",
    "ANALYZE t",
    "ANALYZE",
    "CLUSTER t",
    "CLUSTER t USING t_pkey",
    "CLUSTER VERBOSE t",
    "CLUSTER (VERBOSE) t",
    "DISCARD TEMP",
    "DISCARD PLANS",
    "REFRESH MATERIALIZED VIEW m",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY m",
    "ALTER TABLE t VALIDATE CONSTRAINT c",
    "ALTER TABLE p DETACH PARTITION p1",
    "ALTER TABLE t SET TABLESPACE pg_default",
    "ALTER DATABASE {database} SET work_mem = '4MB'",
    "ALTER TYPE e ADD VALUE 'b'",
    "ALTER SUBSCRIPTION s SET PUBLICATION y WITH (refresh = false)",
    "ALTER SUBSCRIPTION s SET (binary = true)",
    "ALTER SUBSCRIPTION s RENAME TO z",
    "CREATE SUBSCRIPTION y CONNECTION '' PUBLICATION x WITH (connect = false)",
    "TRUNCATE t",
    "DROP TABLE t",
    "CREATE ROLE foundry_role_x; DROP ROLE foundry_role_x",
    "CREATE DOMAIN d AS int CHECK (VALUE > 0)",
    "SELECT 'VACUUM; CREATE DATABASE x'",
    'SELECT $$ VACUUM $$ AS "DISCARD ALL"',
    "DO $$ BEGIN CREATE TEMP TABLE x (i int) ON COMMIT DROP; END $$",
    "DO $$ BEGIN /* COMMIT; */ PERFORM 'ROLLBACK'; END $$",
    "CALL q()",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END",
    "UPDATE t SET n = 1",
    "PREPARE x AS SELECT 1",
    "CHECKPOINT",
    "LISTEN x",
    "",
]


@pytest.fixture(scope="module")
def session(server: Server) -> Iterator[connection]:
    """A session on a database with something of everything, which keeps nothing."""
    name = server.create()
    with closing(psycopg2.connect(server.url(name))) as conn:
        conn.autocommit = True
        conn.cursor().execute(SETUP)
        yield conn
        conn.cursor().execute("ALTER SUBSCRIPTION s SET (slot_name = NONE); DROP SUBSCRIPTION s")
    server.drop(name)


def attempt(session: connection, sql: str) -> None:
    """Run a statement in a transaction block and take it back."""
    cursor = session.cursor()
    cursor.execute("BEGIN")
    try:
        if "ALTER SUBSCRIPTION s REFRESH" in sql or " PUBLICATION y" in sql:
            cursor.execute("ALTER SUBSCRIPTION s ENABLE")
        if sql:
            cursor.execute(sql.format(database=session.info.dbname))
    finally:
        cursor.execute("ROLLBACK")


@pytest.mark.parametrize("sql", ALONE)
def test_what_stands_alone_is_refused_in_a_transaction(session: connection, sql: str) -> None:
    """By the server, which must agree with the reading."""
    assert not read(sql.format(database="d")).transactional
    with pytest.raises((errors.ActiveSqlTransaction, errors.InvalidTransactionTermination)):
        attempt(session, sql)


@pytest.mark.parametrize("sql", TOGETHER)
def test_anything_else_is_not_refused_in_a_transaction(session: connection, sql: str) -> None:
    """The server runs it there."""
    assert read(sql).transactional
    assert not read(sql).control
    attempt(session, sql)


def test_what_only_newer_servers_know_stands_alone_too() -> None:
    """They refuse it, older ones call it no option."""
    assert not read("ALTER SUBSCRIPTION s SET (failover = true)").transactional
    assert not read("CLUSTER (VERBOSE)").transactional


@pytest.mark.parametrize(
    "sql",
    [
        *("BEGIN", "START TRANSACTION", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT x"),
        *("RELEASE x", "ROLLBACK TO x", "PREPARE TRANSACTION 'x'", "BEGIN; SELECT 1; COMMIT"),
    ],
)
def test_what_begins_or_ends_a_transaction_is_known(sql: str) -> None:
    """The runner has its own."""
    assert read(sql).control


PATIENT = {
    "CREATE INDEX CONCURRENTLY ON t (n)": True,
    "CREATE INDEX ON t (n)": False,
    "DROP INDEX CONCURRENTLY t_n": True,
    "REINDEX TABLE CONCURRENTLY t": True,
    "REINDEX SCHEMA x": False,
    "ALTER TABLE t VALIDATE CONSTRAINT c": True,
    "ALTER TABLE t VALIDATE CONSTRAINT c, VALIDATE CONSTRAINT d": True,
    "ALTER TABLE t VALIDATE CONSTRAINT c, ALTER n SET NOT NULL": False,
    "ALTER TABLE t ADD CHECK (n IN (1, 2))": False,
    "ALTER DOMAIN d VALIDATE CONSTRAINT c": False,
    "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY": False,
    "ALTER TABLE p DETACH PARTITION p1 FINALIZE": False,
    "REFRESH MATERIALIZED VIEW CONCURRENTLY m": True,
    "REFRESH MATERIALIZED VIEW m": False,
    "VACUUM t": True,
    "VACUUM (FULL) t": False,
    "VACUUM (FULL off) t": True,
    "VACUUM FULL t": False,
    "ANALYZE": True,
    "CLUSTER": False,
    "": False,
}


@pytest.mark.parametrize("sql", PATIENT)
def test_what_may_wait_is_known(sql: str) -> None:
    """Readers and writers go on meanwhile."""
    assert PATIENT[sql] == read(sql).patient


def index(name: str | None, *table: str, unique: bool = False, spared: bool = False) -> Statement:
    made = CreatesIndex(name=name, table=table, unique=unique, if_not_exists=spared)
    return Statement(transactional=False, patient=True, creates_index=made)


def drop(*name: str) -> Statement:
    dropped = DropsIndex(name=name)
    return Statement(transactional=False, patient=True, drops_index=dropped)


def rebuild(kind: str, *name: str) -> Statement:
    rebuilt = Reindexes(kind=kind, name=name)
    return Statement(transactional=False, patient=True, reindexes=rebuilt)


OBJECTS = {
    "CREATE INDEX CONCURRENTLY ON t (n)": index(None, "t"),
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (n)": index("i", "t", spared=True),
    "CREATE UNIQUE INDEX CONCURRENTLY if ON s.t (n)": index("if", "s", "t", unique=True),
    'CREATE INDEX CONCURRENTLY "on" ON ONLY "S"."T" USING gin (n)': index("on", "S", "T"),
    "CREATE INDEX CONCURRENTLY GRÖSSE ON ONLY (t) (n)": index("grÖsse", "t"),
    f"CREATE INDEX CONCURRENTLY {'x' * 70} ON t (n)": index("x" * 63, "t"),
    f'CREATE INDEX CONCURRENTLY "{"x" * 62}ä" ON t (n)': index("x" * 62, "t"),
    'CREATE INDEX CONCURRENTLY "a""b" ON "c d" (n)': index('a"b', "c d"),
    "CREATE INDEX CONCURRENTLY U&\"d!0061t!+000061\" UESCAPE '!' ON t (n)": index("data", "t"),
    'CREATE INDEX CONCURRENTLY u&"d\\0061t\\\\" ON t (n);': index("dat\\", "t"),
    "DROP INDEX CONCURRENTLY a.B": drop("a", "b"),
    "DROP INDEX CONCURRENTLY IF EXISTS a CASCADE": drop("a"),
    "REINDEX INDEX CONCURRENTLY a . b": rebuild("index", "a", "b"),
    "REINDEX (CONCURRENTLY) TABLE t": rebuild("table", "t"),
    "REINDEX SCHEMA CONCURRENTLY s": rebuild("schema", "s"),
    "REINDEX DATABASE CONCURRENTLY": rebuild("database"),
    "ALTER TABLE a.p DETACH PARTITION b.p1 CONCURRENTLY": Statement(
        transactional=False,
        detaches=Detaches(table=("a", "p"), partition=("b", "p1")),
    ),
}


def test_an_index_of_no_table_is_left_to_the_server() -> None:
    """It says what is missing."""
    assert read("CREATE INDEX CONCURRENTLY i t (n)").creates_index is None


@pytest.mark.parametrize("sql", OBJECTS)
def test_what_is_half_made_after_a_crash_is_named(sql: str) -> None:
    """With the names as the server makes them of the text."""
    assert OBJECTS[sql] == read(sql)


COUNTS = {
    "": 0,
    " ; -- x;\n /* ; /* ; */ ; */ ;": 0,
    "SELECT 1": 1,
    ";;SELECT ';', $$;$$, $a$;$$;$a$, \";\", E'\\';';": 1,
    "SELECT 1; SELECT 2": 2,
    "SELECT 'a'\n';' ; SELECT E'\\''\n'\\';'": 2,
    "SELECT 'a\\'; SELECT 2": 2,
    "SELECT a$b$; SELECT c$b$": 2,
    "SELECT $1; SELECT 2": 2,
    "SELECT 1 <--;\n 2": 1,
    "CREATE RULE r AS ON UPDATE TO t DO ALSO (SELECT 1; SELECT 2); SELECT 3": 2,
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; END; SELECT 3": 2,
    "CREATE OR REPLACE PROCEDURE f() BEGIN ATOMIC SELECT 1; SELECT (CASE WHEN a THEN 1 END);END": 1,
    "BEGIN; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'x'; END": 3,
    "SELECT 'open ; ": 1,
    'SELECT "open ; ': 1,
    "SELECT $x$ open ; $$": 1,
    "SELECT 1 /* open ; ": 1,
    "SELECT E'\\": 1,
    "SELECT ) ; SELECT 2": 2,
}


@pytest.mark.parametrize("sql", COUNTS)
def test_statements_are_counted(sql: str) -> None:
    """Semicolons in strings, names, comments, parentheses and bodies part nothing."""
    assert COUNTS[sql] == read(sql).count


def test_several_statements_are_one_transaction() -> None:
    """Nothing can be said of one of them."""
    sql = "CREATE INDEX CONCURRENTLY i ON t (n); UPDATE t SET n = 1"
    assert Statement(count=2, transactional=False) == read(sql)


def update(sql: str) -> Update:
    found = read(sql).update
    assert found is not None
    return found


OBSTACLES = {
    "UPDATE t SET a = 1, b = DEFAULT, c = f(1, 2) WHERE d BETWEEN 1 AND 2": "",
    "UPDATE t SET a = b IS DISTINCT FROM c WHERE a IS NOT DISTINCT FROM d": "",
    "UPDATE t SET a = extract(year FROM b), c = substring('x' FROM 1)": "",
    "UPDATE t SET a = '2020-01-01'::timestamp with time zone": "",
    'UPDATE t SET a = \'SELECT\', "table" = "values" -- RETURNING x': "",
    "UPDATE t SET a = 1 RETURNING *": "it has RETURNING",
    "UPDATE t SET a = u.a FROM u WHERE t.b = u.b": "it reads other tables",
    "UPDATE t SET a = (SELECT 1)": "it has a sub-SELECT",
    "UPDATE t SET a = 1 WHERE EXISTS (TABLE u)": "it has a sub-SELECT",
    "UPDATE t SET a = 1 WHERE b IN (VALUES (1))": "it has a sub-SELECT",
    "UPDATE t SET (a, b) = (SELECT 1, 2)": "it has a sub-SELECT",
    "UPDATE t SET a = ARRAY(SELECT 1)": "it has a sub-SELECT",
    "UPDATE t SET (a, b) = (1, 2)": "it sets several columns at once, or a part of one",
    "UPDATE t SET a[1] = 2": "it sets several columns at once, or a part of one",
    "UPDATE t SET a.b = 2": "it sets several columns at once, or a part of one",
    "UPDATE t SET a = 1 WHERE CURRENT OF c": "it is about the row of a cursor",
    "UPDATE t SET a = query_to_xml('TABLE t', true, true, '')": "it runs a query that is written as a string",  # noqa: E501
}


@pytest.mark.parametrize("sql", OBSTACLES)
def test_updates_that_cannot_be_split_are_known(sql: str) -> None:
    """As far as their texts say."""
    assert OBSTACLES[sql] == update(sql).obstacle


@pytest.mark.parametrize(
    "sql",
    ["WITH x AS (SELECT 1) UPDATE t SET a = 1", "UPDATE t", "UPDATE", "UPDATE t FOR a SET b = 1"],
)
def test_other_updates_are_none(sql: str) -> None:
    """Nor is what cannot be read."""
    assert read(sql).update is None


def test_the_parts_of_an_update_are_its_own_text() -> None:
    """Without comments at their ends, which would swallow what is put behind."""
    sql = (
        'UPDATE ONLY (a."B") -- x\n AS c SET "D" = 1 -- y\n, e = default /* z */'
        " WHERE f -- w\n OR g -- v"
    )
    found = update(sql)
    assert (("a", "B"), True, "c") == (found.table, found.only, found.reference)
    assert 'ONLY (a."B") -- x\n AS c' == found.relation
    assert '"D" = 1 -- y\n, e = default' == found.changes
    assert "f -- w\n OR g" == found.where
    assert [("D", "1"), ("e", "default")] == [(a.column, a.value) for a in found.assignments]
    assert ("t", False) == (update("UPDATE x.t* SET a = 1").reference, found.repeats)
    assert "set" == update('UPDATE t "set" SET a = 1').reference


FILLED = {
    "UPDATE t SET a = 1 WHERE a IS NULL": {"a"},
    'UPDATE t SET "A" = 1 WHERE (("t"."A" IS NULL) AND (b > 1 OR c IS NULL))': {"A"},
    "UPDATE t SET a = 1, b = 2 WHERE a IS NULL AND t.b IS NULL": {"a", "b"},
    "UPDATE t SET a = coalesce(a, 1), b = t.c WHERE a IS NULL": {"a"},
}
NOT_FILLED = [
    "UPDATE t SET a = 1",
    "UPDATE t SET a = 1 WHERE b IS NULL",
    "UPDATE t SET a = 1 WHERE a IS NOT NULL",
    "UPDATE t SET a = 1 WHERE a IS NULL OR b",
    "UPDATE t SET a = 1 WHERE b AND (a IS NULL OR c)",
    "UPDATE t SET a = 1 WHERE NOT (a IS NULL)",
    "UPDATE t SET a = 1 WHERE NOT a IS NULL",
    "UPDATE t SET a = 1 WHERE b BETWEEN c AND a IS NULL",
    "UPDATE t SET a = 1 WHERE 'a IS NULL' = b",
]
READ_BACK = [
    "UPDATE t SET a = b, b = b + 1 WHERE a IS NULL",
    "UPDATE t SET a = 1, b = to_jsonb(t) WHERE a IS NULL",
    "UPDATE t AS x SET a = 1, b = to_jsonb(x.*) WHERE a IS NULL",
    "UPDATE t SET a = 1 WHERE a IS NULL AND random() < 0.5",
]


@pytest.mark.parametrize("sql", FILLED)
def test_what_fills_may_be_run_again(sql: str) -> None:
    """A row that it filled is not meant any more."""
    assert (frozenset(FILLED[sql]), True) == (update(sql).filled, update(sql).repeats)


@pytest.mark.parametrize("sql", NOT_FILLED + READ_BACK)
def test_nothing_else_is_run_again(sql: str) -> None:
    """It could change a row that it has changed."""
    assert not update(sql).repeats
    assert (sql in READ_BACK) == bool(update(sql).filled)


# Characters that mean something to a lexer come up more often than by chance.
TEXTS = st.text(
    st.sampled_from("'\"\\$;-/*()[]\n\r\t abEeUu&x0é\u00a0")
    | st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    max_size=20,
)
WORDS = st.sampled_from([
    "; VACUUM", "'; COMMIT; --", "*/ VACUUM; /*", "$$;$$", "SELECT RETURNING", " CONCURRENTLY ",
])  # fmt: skip


def plain(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def escaped(text: str) -> str:
    return "e'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def dollars(text: str) -> str:
    tag = "$q$"
    while tag[:-1] in text:
        tag = tag[:-1] + "q$"
    return tag + text + tag


def unicode_name(text: str) -> str:
    return 'U&"' + "".join(f"\\+{ord(c):06x}" for c in text) + '"'


def name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def line(text: str) -> str:
    return "--" + text.replace("\n", " ").replace("\r", " ") + "\n"


def block(text: str) -> str:
    for end in ("/*", "*/"):
        while end in text:
            text = text.replace(end, f"{end[0]} {end[1]}")
    # A star or slash at the edges would join the comment's own.
    return f"/* {text} /*'*/ */"


LITERALS = st.builds(lambda write, t: write(t), st.sampled_from([plain, escaped, dollars]), TEXTS | WORDS)  # fmt: skip  # noqa: E501
COMMENTS = st.builds(lambda write, t: write(t), st.sampled_from([line, block]), TEXTS | WORDS)
NAMES = st.builds(lambda write, t: write("N" + t), st.sampled_from([name, unicode_name]), TEXTS | WORDS)  # fmt: skip  # noqa: E501

# L is a literal, N a name; a comment stands around each of the words.
TEMPLATES = [
    "CREATE INDEX CONCURRENTLY N ON N ( N ) WHERE N = L",
    "ALTER TABLE N VALIDATE CONSTRAINT N",
    "COMMENT ON TABLE N IS L",
    "UPDATE N AS N SET N = L , N = N WHERE N = L OR N IS NULL",
    "SELECT L , ( L ) FROM N ; VACUUM N ;",
    "DROP INDEX CONCURRENTLY N ;",
    "REINDEX ( CONCURRENTLY ) TABLE N",
]


def summary(sql: str) -> Any:
    s = read(sql)
    u = s.update
    return (
        (s.count, s.transactional, s.control, s.patient),
        [bool(x) for x in (s.creates_index, s.drops_index, s.reindexes, u)],
        u and (u.obstacle, len(u.assignments), u.only, bool(u.where)),
        [(t.kind, t.depth) for t in tokens(sql)],
    )


@given(st.data(), st.sampled_from(TEMPLATES))
def test_no_text_in_a_statement_changes_what_it_is(data: st.DataObject, template: str) -> None:
    """In literals, comments and identifiers."""
    written = {"L": LITERALS, "N": NAMES}
    words = template.split()
    simple = " ".join({"L": "'x'", "N": '"x"'}.get(word, word) for word in words)
    noisy = "".join(
        f"{data.draw(COMMENTS)} {data.draw(written.get(word, st.just(word)))} " for word in words
    )
    noisy += data.draw(COMMENTS)
    assert summary(simple) == summary(noisy)


@given(text=TEXTS | WORDS, write=st.sampled_from([name, unicode_name]))
def test_names_are_what_the_server_makes_of_them(
    session: connection, text: str, write: Any
) -> None:
    """In double quotes, with escapes, too long."""
    for written in (write("N" + text), write("N" * 60 + text)):
        cursor = session.cursor()
        cursor.execute(f"SELECT 1 AS {written}")
        assert cursor.description is not None
        assert cursor.description[0].name == tokens(written)[0].text


@given(parts=st.lists(LITERALS | COMMENTS | st.sampled_from(["\n", " ", "'x'", "E'\\''", "N'a'", "b'1'"]), max_size=6))  # fmt: skip  # noqa: E501
def test_literals_end_where_the_server_ends_them(session: connection, parts: list[str]) -> None:
    """One that goes on after a line end, too; what the server refuses is of no interest."""
    sql = f'SELECT 1 AS a, {"".join(parts)} AS "b;"'
    cursor = session.cursor()
    try:
        cursor.execute(sql)
    except psycopg2.Error:
        return
    assert cursor.description is not None
    assert ["a", "b;"] == [column.name for column in cursor.description]
    assert [1, "b;"] == [read(sql).count, tokens(sql)[-1].text]
    assert 8 == len(tokens(sql))
