"""An operator is told who is in the way, and never what they wrote."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.server import Server
from support.sessions import holding, pid_of, ran, session, waiting

from foundry.database import Target, connect, resolve
from foundry.migrate.blockers import Blocker, blocking, masked, named, timed_out

ALTER = "ALTER TABLE t ADD COLUMN n int"
CONCURRENTLY = "CREATE INDEX CONCURRENTLY t_id ON t (id)"


@pytest.fixture
def prepared(empty: Target) -> Target:
    """A database with a table."""
    with session(empty) as conn:
        ran(conn, "CREATE TABLE t (id int)")
    return empty


def found(target: Target, pid: int) -> tuple[Blocker, ...]:
    with session(target, "looker") as conn, conn.cursor() as cursor:
        return blocking(cursor, pid)


def test_a_reader_in_the_way_of_an_alter_is_named(prepared: Target) -> None:
    """With what it did last, in which nothing of anybody's is left."""
    read = "SELECT * FROM t -- by bob\nWHERE id = 42 OR 'bob' = $$it's$$"
    with (
        holding(prepared, read, name='the "app"') as holder,
        waiting(prepared, ALTER) as waiter,
    ):
        pid = pid_of(holder)
        (blocker,) = found(prepared, pid_of(waiter))
    assert blocker.age is not None
    assert 0 <= blocker.age < 60
    told = (
        rf'server process {pid} \("the "app"" as {blocker.user}\), '
        r"idle in transaction for \d+ s: SELECT \* FROM t WHERE id = \? OR \? = \?"
    )
    assert re.fullmatch(told, blocker.told), blocker.told
    assert f"SELECT pg_terminate_backend({pid})" == blocker.remedy
    assert "client backend" == blocker.kind


@pytest.mark.parametrize(
    "work",
    [
        ("INSERT INTO t VALUES (1)",),
        ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SELECT 1"),
    ],
    ids=["a writer", "an old snapshot"],
)
def test_who_keeps_create_index_concurrently_waiting_is_named(
    prepared: Target, work: tuple[str, ...]
) -> None:
    """It waits for transactions, of which an old one need not have touched the table."""
    with holding(prepared, *work) as holder, waiting(prepared, CONCURRENTLY) as waiter:
        pid = pid_of(holder)
        (blocker,) = found(prepared, pid_of(waiter))
    assert pid == blocker.pid
    assert "idle in transaction" == blocker.state


def test_a_holder_comes_before_those_who_wait_as_well(prepared: Target) -> None:
    """The operator has to end the first one."""
    with (
        holding(prepared, "SELECT FROM t") as holder,
        waiting(prepared, ALTER) as first,
        waiting(prepared, ALTER) as second,
    ):
        blockers = found(prepared, pid_of(second))
        queue = [pid_of(holder), pid_of(first)]
    assert queue == [blocker.pid for blocker in blockers]


def test_nobody_is_in_the_way_of_a_session_that_does_not_wait(prepared: Target) -> None:
    """Nor in that of one which is not there."""
    with session(prepared) as conn:
        assert () == found(prepared, pid_of(conn))
    assert () == found(prepared, 2**31 - 1)


def test_a_database_may_be_asked_as_well(prepared: Target, server: Server) -> None:
    """Peewee's, as the runner has it."""
    pool = connect(server.url(prepared.dbname), bind=False)
    with (
        pool.connection_context(),
        holding(prepared, "SELECT FROM t") as holder,
        waiting(prepared, ALTER) as waiter,
    ):
        pid = pid_of(holder)
        (blocker,) = blocking(pool, pid_of(waiter))
    pool.close_all()
    assert pid == blocker.pid


def test_a_role_that_may_not_see_the_query_gets_a_line(prepared: Target, server: Server) -> None:
    """The server shows it process, application and user."""
    with server.role() as role:
        plain = resolve(server.url_as(role, prepared.dbname))
        with (
            holding(prepared, "SELECT 'bob' FROM t", name="app") as holder,
            waiting(prepared, ALTER) as waiter,
        ):
            pid = pid_of(holder)
            (blocker,) = found(plain, pid_of(waiter))
    assert (
        f'server process {pid} ("app" as {blocker.user}); '
        "pg_read_all_stats would show what it runs" == blocker.told
    )
    assert blocker.user
    assert (None, None) == (blocker.age, blocker.query)


def test_a_prepared_transaction_is_told_with_what_ends_it() -> None:
    """It has no process that could be ended."""
    it = Blocker(pid=0, application="o'g", user="eve", kind="prepared transaction", age=61.2)
    assert 'prepared transaction "o\'g" of eve for 61 s' == it.told
    assert "ROLLBACK PREPARED 'o''g'" == it.remedy


def test_names_do_not_break_the_line() -> None:
    """Roles may be called anything."""
    it = Blocker(pid=1, application="a\nb", user="c\r\n\x1b[31md", state="active", age=None)
    assert 'server process 1 ("a b" as c [31md), active' == it.told


def test_three_are_named_and_the_rest_is_counted() -> None:
    """A busy table has many readers."""
    many = [Blocker(pid=n, application="a", user="u") for n in range(1, 6)]
    assert '3 ("a" as u); and 2 more' == named(many)[-24:]
    error = timed_out('"0002_b"', 2.5, many)
    assert str(error).startswith('"0002_b" waited 2.5 s for a lock: server process 1 ')
    # All have to end.
    every = "end them (SELECT pg_terminate_backend(pid) FROM unnest(ARRAY[1, 2, 3, 4, 5]) AS pid)"
    assert every in str(error)
    assert "pg_terminate_backend(4)" not in str(error)
    assert "pg_stat_activity" in str(timed_out("x", 1, ()))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ""),
        ("SELECT 1", "SELECT ?"),
        ('select a1, b$2$ from "It\'s 5".t2', 'select a1, b$2$ from "It\'s 5".t2'),
        ("SELECT -1.5e-3, .5, 0x1F, 1_000", "SELECT -?, ?, ?, ?"),
        (
            "SELECT 'it''s', E'it\\'s', U&'d\\0061t', B'01', x'1F', n'a'",
            "SELECT " + "?, " * 5 + "?",
        ),
        ("SELECT $$a'b$$, $t$ $$ $u$ $t$, $1", "SELECT ?, ?, $1"),
        ("a /* x /* y */ ' */ b -- 'c\n + 'd'", "a b + ?"),
        ("SELECT 'cut o", "SELECT ?"),
        ("SELECT $t$cut o", "SELECT ?"),
        ("SELECT $t", "SELECT ?"),
        ("SELECT E'cut\\", "SELECT ?"),
        ('SELECT "cut o', "SELECT ?"),
        ("SELECT /* cut /* o */", "SELECT"),
        ("SELECT 'a\\' , secret , 'b'", "SELECT ?"),
        ("PASSWORD 'x'\n\t;", "PASSWORD ?"),
    ],
)
def test_literals_are_masked_and_names_are_kept(query: str, expected: str) -> None:
    """As PostgreSQL's own lexer takes them apart."""
    assert expected == masked(query)


# What literals are made of is never in a name, nor before a quote: one that is left is a leak.
INSIDE = "nopqrstuvwyz0123456789NOPQRSTVWYZ"
NAMES = st.text("abcdfghijklm_", min_size=1, max_size=8)
TEXT = st.text(INSIDE + "'\"\\$-/* \n?é", max_size=12)
TAGS = st.text("opq_", max_size=3)
LITERALS = st.one_of(
    st.builds(lambda t: "'" + t.replace("'", "''") + "'", TEXT),
    st.builds(lambda t: "E'" + t.replace("\\", "\\\\").replace("'", "\\'") + "'", TEXT),
    st.builds(lambda t: "e'" + t.replace("\\", "\\\\").replace("'", "''") + "'", TEXT),
    st.builds(lambda t: "U&'" + t.replace("'", "''") + "'", TEXT),
    st.builds(lambda p, t: f"{p}'{t}'", st.sampled_from("bBxX"), st.text("0123456789")),
    st.builds(
        lambda g, t: f"${g}$" + t.replace("$", "") + f"${g}$",
        TAGS,
        TEXT,
    ),
    st.builds(lambda t: "/*" + t.replace("*", "").replace("/", "") + "*/", TEXT),
    st.builds(lambda t: "/* /*" + t.replace("*", "").replace("/", "") + "*/ z */", TEXT),
    st.builds(lambda t: "--" + t.replace("\n", "") + "\n", TEXT),
    st.integers(0).map(str),
    st.floats(0, allow_nan=False, allow_infinity=False).map(repr),
)
GAPS = st.sampled_from([" ", "\n", ", ", " + ", "(", ") = "])
QUERIES = st.lists(st.tuples(NAMES, GAPS, LITERALS, GAPS), max_size=6)


@given(QUERIES, st.integers(0, 400))
def test_nothing_of_a_literal_survives(pieces: list[tuple[str, ...]], cut: int) -> None:
    """Wherever pg_stat_activity cuts the query off."""
    query = "".join("".join(piece) for piece in pieces)[:cut]
    assert set() == set(masked(query)) & set(INSIDE), query


@given(QUERIES.filter(lambda ps: not any("\\" in literal for _, _, literal, _ in ps)))
def test_every_name_is_kept_in_its_place(pieces: list[tuple[str, ...]]) -> None:
    """Up to the length of a line."""
    line = masked("".join("".join(piece) for piece in pieces))
    words = re.findall(r"[a-m_]+", line.rstrip("…"))
    names = [name for name, *_ in pieces]
    assert words == names or (line.endswith("…") and names[: len(words) - 1] == words[:-1])


@given(
    st.text(st.sampled_from("eE'\"$\\-/*U&x.1a \n\r\x00\u2028é") | st.characters(), max_size=300)
)
def test_any_text_becomes_one_short_line(query: str) -> None:
    """What is no SQL too."""
    line = masked(query)
    assert len(line) <= 200
    assert 1 >= len(line.splitlines())
    assert not set(line) & set("\0\n\r\x1b")
