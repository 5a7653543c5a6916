"""Objects of every kind as the server prints them, read from a real one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import peewee
import psycopg2
import pytest
from support.server import Server

from foundry.database import Target
from foundry.errors import LockTimeout
from foundry.migrate import catalog
from foundry.migrate.objects import (
    Column,
    Constraint,
    Enum,
    Extension,
    Function,
    Grant,
    Index,
    Namespace,
    Policy,
    Sequence,
    Table,
    Trigger,
    View,
)
from foundry.migrate.snapshot import Snapshot

BIGINT = "INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1 NO CYCLE"
INTEGER = "INCREMENT BY 1 MINVALUE 1 MAXVALUE 2147483647 START WITH 1 CACHE 1 NO CYCLE"


class Counting(peewee.PostgresqlDatabase):
    """Counts what it sends."""

    sent = 0

    def execute_sql(self, *arguments: Any, **options: Any) -> Any:
        self.sent += 1
        return super().execute_sql(*arguments, **options)


@pytest.fixture
def database(empty: Target) -> Iterator[Counting]:
    params = {k: v for k, v in empty.params.items() if k != "dbname"}
    found = Counting(empty.dbname, **params)
    found.connect()
    yield found
    found.close()


def run(database: peewee.Database, *statements: str) -> None:
    for statement in statements:
        database.execute_sql(statement.replace("%", "%%"), ())


def live(database: peewee.Database, *others: str) -> Snapshot:
    names = {name: name for name in ("public", *others)}
    return catalog.read(database, names, search_path=["public"])


def read(database: peewee.Database, *statements: str) -> Snapshot:
    run(database, *statements)
    return live(database)


def newer(database: peewee.Database, version: int) -> bool:
    return catalog.server_version(database) >= version * 10000


def columns(snapshot: Snapshot, table: str = "t") -> dict[str, Column]:
    return {c.name: c for c in snapshot.of_table(Column, ("public", table))}


def of(snapshot: Snapshot, kind: type[Any], name: str, table: str = "t") -> Any:
    (found,) = (o for o in snapshot.of_table(kind, ("public", table)) if o.name == name)
    return found


def test_an_empty_database_has_its_namespace_and_nothing_else(database: Counting) -> None:
    """What every database has from the start, and the comment on it, is not told of."""
    assert {("namespace", "public"): Namespace(name="public")} == dict(live(database).objects)


def test_namespaces_are_those_of_people(database: Counting) -> None:
    """Neither the server's own nor temporary ones; one that is asked for and absent is left out."""
    run(database, 'CREATE SCHEMA "My App"', "CREATE TEMP TABLE t (id int)")
    run(database, """COMMENT ON SCHEMA "My App" IS 'ours'""")
    assert ("My App", "public") == catalog.namespaces(database)
    found = live(database, "My App", "absent").kind(Namespace)
    assert (Namespace(name="My App", comment="ours"), Namespace(name="public")) == found


def test_the_default_namespace_is_the_first_on_the_path(database: Counting) -> None:
    """Where unqualified names go."""
    assert "public" == catalog.default_namespace(database)
    run(database, "CREATE SCHEMA app", "SET search_path = app, public")
    assert "app" == catalog.default_namespace(database)


def test_a_table_has_its_flags_options_and_comment(database: Counting) -> None:
    """Storage parameters are sorted, those of its TOAST table among them."""
    found = read(
        database,
        "CREATE UNLOGGED TABLE t (id int NOT NULL, body text)"
        " WITH (toast.autovacuum_enabled = off, fillfactor = 70, autovacuum_enabled = off)",
        "CREATE UNIQUE INDEX by_id ON t (id)",
        "ALTER TABLE t REPLICA IDENTITY USING INDEX by_id",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "COMMENT ON TABLE t IS 'it''s a %s'",
    )
    assert [
        Table(
            namespace="public",
            name="t",
            unlogged=True,
            options=("autovacuum_enabled=off", "fillfactor=70", "toast.autovacuum_enabled=off"),
            row_security=True,
            force_row_security=True,
            replica_identity="USING INDEX by_id",
            comment="it's a %s",
        )
    ] == [*found.kind(Table)]


def test_partitions_say_what_they_are_part_of(database: Counting) -> None:
    """What a partition has from its parent is the parent's: columns, keys, indexes, triggers."""
    found = read(
        database,
        "CREATE TABLE other (id int PRIMARY KEY)",
        "CREATE TABLE t (id int PRIMARY KEY, n int CONSTRAINT positive CHECK (n > 0)"
        " REFERENCES other) PARTITION BY RANGE (id)",
        "CREATE INDEX by_n ON t (n)",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER changed AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (1) TO (10)",
        "CREATE TABLE t2 PARTITION OF t DEFAULT",
        "CREATE INDEX own ON t2 (n, id)",
        "ALTER TABLE t2 ADD CONSTRAINT own CHECK (n < 9)",
    )
    tables = {t.name: (t.partition_by, t.partition_of, t.bound) for t in found.kind(Table)}
    assert {
        "other": ("", None, ""),
        "t": ("RANGE (id)", None, ""),
        "t1": ("", ("public", "t"), "FOR VALUES FROM (1) TO (10)"),
        "t2": ("", ("public", "t"), "DEFAULT"),
    } == tables
    assert [("t", "by_n"), ("t2", "own")] == [(i.table[1], i.name) for i in found.kind(Index)]
    assert "USING btree (n)" == of(found, Index, "by_n").definition
    assert [
        ("other", "other_pkey"),
        ("t", "positive"),
        ("t", "t_n_fkey"),
        ("t", "t_pkey"),
        ("t2", "own"),
    ] == [(c.table[1], c.name) for c in found.kind(Constraint)]
    assert ["t"] == [t.table[1] for t in found.kind(Trigger)]
    assert [] == list(columns(found, "t1"))


def test_columns_come_in_order_with_their_types(database: Counting) -> None:
    """Positions count the columns that are there."""
    found = columns(
        read(
            database,
            "CREATE TABLE t (gone int, name varchar(40), at timestamptz(3), tags text[],"
            " price numeric(10, 2))",
            "ALTER TABLE t DROP COLUMN gone",
            "COMMENT ON COLUMN t.at IS 'when'",
        )
    )
    assert [
        ("name", "character varying(40)", 1, ""),
        ("at", "timestamp(3) with time zone", 2, "when"),
        ("tags", "text[]", 3, ""),
        ("price", "numeric(10,2)", 4, ""),
    ] == [(c.name, c.type, c.position, c.comment) for c in found.values()]
    assert Column(table=("public", "t"), name="tags", type="text[]") == found["tags"]


def test_not_null_has_a_name_where_the_server_has_one(database: Counting) -> None:
    """And may be unchecked there."""
    found = columns(read(database, "CREATE TABLE t (a int NOT NULL, b int)"))
    assert (True, False) == (found["a"].not_null, found["b"].not_null)
    if not newer(database, 18):
        assert "" == found["a"].not_null_name
        return
    assert ("t_a_not_null", True) == (found["a"].not_null_name, found["a"].not_null_valid)
    changed = read(database, "ALTER TABLE t ADD CONSTRAINT later NOT NULL b NOT VALID")
    later = columns(changed)["b"]
    assert (True, "later", False) == (later.not_null, later.not_null_name, later.not_null_valid)
    assert () == changed.kind(Constraint)


def test_a_default_tells_its_sequence_and_whether_rows_differ(database: Counting) -> None:
    """What calls a volatile function gives every row its own value; now() does not."""
    found = columns(
        read(
            database,
            "CREATE FUNCTION roll() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 6'",
            "CREATE TABLE t (id serial, word text DEFAULT 'it''s', at timestamptz DEFAULT now(),"
            " u uuid DEFAULT gen_random_uuid(), r float DEFAULT 1 - random(), own int DEFAULT"
            " roll(), moment timestamptz DEFAULT clock_timestamp(), sum int DEFAULT 1 + 1)",
        )
    )
    assert {
        "id": "nextval('t_id_seq'::regclass)",
        "word": "'it''s'::text",
        "at": "now()",
        "u": "gen_random_uuid()",
        "r": "((1)::double precision - random())",
        "own": "roll()",
        "moment": "clock_timestamp()",
        "sum": "(1 + 1)",
    } == {c.name: c.default for c in found.values()}
    assert ["id", "u", "r", "own", "moment"] == [c.name for c in found.values() if c.volatile]
    assert {"id": ("public", "t_id_seq")} == {n: c.sequence for n, c in found.items() if c.sequence}
    assert {"own": (("function", "public", "roll", ""),)} == {
        n: c.functions for n, c in found.items() if c.functions
    }


def test_a_column_tells_whether_its_domain_refuses_values(database: Counting) -> None:
    """By a check or NOT NULL, its own or that of a domain below; another domain refuses none."""
    found = columns(
        read(
            database,
            "CREATE DOMAIN free AS int",
            "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
            "CREATE DOMAIN required AS free NOT NULL",
            "CREATE DOMAIN above AS positive DEFAULT 1",
            "CREATE TABLE t (a int, b free, c positive, d required, e above, f positive[])",
        )
    )
    assert ["c", "d", "e"] == [c.name for c in found.values() if c.checked]


def test_an_identity_column_has_its_sequence_inside(database: Counting) -> None:
    """The sequence is no object of its own."""
    found = read(
        database,
        "CREATE TABLE t (a int GENERATED ALWAYS AS IDENTITY, b bigint GENERATED BY DEFAULT AS"
        " IDENTITY (SEQUENCE NAME other INCREMENT 5 MINVALUE 5 MAXVALUE 500 START 10 CACHE 3"
        " CYCLE))",
        "GRANT USAGE ON SEQUENCE other TO PUBLIC",
    )
    a, b = columns(found).values()
    assert ("ALWAYS", INTEGER, "t_a_seq") == (a.identity, a.identity_options, a.identity_sequence)
    spelled = "INCREMENT BY 5 MINVALUE 5 MAXVALUE 500 START WITH 10 CACHE 3 CYCLE"
    assert ("BY DEFAULT", spelled, "other") == (b.identity, b.identity_options, b.identity_sequence)
    assert ((), ()) == (found.kind(Sequence), found.kind(Grant))


def test_a_generated_column_tells_what_it_reads(database: Counting) -> None:
    """Stored everywhere, virtual on 18."""
    found = read(
        database,
        "CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 2'",
        "CREATE TABLE t (b int, a int, c int, s int GENERATED ALWAYS AS (twice(a) + b) STORED)",
    )
    s = columns(found)["s"]
    assert ("STORED", "(twice(a) + b)", ("a", "b")) == (s.generated, s.default, s.reads)
    assert ((("function", "public", "twice", "integer"),), False) == (s.functions, s.volatile)
    if newer(database, 18):
        run(database, "ALTER TABLE t ADD v int GENERATED ALWAYS AS (c + 1)")
        v = columns(live(database))["v"]
        assert ("VIRTUAL", "(c + 1)", ("c",)) == (v.generated, v.default, v.reads)


def test_collation_storage_and_the_like_only_where_they_differ(database: Counting) -> None:
    """A column that nobody tuned says nothing."""
    found = columns(
        read(
            database,
            'CREATE TABLE t (a text, b text COLLATE "C")',
            "ALTER TABLE t ALTER b SET STORAGE EXTERNAL, ALTER b SET STATISTICS 500,"
            " ALTER b SET (n_distinct = 5), ALTER b SET COMPRESSION pglz",
        )
    )
    assert Column(table=("public", "t"), name="a", type="text") == found["a"]
    assert (
        Column(
            table=("public", "t"),
            name="b",
            type="text",
            collation='pg_catalog."C"',
            storage="EXTERNAL",
            compression="pglz",
            statistics=500,
            options=("n_distinct=5",),
        )
        == found["b"]
    )


def test_an_enum_has_its_labels_in_order(database: Counting) -> None:
    """And columns of it, or of arrays of it, know it."""
    found = read(
        database,
        "CREATE TYPE mood AS ENUM ('sad', 'it''s \"ok\"')",
        "ALTER TYPE mood ADD VALUE 'calm' BEFORE 'sad'",
        "COMMENT ON TYPE mood IS 'how it feels'",
        "CREATE TYPE nothing AS ENUM ()",
        "CREATE TABLE t (a mood DEFAULT 'sad', b mood[], c name)",
    )
    mood, nothing = found.kind(Enum)
    labels = ("calm", "sad", 'it\'s "ok"')
    assert Enum(namespace="public", name="mood", labels=labels, comment="how it feels") == mood
    assert ("mood", ()) == (mood.spelling, nothing.labels)
    assert [("public", "mood"), ("public", "mood"), None] == [
        c.enum for c in columns(found).values()
    ]
    assert "'sad'::mood" == columns(found)["a"].default


def test_a_sequence_has_every_option_and_its_owner(database: Counting) -> None:
    """Spelled out, so that defaults need no knowledge."""
    found = read(
        database,
        "CREATE TABLE t (id serial)",
        "CREATE SEQUENCE s AS smallint INCREMENT -2 MAXVALUE 7 CYCLE CACHE 4",
        "COMMENT ON SEQUENCE s IS 'backwards'",
    )
    assert (
        Sequence(
            namespace="public",
            name="s",
            type="smallint",
            options="INCREMENT BY -2 MINVALUE -32768 MAXVALUE 7 START WITH 7 CACHE 4 CYCLE",
            comment="backwards",
        ),
        Sequence(
            namespace="public",
            name="t_id_seq",
            type="integer",
            options=INTEGER,
            owner=("public", "t", "id"),
        ),
    ) == found.kind(Sequence)


def test_a_key_carries_its_index(database: Counting) -> None:
    """INCLUDE, NULLS NOT DISTINCT and storage parameters with it."""
    found = read(
        database,
        "CREATE TABLE t (a int, b int, c int, PRIMARY KEY (b, a) INCLUDE (c) WITH (fillfactor = 70,"
        " deduplicate_items = off), CONSTRAINT u UNIQUE NULLS NOT DISTINCT (c)"
        " WITH (fillfactor = 60) DEFERRABLE INITIALLY DEFERRED)",
        "COMMENT ON CONSTRAINT u ON t IS 'one each'",
    )
    key, unique = of(found, Constraint, "t_pkey"), of(found, Constraint, "u")
    text = "(b, a) INCLUDE (c) WITH (fillfactor='70', deduplicate_items=off)"
    assert ("PRIMARY KEY", f"PRIMARY KEY {text}") == (key.kind, key.definition)
    assert (f"USING btree {text}", ("b", "a"), ("b", "a", "c")) == (
        key.index,
        key.columns,
        key.reads,
    )
    assert (
        Constraint(
            table=("public", "t"),
            name="u",
            kind="UNIQUE",
            definition="UNIQUE NULLS NOT DISTINCT (c) WITH (fillfactor='60')"
            " DEFERRABLE INITIALLY DEFERRED",
            comment="one each",
        )
        == unique
    )
    assert "DEFERRABLE INITIALLY DEFERRED" == unique.deferrable
    assert "USING btree (c) NULLS NOT DISTINCT WITH (fillfactor='60')" == unique.index
    assert () == found.kind(Index)


def test_an_options_definition_is_one_the_server_takes(database: Counting) -> None:
    """What is put into a definition, the server prints again."""
    found = read(
        database,
        "CREATE TABLE t (a int, CONSTRAINT u UNIQUE (a) WITH (fillfactor = 60) DEFERRABLE)",
    )
    definition = of(found, Constraint, "u").definition
    run(database, "ALTER TABLE t DROP CONSTRAINT u", f"ALTER TABLE t ADD CONSTRAINT u {definition}")
    assert found == live(database)


def test_an_exclusion_tells_what_its_expressions_use(database: Counting) -> None:
    """Its index does, rather."""
    found = read(
        database,
        "CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'",
        "CREATE TABLE t (a int, b int, d int, CONSTRAINT x EXCLUDE USING btree"
        " (a WITH =, f(b) WITH =) WITH (fillfactor = 50) WHERE (d > 0))",
    )
    x = of(found, Constraint, "x")
    rest = "WITH (fillfactor='50') WHERE (d > 0)"
    assert (
        f"EXCLUDE USING btree (a WITH =, f(b) WITH =) {rest.replace('(d', '((d')})" == x.definition
    )
    assert f"USING btree (a, f(b)) {rest}" == x.index
    assert (("a",), ("a", "b", "d")) == (x.columns, x.reads)
    assert (("function", "public", "f", "integer"),) == x.functions


def test_a_check_has_its_expression_and_validity(database: Counting) -> None:
    """NOT VALID is an attribute, NO INHERIT is definition."""
    found = read(
        database,
        "CREATE FUNCTION f(text) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT true'",
        "CREATE TABLE t (a int, b text, ok bool)",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0 AND f(b)) NO INHERIT NOT VALID",
        "ALTER TABLE t ADD CONSTRAINT d CHECK (ok)",
    )
    c, d = of(found, Constraint, "c"), of(found, Constraint, "d")
    assert ("CHECK (((a > 0) AND f(b))) NO INHERIT", False) == (c.definition, c.valid)
    assert ("(((a > 0) AND f(b)))", ("a", "b")) == (c.expression, c.columns)
    assert (("function", "public", "f", "text"),) == c.functions
    assert ("CHECK (ok)", "(ok)", True) == (d.definition, d.expression, d.valid)


def test_a_constraint_that_is_not_enforced_waits_for_no_validation(database: Counting) -> None:
    """It says so in its definition."""
    if not newer(database, 18):
        pytest.skip("NOT ENFORCED came with PostgreSQL 18")
    found = read(database, "CREATE TABLE t (a int CONSTRAINT c CHECK (a > 0) NOT ENFORCED)")
    c = of(found, Constraint, "c")
    assert ("CHECK ((a > 0)) NOT ENFORCED", True) == (c.definition, c.valid)


def test_a_foreign_key_knows_both_ends(database: Counting) -> None:
    """Also where the other end is in a namespace nobody asked for."""
    found = read(
        database,
        "CREATE SCHEMA away",
        "CREATE TABLE away.o (x int, y int, CONSTRAINT k UNIQUE (y, x))",
        "CREATE TABLE t (id int PRIMARY KEY, up int REFERENCES t ON DELETE CASCADE, a int, b int)",
        "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (b, a) REFERENCES away.o (y, x)"
        " MATCH FULL ON UPDATE SET NULL DEFERRABLE NOT VALID",
    )
    own, far = of(found, Constraint, "t_up_fkey"), of(found, Constraint, "f")
    assert "FOREIGN KEY (up) REFERENCES t(id) ON DELETE CASCADE" == own.definition
    assert (("public", "t"), ("up",), ("id",)) == (own.references, own.columns, own.referenced)
    assert ("t_pkey", "", True) == (own.index, own.deferrable, own.valid)
    assert (
        "FOREIGN KEY (b, a) REFERENCES away.o(y, x) MATCH FULL ON UPDATE SET NULL DEFERRABLE"
    ) == far.definition
    assert (("away", "o"), ("b", "a"), ("y", "x")) == (far.references, far.columns, far.referenced)
    assert ("k", "DEFERRABLE", False) == (far.index, far.deferrable, far.valid)


def test_an_index_is_what_stands_after_its_table(database: Counting) -> None:
    """With every column it reads, and the functions."""
    found = read(
        database,
        "CREATE FUNCTION f(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1'",
        "CREATE TABLE t (a int, b text, c text, d bool)",
        "CREATE UNIQUE INDEX i ON t (a DESC NULLS LAST, b text_pattern_ops) INCLUDE (c) WHERE d",
        "CREATE INDEX j ON t USING hash (f(b)) WITH (fillfactor = 50)",
        "COMMENT ON INDEX i IS 'fast'",
    )
    i, j = found.kind(Index)
    assert (
        Index(
            table=("public", "t"),
            name="i",
            definition="USING btree (a DESC NULLS LAST, b text_pattern_ops) INCLUDE (c) WHERE d",
            unique=True,
            comment="fast",
        )
        == i
    )
    assert (("a", "b", "c", "d"), ("a", "b"), "d") == (i.columns, i.keys, i.predicate)
    assert ("USING hash (f(b)) WITH (fillfactor='50')", "hash") == (j.definition, j.method)
    assert (("b",), ()) == (j.columns, j.keys)
    assert (("function", "public", "f", "text"),) == j.functions


def test_an_index_that_a_failed_build_left_is_not_valid(database: Counting) -> None:
    """A unique one over rows that are not."""
    run(database, "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1), (1)")
    with pytest.raises(peewee.IntegrityError):
        run(database, "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)")
    assert not of(live(database), Index, "i").valid


def test_a_view_knows_what_its_query_reads(database: Counting) -> None:
    """Columns, tables, views, functions and enums; nothing of the server's."""
    found = read(
        database,
        "CREATE TYPE mood AS ENUM ('sad')",
        "CREATE TABLE t (a int, b text, c mood)",
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT $1'",
        "CREATE VIEW v WITH (security_barrier) AS"
        " SELECT f(a) AS x, now() AS y FROM t WHERE c = 'sad'",
        "CREATE VIEW w AS SELECT x FROM v",
        "COMMENT ON VIEW v IS 'seen'",
    )
    v, w = found.kind(View)
    # Before 16 a column was printed with its table even where there is only one.
    t = "" if newer(database, 16) else "t."
    assert (
        View(
            namespace="public",
            name="v",
            query=f"SELECT f({t}a) AS x,\n    now() AS y\n   FROM t\n  WHERE ({t}c = 'sad'::mood)",
            columns=(("x", "integer"), ("y", "timestamp with time zone")),
            options=("security_barrier=true",),
            comment="seen",
        )
        == v
    )
    assert {
        ("column", "public", "t", "a"),
        ("column", "public", "t", "c"),
        ("enum", "public", "mood"),
        ("function", "public", "f", "integer"),
        ("table", "public", "t"),
    } == set(v.depends)
    assert (("view", "public", "v"),) == w.depends
    assert () == found.of_table(Column, ("public", "v"))


def test_a_materialised_view_has_indexes(database: Counting) -> None:
    """And may be empty."""
    found = read(
        database,
        "CREATE MATERIALIZED VIEW m AS SELECT 1 AS a WITH NO DATA",
        "CREATE UNIQUE INDEX i ON m (a)",
    )
    (m,) = found.kind(View)
    assert (True, False, "SELECT 1 AS a") == (m.materialized, m.populated, m.query)
    assert ("public", "m") == found.kind(Index)[0].table


def test_functions_are_told_apart_by_their_arguments(database: Counting) -> None:
    """Procedures too; aggregates are none."""
    found = read(
        database,
        "CREATE TABLE t (a int)",
        "CREATE FUNCTION f(x int, y text DEFAULT 'a') RETURNS int LANGUAGE sql AS 'SELECT x'",
        "CREATE FUNCTION f(t) RETURNS SETOF t LANGUAGE sql BEGIN ATOMIC SELECT a FROM t; END",
        "CREATE PROCEDURE p(VARIADIC x int[]) LANGUAGE plpgsql AS 'BEGIN END'",
        "CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int)",
        "COMMENT ON FUNCTION f(int, text) IS 'first'",
    )
    first, whole, procedure = found.kind(Function)
    assert ("integer, text", "integer", "FUNCTION") == (first.arguments, first.returns, first.kind)
    assert first.definition == (
        "CREATE OR REPLACE FUNCTION f(x integer, y text DEFAULT 'a'::text)\n RETURNS integer\n"
        " LANGUAGE sql\nAS $function$SELECT x$function$\n"
    )
    assert ("first", ()) == (first.comment, first.depends)
    assert ("t", "SETOF t") == (whole.arguments, whole.returns)
    assert (("column", "public", "t", "a"), ("table", "public", "t")) == whole.depends
    assert ("p", "integer[]", "", "PROCEDURE") == (
        procedure.name,
        procedure.arguments,
        procedure.returns,
        procedure.kind,
    )


def test_a_trigger_tells_its_state_and_columns(database: Counting) -> None:
    """Those of UPDATE OF and of WHEN; the server's own for foreign keys are not told of."""
    found = read(
        database,
        "CREATE TABLE t (a int, b int, c int)",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER g BEFORE UPDATE OF c ON t FOR EACH ROW WHEN (NEW.a > 0)"
        " EXECUTE FUNCTION f('it''s')",
        "ALTER TABLE t ENABLE ALWAYS TRIGGER g",
        "COMMENT ON TRIGGER g ON t IS 'guard'",
        "CREATE TABLE o (id int PRIMARY KEY)",
        "ALTER TABLE t ADD FOREIGN KEY (b) REFERENCES o",
    )
    (g,) = found.kind(Trigger)
    assert (
        Trigger(
            table=("public", "t"),
            name="g",
            definition="CREATE TRIGGER g BEFORE UPDATE OF c ON t FOR EACH ROW"
            " WHEN (new.a > 0) EXECUTE FUNCTION f('it''s')",
            enabled="ENABLE ALWAYS",
            comment="guard",
        )
        == g
    )
    assert (("c", "a"), (("function", "public", "f", ""),)) == (g.columns, g.functions)


def test_a_policy_is_spelled_out(database: Counting, server: Server) -> None:
    """Also what CREATE POLICY would assume."""
    with server.role() as role:
        found = read(
            database,
            "CREATE TABLE t (a int, b int)",
            "CREATE POLICY p ON t USING (a > 0)",
            f"CREATE POLICY q ON t AS RESTRICTIVE FOR UPDATE TO {role}"
            " USING (true) WITH CHECK (a > b)",
            "COMMENT ON POLICY p ON t IS 'mine'",
        )
        run(database, f"DROP OWNED BY {role}")
    p, q = found.kind(Policy)
    assert ("AS PERMISSIVE FOR ALL TO PUBLIC USING ((a > 0))", "mine") == (p.definition, p.comment)
    assert (("a",), ("a", "b")) == (p.columns, q.columns)
    assert f"AS RESTRICTIVE FOR UPDATE TO {role} USING (true) WITH CHECK ((a > b))" == q.definition


def test_grants_are_those_to_others(database: Counting, server: Server) -> None:
    """On tables, columns, sequences, functions and namespaces; never the owner's."""
    with server.role() as role:
        found = read(
            database,
            "CREATE TABLE t (a int)",
            "CREATE VIEW v AS SELECT 1 AS x",
            "CREATE SEQUENCE s",
            "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            f"GRANT SELECT ON t TO {role} WITH GRANT OPTION",
            f"GRANT UPDATE (a) ON t TO {role}",
            "GRANT SELECT ON v TO PUBLIC",
            f"GRANT USAGE ON s TO {role}",
            f"GRANT EXECUTE ON FUNCTION f TO {role}",
            f"GRANT CREATE ON SCHEMA public TO {role}",
        )
        run(database, f"DROP OWNED BY {role}")
    assert {
        Grant(target=("table", "public", "t"), role=role, privilege="SELECT", grantable=True),
        Grant(target=("column", "public", "t", "a"), role=role, privilege="UPDATE"),
        Grant(target=("view", "public", "v"), role="", privilege="SELECT"),
        Grant(target=("sequence", "public", "s"), role=role, privilege="USAGE"),
        Grant(target=("function", "public", "f", "integer"), role=role, privilege="EXECUTE"),
        Grant(target=("namespace", "public"), role=role, privilege="CREATE"),
    } == set(found.kind(Grant))


def test_what_everybody_has_of_a_function_is_told_of_when_it_is_gone(database: Counting) -> None:
    """A function that nobody touched has no grant; after GRANT it is as before."""
    run(database, "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    assert () == live(database).kind(Grant)
    run(database, "REVOKE EXECUTE ON FUNCTION f FROM PUBLIC")
    target = ("function", "public", "f", "")
    revoked = Grant(target=target, role="", privilege="EXECUTE", revoked=True)
    assert (revoked,) == live(database).kind(Grant)
    run(database, "GRANT EXECUTE ON FUNCTION f TO PUBLIC")
    assert () == live(database).kind(Grant)
    run(database, "REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    closed = Grant(target=("namespace", "public"), role="", privilege="USAGE", revoked=True)
    assert (closed,) == live(database).kind(Grant)


def test_members_of_an_extension_are_left_out(database: Counting) -> None:
    """Only the extension itself is told of."""
    run(
        database,
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TABLE kept (id serial PRIMARY KEY, n int CHECK (n > f()))",
        "CREATE INDEX i ON kept (n)",
    )
    before = live(database)
    available = database.execute_sql(
        "SELECT name FROM pg_available_extensions WHERE name IN ('hstore', 'vector', 'citext')"
    ).fetchall()
    if not available:
        pytest.skip("this server has no extension that makes objects")
    name = available[0][0]
    found = read(database, f"CREATE EXTENSION {name}")
    assert {("extension", name)} == set(found.objects) - set(before.objects)
    # A function of the extension that an object uses is none of ours either.
    run(
        database,
        f"ALTER EXTENSION {name} ADD FUNCTION f()",
        f"ALTER EXTENSION {name} ADD TABLE kept",
    )
    left = live(database)
    assert {("extension", name), ("namespace", "public")} == {
        k for k in left.objects if k[0] != "sequence"
    }
    assert (Extension(name=name),) == left.kind(Extension)


HOSTILE = (
    'quo"te',
    "apo'strophe",
    "new\nline",
    "per%cent %s %(x)s %%",
    "do.t",
    "é" * 31 + "x",
    "select",
    "Mixed Case",
    "back\\slash",
    "$dollar$",
    "semi;colon -- /* */",
    "fdry_ab12",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_is_read_as_it_is(database: Counting, name: str) -> None:
    """Names come out bare, and prefixes are cut off whatever stands in them."""
    q = '"' + name.replace('"', '""') + '"'
    run(database, f"CREATE SCHEMA {q}", f"SET search_path = {q}")
    run(
        database,
        f"CREATE TYPE public.{q} AS ENUM ('x')",
        f"CREATE TABLE {q}.{q} ({q} int CONSTRAINT {q} CHECK ({q} > 0), b int,"
        f" c public.{q} DEFAULT 'x')",
        f"CREATE UNIQUE INDEX i ON {q} (b, {q})",
        f"CREATE FUNCTION {q}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        f"CREATE TRIGGER {q} BEFORE INSERT ON {q} FOR EACH ROW EXECUTE FUNCTION {q}()",
        f"CREATE POLICY {q} ON {q} USING ({q} = 1)",
        f"COMMENT ON TABLE {q} IS '" + name.replace("'", "''") + "'",
    )
    found = catalog.read(database, {name: name}, search_path=["public"])
    place = (name, name)
    assert [name, "b", "c"] == [c.name for c in found.of_table(Column, place)]
    assert ("public", name) == found.of_table(Column, place)[2].enum
    assert name == found.get(("table", *place)).comment
    assert (("b", name), True) == (found.get(("index", *place, "i")).keys, True)
    for kind in ("constraint", "trigger", "policy"):
        assert name == found.get((kind, *place, name)).name
        assert (name,) == found.get((kind, *place, name)).columns or kind == "trigger"
    assert ("function", *place, "") in found


APP = "My \"App's"
DDL = """
CREATE TYPE {a}.mood AS ENUM ('sad', 'a {a} label');
CREATE TABLE {a}.t (id serial PRIMARY KEY, m {a}.mood DEFAULT 'sad', ms {a}.mood[], n int,
  word text DEFAULT 'fdry_12', at timestamptz DEFAULT '2020-01-01 12:00+02');
CREATE TABLE {b}.t (id bigserial PRIMARY KEY, up int NOT NULL REFERENCES {a}.t, m {a}.mood,
  CONSTRAINT c CHECK (m <> 'sad'::{a}.mood)) PARTITION BY RANGE (id);
CREATE TABLE {b}.t1 PARTITION OF {b}.t FOR VALUES FROM (1) TO (9);
CREATE FUNCTION {b}.f({a}.mood, {b}.t) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION {b}.g() RETURNS trigger LANGUAGE plpgsql AS $body$
  -- it's one quote
  BEGIN PERFORM 1 FROM {b}.t; RETURN NEW; END $body$;
CREATE FUNCTION {a}.h(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';
CREATE INDEX i ON {a}.t (({a}.h(n))) WHERE m = 'sad';
CREATE TRIGGER g BEFORE INSERT ON {a}.t FOR EACH ROW EXECUTE FUNCTION {b}.g();
CREATE POLICY p ON {b}.t USING (EXISTS (SELECT FROM {a}.t AS o WHERE o.id = up));
CREATE SEQUENCE {b}.s OWNED BY {b}.t.up;
ALTER TABLE {b}.t ALTER up SET DEFAULT nextval('{b_in_text}.s'::regclass);
CREATE COLLATION {b}.c (provider = libc, locale = 'C');
ALTER TABLE {a}.t ADD w text COLLATE {b}.c;
CREATE VIEW {b}.v AS SELECT t.*, {b}.f(t.m, t) AS x FROM {b}.t AS t JOIN {a}.t AS u ON u.id = up;
CREATE MATERIALIZED VIEW {a}.mv AS SELECT x FROM {b}.v;
GRANT SELECT ON {b}.v TO PUBLIC;
REVOKE EXECUTE ON FUNCTION {b}.f FROM PUBLIC;
COMMENT ON TABLE {b}.t IS 'two';
"""


def made(database: Counting, first: str, second: str) -> Snapshot:
    """Read the same objects out of two namespaces of any names."""
    names = {"fdry_": "public", "fdry_1": APP}
    real = {names.get(n, n): n for n in (first, second)}
    b = '"' + second.replace('"', '""') + '"'
    run(
        database,
        DDL.replace("{b_in_text}", b.replace("'", "''")).replace("{a}", first).replace("{b}", b),
    )
    path = [first, "public"] if first != "public" else ["public"]
    return catalog.read(database, {v: k for k, v in real.items()}, search_path=path)


def test_a_shadow_reads_as_the_live_namespaces_do(database: Counting) -> None:
    """Also where the real name needs quotes of both kinds, and one token begins another."""
    app = '"My ""App\'s"'
    with database.atomic() as shadow:
        run(database, "CREATE SCHEMA fdry_", "CREATE SCHEMA fdry_1")
        wanted = made(database, "fdry_", "fdry_1")
        shadow.rollback()
    run(database, f"CREATE SCHEMA {app}")
    found = made(database, "public", APP)
    label = {("enum", "public", "mood")}
    assert set(found.objects) == set(wanted.objects)
    different = {k for k in found.objects if found.get(k) != wanted.get(k)}
    # Its label is data and names the namespace it was made in.
    assert label == different
    carried = {k for k in set(found.objects) - label if str(found.get(k)) != str(wanted.get(k))}
    assert set() == carried
    up = found.get(("column", APP, "t", "up"))
    assert "nextval('\"My \"\"App''s\".s'::regclass)" == up.default
    assert (
        f"CREATE OR REPLACE FUNCTION {app}.f(mood, {app}.t)"
        == (found.get(("function", APP, "f", f"mood, {app}.t")).definition.split("\n")[0])
    )


def test_only_whole_names_are_replaced() -> None:
    """A name inside another one is not that name."""
    text = catalog.renaming({"fdry_1": '"A b"', "fdry_2": "public", '"Q"': "q"})
    assert '"A b".t, public.t' == text("fdry_1.t, fdry_2.t")
    assert 'fdry_12 xfdry_1 fdry_1x $fdry_1 éfdry_1 "a fdry_1 b"' == text(
        'fdry_12 xfdry_1 fdry_1x $fdry_1 éfdry_1 "a fdry_1 b"'
    )
    assert """"A b".t""" == text('"fdry_1".t')
    assert """nextval('"A b".s'::regclass) q.t""" == text("""nextval('fdry_1.s'::regclass) "Q".t""")
    assert 'AS $f$it\'s "A b".t$f$ fdry_12' == text("AS $f$it's fdry_1.t$f$ fdry_12")
    assert "same fdry_1" == catalog.renaming({"fdry_1": "fdry_1"})("same fdry_1")


def test_the_number_of_statements_does_not_grow(database: Counting) -> None:
    """Whatever the number of tables and namespaces."""

    def sent(*namespaces: str) -> int:
        before = database.sent
        live(database, *namespaces)
        return database.sent - before

    few = sent()
    for number in range(20):
        run(
            database,
            f"CREATE SCHEMA n{number}",
            f"CREATE TABLE n{number}.t (id serial PRIMARY KEY)",
        )
    assert few == sent(*(f"n{number}" for number in range(20)))


def test_reading_leaves_the_session_as_it_was(database: Counting) -> None:
    """Inside the caller's transaction too, and after an error."""
    run(database, "SET search_path = pg_catalog", "SET DateStyle = 'German'", "SET jit = on")

    def settings() -> list[str]:
        names = ("search_path", "DateStyle", "jit", "TimeZone", "quote_all_identifiers")
        return [database.execute_sql(f"SHOW {name}").fetchone()[0] for name in names]

    before = settings()
    live(database)
    assert (before, False) == (settings(), database.in_transaction())
    with database.atomic():
        live(database)
        assert before == settings()
    with database.atomic() as transaction:
        with pytest.raises(peewee.DatabaseError), catalog._settings(database, ["public"]):
            run(database, "SELECT 1/0")
        assert before == settings()
        transaction.rollback()


def test_settings_of_the_session_do_not_show(database: Counting) -> None:
    """What is recorded in one session is compared with what another one reads."""
    run(
        database,
        "CREATE TABLE \"T\" (a timestamptz DEFAULT '2020-02-01 12:00+00', b interval DEFAULT"
        " '1 day 2 h', c bytea DEFAULT '\\x00', d text DEFAULT 'a\\b', e float DEFAULT 0.1)",
    )
    found = live(database)
    run(
        database,
        "SET DateStyle = 'German'",
        "SET TimeZone = 'Asia/Tokyo'",
        "SET IntervalStyle = 'iso_8601'",
        "SET bytea_output = 'escape'",
        "SET standard_conforming_strings = off",
        "SET quote_all_identifiers = on",
        "SET extra_float_digits = -5",
    )
    assert found == live(database)


def test_a_temporary_table_hides_nothing(database: Counting) -> None:
    """A table of its name still prints without its namespace."""
    run(database, "CREATE TABLE t (id serial)")
    found = live(database)
    run(database, "CREATE TEMP TABLE t (id int)", "CREATE TEMP SEQUENCE t_id_seq")
    assert found == live(database)


def test_a_snapshot_finds_what_was_changed() -> None:
    """Its groups are made once and belong to one snapshot."""
    table = Table(namespace="n", name="t")
    a = Column(table=("n", "t"), name="a", type="int", position=2)
    b = Column(table=("n", "t"), name="b", type="int", position=1)
    first = Snapshot.of([table, a, b])
    assert ((a, b), (b, a)) == (first.kind(Column), first.of_table(Column, ("n", "t")))
    changed = first.changed(add=[replace(b, type="text"), table], drop=(k for k in [a.key]))
    assert ["text"] == [c.type for c in changed.of_table(Column, ("n", "t"))]
    assert ((a, b), ()) == (first.kind(Column), changed.of_table(Column, ("n", "u")))
    assert first == changed.changed(add=[a, b])


def test_a_table_that_is_locked_is_not_waited_for_long(database: Counting, empty: Target) -> None:
    """What would wait behind the lock would keep others waiting in its turn."""
    run(database, "CREATE TABLE t (v text DEFAULT 'x')", "CREATE VIEW w AS TABLE t")
    with closing(psycopg2.connect(**empty.params)) as other:
        other.cursor().execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(LockTimeout, match="another session has locked a table"):
            live(database)
