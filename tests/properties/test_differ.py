"""From any schema to any other and back, with pg_dump as the judge.

An example is a journey: tables of A are made by Peewee; `generate` and `up` lead to B; then
a second diff is empty, and pg_dump prints what it prints of B made by Peewee in another
database; after `down` it prints what it printed of A. The number of examples is a tenth
of the profile's: each one takes about a second.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import psycopg2
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st
from support.differ import Desk, execute
from support.dumps import dump
from support.migrations import rows

from foundry.database import Target
from foundry.fixtures.designs import Design, TableDesign, quoted
from foundry.fixtures.edits import edits
from foundry.fixtures.filling import fill
from foundry.fixtures.modelling import create, declared
from foundry.fixtures.schemas import schemas

MakeDesk = Callable[[], Desk]
SETTINGS = settings(
    max_examples=max(settings().max_examples // 10, 1),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
_REFUSED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two schemas, to be printed with a failing example."""

    a: Design
    b: Design


@st.composite
def far(draw: st.DrawFn, *, vector: bool = False) -> Pair:
    """Two schemas that have nothing to do with each other but their words."""
    return with_left(draw(schemas(vector=vector)), draw(schemas(vector=vector)))


@st.composite
def near(draw: st.DrawFn, *, vector: bool = False) -> Pair:
    """A schema and one that was made from it by a few changes."""
    a = draw(schemas(vector=vector))
    return with_left(a, draw(edits(a, vector=vector)))


def with_left(a: Design, b: Design) -> Pair:
    """Give B the tables of A that it has not: a table without a model is never dropped."""
    taken = {t.place for t in b.tables}
    taken |= {(t.namespace, t.renamed_from) for t in b.tables}
    left = tuple(table for table in a.tables if table.place not in taken)
    return Pair(a=a, b=Design((*b.tables, *left)).settled())


def target_of(desk: Desk, design: Design, *, vector: bool = False) -> Target:
    """Return a database with the tables of a design."""
    target = desk.database()
    if vector:
        execute(target, "CREATE EXTENSION vector")
    with desk.pool(target) as pool:
        create(pool, design)
    return target


def there_and_back(desk: Desk, pair: Pair, *, vector: bool = False) -> None:
    """Do the whole journey without rows: nothing may be refused."""
    target = target_of(desk, pair.a, vector=vector)
    before, wanted = dump(target), dump(target_of(desk, pair.b, vector=vector))
    models = declared(pair.b)
    generated = desk.generate(target, models)
    note(desk.text())
    assert 0 == generated.code, generated
    if not desk.files():
        assert wanted == before
        return
    done = desk.up(target)
    assert 0 == done.code, done
    assert wanted == dump(target)
    assert not desk.differs(target, models)
    undone = desk.down(target)
    assert 0 == undone.code, undone
    assert before == dump(target)


@SETTINGS
@given(pair=near())
def test_a_schema_becomes_its_neighbour_and_itself_again(desk: MakeDesk, pair: Pair) -> None:
    """What a day's work on models asks for."""
    with closing(desk()) as own:
        there_and_back(own, pair)


@SETTINGS
@given(pair=far())
def test_a_schema_becomes_any_other_and_itself_again(desk: MakeDesk, pair: Pair) -> None:
    """What nobody does on purpose, and every rule of ordering is needed for."""
    with closing(desk()) as own:
        there_and_back(own, pair)


@SETTINGS
@given(pair=near(vector=True))
def test_vectors_are_columns_like_others(desk: MakeDesk, pair: Pair, has_vector: None) -> None:
    """Where the extension is."""
    with closing(desk()) as own:
        there_and_back(own, pair, vector=True)


@SETTINGS
@given(a=schemas())
def test_a_schema_does_not_differ_from_itself(desk: MakeDesk, a: Design) -> None:
    """However its conditions and defaults are printed."""
    with closing(desk()) as own:
        target = target_of(own, a)
        assert not own.differs(target, declared(a))
        assert 0 == own.generate(target, declared(a)).code
        assert [] == own.files()


@SETTINGS
@given(pair=near())
def test_rows_are_kept_or_the_change_is_refused(desk: MakeDesk, pair: Pair) -> None:
    """Refused means that everything is as it was."""
    with closing(desk()) as own:
        target = target_of(own, pair.a)
        with closing(psycopg2.connect(**target.params)) as session:
            counts = fill(session, pair.a)
        event(f"rows: {min(sum(counts.values()), 10)}")
        before, wanted = dump(target), dump(target_of(own, pair.b))
        everything = [Kept.all_of(table) for table in pair.a.tables]
        stays = [kept for table in pair.b.tables if (kept := Kept.by(pair.a, table))]
        all_values = [kept.before(target) for kept in everything]
        values = [kept.before(target) for kept in stays]
        generated = own.generate(target, declared(pair.b))
        note(own.text())
        assert 0 == generated.code, generated
        if not own.files():
            return
        done = own.up(target)
        if done.code == _REFUSED:
            event("refused")
            assert before == dump(target), done
            assert all_values == [kept.before(target) for kept in everything]
            return
        assert 0 == done.code, done
        assert wanted == dump(target)
        assert values == [kept.after(target) for kept in stays]
        undone = own.down(target)
        event(f"down: {undone.code}")
        if undone.code == 0:
            assert before == dump(target)
            assert values == [kept.before(target) for kept in stays]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A table that stays, and the columns in it whose type does, by both their names."""

    then: TableDesign
    now: TableDesign
    columns: tuple[tuple[str, str], ...]

    @classmethod
    def all_of(cls, table: TableDesign) -> Kept:
        """Return every column of a table as it is."""
        return cls(then=table, now=table, columns=tuple((c.name, c.name) for c in table.columns))

    @classmethod
    def by(cls, a: Design, now: TableDesign) -> Kept | None:
        """Return what stays of a table, if it was there."""
        then = a.table(now.namespace, now.renamed_from or now.name)
        if then is None:
            return None
        renamed = dict(now.renames)
        pairs = []
        for column in now.columns:
            earlier = then.column(renamed.get(column.name, column.name))
            same = earlier and (earlier.type, earlier.generated) == (column.type, None)
            if earlier and same and not column.references and not earlier.references:
                pairs.append((earlier.name, column.name))
        return cls(then=then, now=now, columns=tuple(pairs))

    def before(self, target: Target) -> list[tuple[object, ...]]:
        """Return the values by the names of before."""
        return _values(target, self.then, [old for old, _ in self.columns])

    def after(self, target: Target) -> list[tuple[object, ...]]:
        """Return the values by the names of now."""
        return _values(target, self.now, [new for _, new in self.columns])


def _values(target: Target, table: TableDesign, columns: list[str]) -> list[tuple[object, ...]]:
    texts = ", ".join(f"{quoted(name)}::text" for name in columns) or "1"
    return sorted(rows(target, f"SELECT {texts} FROM {table.sql()}"), key=repr)
