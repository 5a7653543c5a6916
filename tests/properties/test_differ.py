"""From any schema to any other and back, with pg_dump as the judge.

An example is a journey: what A says is made by its own statements; `generate` and `up` lead
to B; then a second diff is empty, and pg_dump prints what it prints of B made in another
database; after `down` it prints what it printed of A. With rows, those that the server takes
into B by INSERT have to be there, as INSERT makes them, and those it refuses have to be
refused; so may be those that it gives back as others. The number of examples is a share of
the profile's: each takes a second or two.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import psycopg2
from hypothesis import HealthCheck, event, given, note, settings
from psycopg2 import errors
from support.carried import Move, carry, contents, moves, projected
from support.cases import assert_equal, version_of
from support.differ import Desk, execute
from support.dumps import dump
from support.migrations import Ended
from support.pairs import Pair, far, near

from foundry.database import Target
from foundry.fixtures.besides import EnumDesign
from foundry.fixtures.designs import ColumnDesign, Design, quoted
from foundry.fixtures.filling import fill
from foundry.fixtures.kinds import OBJECTS
from foundry.fixtures.modelling import create, declared
from foundry.fixtures.schemas import schemas
from foundry.migrate.spelling import ident, printed

MakeDesk = Callable[[], Desk]
_STOPPED, _REFUSED = 2, 3
_ROWS = 6


def share(part: int) -> settings:
    """Settings for one in so many of the profile's examples."""
    return settings(
        max_examples=max(settings().max_examples // part, 1),
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def target_of(
    desk: Desk, design: Design, *, after: Design | None = None, vector: bool = False
) -> Target:
    """Return a database with what a design says, and what stays of the one before."""
    target = desk.database()
    execute(target, *(f"CREATE SEQUENCE {quoted(name)}" for name in _left(design, after)))
    if vector:
        execute(target, "CREATE EXTENSION vector")
    with desk.pool(target) as pool:
        create(pool, design)
    return target


def _left(design: Design, after: Design | None) -> list[str]:
    """Names of sequences that belong to no column: they stay when nobody declares them."""

    def sequences(of: Design | None) -> set[str]:
        columns = (c for t in of.tables for c in t.columns) if of else ()
        return {c.sequence for c in columns if c.sequence}

    return sorted(sequences(after) - sequences(design))


def there_and_back(desk: Desk, pair: Pair, *, vector: bool = False) -> None:
    """Do the whole journey without rows: nothing may be refused."""
    target = target_of(desk, pair.a, vector=vector)
    other = target_of(desk, pair.b, after=pair.a, vector=vector)
    before, wanted = dump(target), dump(other)
    models = declared(pair.b)
    generated = desk.generate(target, models)
    note(desk.text())
    assert 0 == generated.code, generated.err
    if not desk.files():
        assert wanted == before
        return
    done = desk.up(target)
    assert 0 == done.code, done.err
    assert_equal(wanted, dump(target), desk)
    assert not desk.differs(target, models)
    undone = desk.down(target)
    assert 0 == undone.code, undone.err
    assert_equal(before, dump(target), desk)


@share(12)
@given(pair=near())
def test_a_schema_becomes_its_neighbour_and_itself_again(desk: MakeDesk, pair: Pair) -> None:
    """What a day's work on models asks for."""
    with closing(desk()) as own:
        there_and_back(own, pair)


@share(12)
@given(pair=near(objects=OBJECTS))
def test_what_models_do_not_say_changes_with_them(desk: MakeDesk, pair: Pair) -> None:
    """Types, views, functions, triggers, rights and partitions."""
    with closing(desk()) as own:
        there_and_back(own, pair)


@share(16)
@given(pair=far(objects=OBJECTS))
def test_a_schema_becomes_any_other_and_itself_again(desk: MakeDesk, pair: Pair) -> None:
    """What nobody does on purpose, and every rule of ordering is needed for."""
    with closing(desk()) as own:
        there_and_back(own, pair)


@share(25)
@given(pair=near(vector=True))
def test_vectors_are_columns_like_others(desk: MakeDesk, pair: Pair, has_vector: None) -> None:
    """Where the extension is."""
    with closing(desk()) as own:
        there_and_back(own, pair, vector=True)


@share(16)
@given(a=schemas(objects=OBJECTS))
def test_a_schema_does_not_differ_from_itself(desk: MakeDesk, a: Design) -> None:
    """However its conditions and defaults are printed."""
    with closing(desk()) as own:
        target = target_of(own, a)
        assert not own.differs(target, declared(a))
        assert 0 == own.generate(target, declared(a)).code
        assert [] == own.files()


@share(12)
@given(pair=near(objects=OBJECTS))
def test_rows_are_kept_or_rightly_refused(desk: MakeDesk, pair: Pair) -> None:
    """Refused means that the server refuses them too, and that everything is as it was."""
    with closing(desk()) as own:
        Journey(own, pair).there()


class Journey:
    """A pair with rows: two databases that are migrated and carried, and what is in them."""

    def __init__(self, desk: Desk, pair: Pair) -> None:
        self._desk, self._pair = desk, pair
        self._moves = moves(pair.a, pair.b)
        self._back = tuple(move.turned() for move in self._moves)
        self._target = target_of(desk, pair.a)
        with closing(psycopg2.connect(**self._target.params)) as session:
            counts = fill(session, pair.a, rows=_ROWS)
        event(f"rows: {min(sum(counts.values()), 10)}")
        self._before = dump(self._target)
        self._values = contents(self._target, self._moves)

    def there(self) -> None:
        """Go to B, and back if that could be done."""
        carried = target_of(self._desk, self._pair.b, after=self._pair.a)
        wanted = dump(carried)
        why_not = carry(self._target, carried, self._moves, self._pair.a, self._pair.b)
        generated = self._desk.generate(self._target, declared(self._pair.b))
        note(self._desk.text())
        assert 0 == generated.code, generated.err
        if not self._desk.files():
            return
        done = self._desk.up(self._target)
        event(f"up: {done.code}")
        if why_not is not None:
            self._refused(done, why_not)
            return
        if done.code == _REFUSED and self._is_lossy(carried):
            self._is_as_it_was(done)
            return
        assert 0 == done.code, done.err
        assert_equal(wanted, dump(self._target), self._desk)
        assert contents(carried, self._back) == contents(self._target, self._back)
        self._and_back(carried)

    def _refused(self, done: Ended, why_not: psycopg2.Error) -> None:
        """The rows cannot be in B: `up` has to say so before it changes anything."""
        assert done.code != 0, f"{why_not}{done.err}"
        if not is_asked(why_not, version_of(self._target), self._pair):
            assert done.code in {_STOPPED, _REFUSED}, f"{why_not}{done.err}"
            return
        assert _REFUSED == done.code, f"{why_not}{done.err}"
        self._is_as_it_was(done)

    def _is_lossy(self, carried: Target) -> bool:
        """Whether the server gives back other values than it was given."""
        again = target_of(self._desk, self._pair.a)
        why_not = carry(carried, again, self._back, self._pair.b, self._pair.a)
        if why_not is not None:
            return isinstance(why_not, errors.DataError)
        return contents(again, self._moves) != self._values

    def _is_as_it_was(self, done: Ended) -> None:
        assert " in the way of " in done.err, done.err
        assert_equal(self._before, dump(self._target), self._desk)
        assert self._values == contents(self._target, self._moves)

    def _and_back(self, carried: Target) -> None:
        again = target_of(self._desk, self._pair.a)
        why_not = carry(carried, again, self._back, self._pair.b, self._pair.a)
        undone = self._desk.down(self._target)
        event(f"down: {undone.code}")
        if why_not is not None:
            assert undone.code != 0, f"{why_not}{undone.err}"
            return
        assert 0 == undone.code, undone.err
        assert_equal(self._before, dump(self._target), self._desk)
        assert contents(again, self._moves) == contents(self._target, self._moves)
        told = tuple(self._told(move) for move in self._moves)
        then = contents(self._target, told)
        assert then == projected(self._values, self._moves, told)

    def _told(self, move: Move) -> Move:
        """Return the columns of which no head says that the way there or back loses something."""
        losses = self._desk.heads().all_losses

        def lost(name: str, table: tuple[str, str]) -> bool:
            subject = f"{printed((table[0] or 'public', table[1]), 'public')}.{ident(name)}"
            return any(subject in loss for loss in losses)

        pairs = tuple(
            (a, b)
            for a, b in move.pairs
            if not (lost(a.name, move.a.place) or lost(b.name, move.b.place) or a.generated)
        )
        return Move(a=move.a, b=move.b, pairs=pairs)


def is_asked(why_not: psycopg2.Error, version: int, pair: Pair) -> bool:
    """Whether docs/diff.md has `up` ask for such rows before it changes anything."""
    if isinstance(why_not, errors.DataError):
        return version > 15
    found = [t for t in pair.b.tables if t.name == why_not.diag.table_name]
    if any(has_other_labels(pair, column) for table in found for column in table.columns):
        return False
    if isinstance(why_not, errors.UniqueViolation):
        # The key of an expression is printed with parentheses of its own.
        return "((" not in (why_not.diag.message_detail or "")
    if isinstance(why_not, errors.CheckViolation):
        # What calls a function that is not there yet cannot be asked.
        return not any(c.definition.calls for table in found for c in table.constraints)
    return not isinstance(why_not, errors.ExclusionViolation)


def has_other_labels(pair: Pair, column: ColumnDesign) -> bool:
    """Whether a column is of an enumerated type that was there, with other labels."""
    labels = [
        e.labels
        for side in (pair.a, pair.b)
        for e in side.kind(EnumDesign)
        if e.type == column.type
    ]
    return len(set(labels)) > 1


@share(16)
@given(pair=far(objects=OBJECTS))
def test_rows_are_kept_on_long_ways(desk: MakeDesk, pair: Pair) -> None:
    """Between schemas that share nothing but words."""
    with closing(desk()) as own:
        Journey(own, pair).there()
