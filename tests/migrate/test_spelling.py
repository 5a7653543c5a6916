"""Names and texts in SQL, against what the server itself makes of them."""

from __future__ import annotations

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.server import Server

from foundry.database import Target
from foundry.migrate.spelling import chosen, ident, literal, printed, quote, renamed, respelled

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("(a > 0)", "(b > 0)"),
        ("(a <> 'a')", "(b <> 'a')"),
        ('("A" > 0)', '("A" > 0)'),
        ("(lower(a) = 'it''s a')", "(lower(b) = 'it''s a')"),
        ("(aa + a)", "(aa + b)"),
        (r"(a ~ E'\'a')", r"(b ~ E'\'a')"),
    ],
)
def test_a_renamed_column_is_renamed_where_it_is_a_name(text: str, wanted: str) -> None:
    """Never inside a string, a longer word or another case."""
    assert wanted == renamed(text, {"a": "b"})


def test_a_name_that_needs_quotes_gets_them() -> None:
    """The server prints it like that."""
    assert '("Full Name" > 0)' == renamed("(name > 0)", {"name": "Full Name"})
    assert '("select" > 0)' == renamed("(name > 0)", {"name": "select"})


def test_a_list_of_varchar_is_spelled_so_that_it_is_read_back() -> None:
    """Without that the second reading would cast each element."""
    text = "((a)::text = ANY ((ARRAY['x'::character varying, 'y]'::character varying])::text[]))"
    assert respelled(text) == text.replace("])::text[]", "]::character varying[])::text[]")
    assert "(a = ANY (ARRAY['x'::text]))" == respelled("(a = ANY (ARRAY['x'::text]))")


@given(NAMES)
def test_strings_survive_any_spelling(text: str) -> None:
    """What stands in a string is data."""
    assert literal(text) == respelled(literal(text))
    assert literal(text) == renamed(literal(text), {text: "other", "a": "b"})


def test_names_are_written_as_the_server_writes_them(server: Server, empty: Target) -> None:
    """quote_ident, and the names it chooses for what belongs to a column."""
    connection = psycopg2.connect(**empty.params)
    connection.autocommit = True
    cursor = connection.cursor()
    for name in ("plain", "select", "text", "Mixed", "a.b", 'q"t', "é", "9a", "timestamp", "a b"):
        cursor.execute("SELECT quote_ident(%s)", (name,))
        assert cursor.fetchone()[0] == ident(name), name
        assert f'"my app".{ident(name)}' == printed(("my app", name), "public")
    pairs = [
        ("t", "c"),
        ("x" * 63, "y" * 63),
        ("x" * 63, "c"),
        ("é" * 31, "ü" * 20),
        ("t", "z" * 60),
    ]
    for table, column in pairs:
        cursor.execute(f"CREATE TABLE {quote(table)} ({quote(column)} serial)")
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'S' AND oid ="
            " pg_get_serial_sequence(%s, %s)::regclass",
            (quote(table), column),
        )
        assert cursor.fetchone()[0] == chosen(table, column, "seq")
        cursor.execute(f"DROP TABLE {quote(table)}")
    connection.close()
