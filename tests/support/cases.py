"""One change of models as a case: what it is from and to, and what is expected of it."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

import pytest
from peewee import Model

from foundry.database import Target
from foundry.declare import Schema
from support.differ import Desk, build, execute
from support.dumps import dump
from support.migrations import rows
from support.server import Server

# Models stand in cases as their users write them, in a file of their own.
PRELUDE = """
from peewee import *
from playhouse.postgres_ext import *
from pgvector.peewee import VectorField
from foundry import declare
"""
FAILED = 2
# What a change of type does where a second column takes the place of the first.
SWAPPED_NULLABLE = ("add column", "create trigger", "fill column", "swap column")
SWAPPED = (*SWAPPED_NULLABLE, "add not null", "validate constraint")
_NOT_NULL_BEFORE_18 = ("add constraint", "set not null", "drop constraint")
REFUSED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A change from models `a` to models `b`, both as Python; `OBJECTS` and `NAMESPACES` count."""

    name: str
    a: str = ""
    b: str = ""
    given: str = ""
    """SQL run in both databases before anything is made: extensions, roles, tables of others."""
    beside: str = ""
    """SQL run in both databases when they are built: what nobody declared."""
    rows: str = ""
    """SQL that stores rows in A."""
    rest: str = ""
    """SQL run in B: what nobody declared and `rows` made, as it is in the end."""
    actions: tuple[str, ...] = ()
    """What the plan does, in any order."""
    actions_unsaid: bool = False
    """Whether any plan will do that gets there: actions are not stated."""
    works: tuple[tuple[str, str], ...] = ()
    """Tables in use, and the work that is done under a lock on them: scan, build, rewrite."""
    locks: tuple[tuple[str, str, str], ...] | None = None
    """Every table, lock and work; None leaves it at `works`."""
    checks: tuple[str, ...] | None = None
    """Names of what `up` asks first; None leaves that unsaid."""
    loses: tuple[str, ...] = ()
    """Words of each loss."""
    after: str = ""
    """SQL run after `up`."""
    query: str = ""
    expected: tuple[tuple[Any, ...], ...] = ()
    """Rows of `query` after `up`."""
    refused: tuple[str, ...] = ()
    """Words of the refusal by `up`, which then changes nothing."""
    texts: bool = False
    """Whether PostgreSQL 15 cannot tell beforehand which texts a type reads, but states a loss."""
    failed: tuple[str, ...] = ()
    """Words of the error of an `up` that the server stops; it changes nothing either."""
    refused_early: tuple[str, ...] = ()
    """Words of the refusal by `generate`, which then writes nothing."""
    unchanged: bool = False
    """Whether nothing is to be done, though the two databases differ."""
    back: bool = True
    """False where the way back needs rows that are gone."""
    needs: str = ""
    """An extension that not every server has."""
    since: int = 15
    """The oldest server of which actions, works, locks and checks are stated."""


def note(*fields: str, meta: str = "", name: str = "Note") -> str:
    """Return a model as its user writes it: lines of fields, lines of Meta."""
    body = [*fields, *([f"class Meta:\n        {meta}"] if meta else [])] or ["pass"]
    lines = "\n    ".join(body)
    return f"class {name}(Model):\n    {lines}\n"


def schema_of(source: str) -> Schema:
    """Return what a source declares, in the order it is written."""
    names: dict[str, Any] = {"__name__": "models_of_a_case"}
    exec(PRELUDE + source, names)
    models = [
        value
        for value in names.values()
        if isinstance(value, type)
        and issubclass(value, Model)
        and value.__module__ == "models_of_a_case"
    ]
    return Schema(
        models=models,
        objects=names.get("OBJECTS", ()),
        namespaces=names.get("NAMESPACES", ()),
        whole="OBJECTS" in names,
    )


def prove(server: Server, case: Case) -> None:
    """Assert plan, hazards, that it applies, pg_dump, an empty second plan, and the way back."""
    with closing(Desk(server)) as desk:
        if case.needs and not desk.has(case.needs):
            pytest.skip(f"this server has no {case.needs}")
        a, b = schema_of(case.a), schema_of(case.b)
        target, other = desk.database(), desk.database()
        for database, schema in ((target, a), (other, b)):
            execute(database, case.given)
            build(desk, database, schema)
            if database is target or not case.refused_early:
                execute(database, case.beside)
        execute(target, case.rows)
        execute(other, case.rest)
        before, wanted = dump(target), dump(other)
        if case.unchanged:
            stays(desk, target, b)
            return
        if case.refused_early:
            refuses_early(desk, target, b, case)
            return
        plans(desk, target, b, case)
        done = desk.up(target)
        stopped = case.refused or case.failed
        if stopped:
            old = version_of(target) < 16
            if case.texts and old:
                return
            assert (REFUSED if case.refused else FAILED) == done.code, (done, desk.text())
            assert [] == [word for word in stopped if word not in done.out + done.err], done
            assert before == dump(target)
            return
        assert 0 == done.code, (done, desk.text())
        assert_equal(wanted, dump(target), desk)
        assert not desk.differs(target, b)
        execute(target, case.after)
        if case.query:
            assert list(case.expected) == rows(target, case.query)
        if case.back:
            undone = desk.down(target)
            assert 0 == undone.code, (undone, desk.text())
            assert_equal(before, dump(target), desk)


def version_of(target: Target) -> int:
    """Return the major version of a database's server."""
    return int(str(rows(target, "SHOW server_version_num")[0][0])) // 10000


def assert_equal(wanted: str, found: str, desk: Desk) -> None:
    """Compare two dumps; the message has the lines that differ, and the files."""
    lines = unified_diff(wanted.splitlines(), found.splitlines(), "wanted", "found", n=1)
    assert wanted == found, "\n".join(lines) + "\n" + desk.text()


def plans(desk: Desk, target: Target, schema: Schema, case: Case) -> None:
    """Assert what `diff` and the files say will be done, lost and locked."""
    version = version_of(target)
    stated = version >= case.since
    if stated and not case.actions_unsaid:
        found = desk.actions(target, schema)
        wanted = case.actions if version >= 18 else _before_18(case.actions)
        assert Counter(wanted) == Counter(found), f"it does {', '.join(found)}"
    generated = desk.generate(target, schema)
    assert 0 == generated.code, generated
    assert "not tried out" not in generated.out + generated.err, generated
    heads = desk.heads()
    losses = case.loses if version >= 16 or not case.texts else ("does not hold of",)
    assert len(losses) == len(heads.loses), heads
    for words, loss in zip(losses, heads.loses, strict=True):
        assert words in loss
    if stated:
        assert set(case.works) == heads.works, heads
        assert case.locks is None or set(case.locks) == set(heads.locks), heads
        assert case.checks is None or set(case.checks) == {n for n, _ in heads.checks}, heads


def _before_18(actions: tuple[str, ...]) -> tuple[str, ...]:
    each = (_NOT_NULL_BEFORE_18 if a == "add not null" else (a,) for a in actions)
    return tuple(action for some in each for action in some)


def stays(desk: Desk, target: Target, schema: Schema) -> None:
    """Assert that there is nothing to do."""
    assert not desk.differs(target, schema)
    generated = desk.generate(target, schema)
    assert 0 == generated.code, generated
    assert [] == desk.files(), desk.text()


def refuses_early(desk: Desk, target: Target, schema: Schema, case: Case) -> None:
    """Assert that no file is written, and why."""
    generated = desk.generate(target, schema)
    assert REFUSED == generated.code, (generated, desk.text())
    said = generated.out + generated.err
    assert [] == [word for word in case.refused_early if word not in said], generated
    assert [] == desk.files()
