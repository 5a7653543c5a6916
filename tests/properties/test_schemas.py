"""The strategies for schemas: what they draw can be created, and so can its neighbours."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import psycopg2
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from support.differ import Desk
from support.dumps import dump, normalised

from foundry.fixtures.designs import Design
from foundry.fixtures.edits import edits
from foundry.fixtures.filling import fill
from foundry.fixtures.kinds import OBJECTS
from foundry.fixtures.modelling import create, declared
from foundry.fixtures.schemas import schemas

SETTINGS = settings(
    max_examples=max(settings().max_examples // 5, 1),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
_SEARCH = settings(database=None, max_examples=300, deadline=None)


@SETTINGS
@given(data=st.data())
def test_schemas_and_their_neighbours_can_be_created(
    desk: Callable[[], Desk], data: st.DataObject
) -> None:
    """PostgreSQL takes every one of them."""
    design = data.draw(schemas(objects=OBJECTS))
    with closing(desk()) as own:
        for each in (design, data.draw(edits(design, objects=OBJECTS))):
            target = own.database()
            with own.pool(target) as pool:
                models = create(pool, each)
            assert len(each.tables) == len(models)
            with closing(psycopg2.connect(**target.params)) as session:
                assert fill(session, each).keys() == {t.place for t in each.tables}


def test_a_schema_shrinks_to_a_few_columns() -> None:
    """What a failing test shows is small."""

    def has_index(design: Design) -> bool:
        return any(table.indexes for table in design.tables)

    smallest = find(schemas(), has_index, settings=_SEARCH)
    assert 2 >= len(smallest.tables)
    assert 8 >= sum(len(table.columns) for table in smallest.tables)
    assert smallest == eval(repr(smallest), _names())


@pytest.mark.parametrize("kind", OBJECTS)
def test_objects_are_drawn_where_they_are_asked_for(kind: str) -> None:
    """One kind by itself, of one table or two."""
    drawn = schemas(objects=(kind,), max_tables=1, comments=False)
    smallest = find(drawn, lambda design: bool(design.objects), settings=_SEARCH)
    assert 3 >= len(smallest.objects)
    assert 2 >= len(smallest.tables)
    assert smallest == eval(repr(smallest), _names())


def test_plain_models_are_all_that_is_drawn_otherwise() -> None:
    """Who tests plain models meets nothing else."""

    @settings(SETTINGS, max_examples=20, database=None)
    @given(schemas().flatmap(edits))
    def plain(design: Design) -> None:
        assert () == design.objects
        assert () == declared(design).objects

    plain()
    with pytest.raises(InvalidArgument, match='"view" is none of enums'):
        find(schemas(objects=("view",)), bool)


def test_edits_leave_nothing_that_points_nowhere() -> None:
    """Every column that is named in a design is in it."""

    @settings(SETTINGS, max_examples=40, database=None)
    @given(schemas(objects=OBJECTS).flatmap(lambda a: edits(a, objects=OBJECTS)))
    def whole(design: Design) -> None:
        for table in design.tables:
            names = {c.name for c in table.columns}
            assert names >= {c for i in table.indexes for c in i.columns}
            assert names >= {c for one in table.constraints for c in one.definition.columns}
            assert names >= {new for new, _ in table.renames}

    whole()


def test_a_dump_loses_the_order_of_columns_and_nothing_else() -> None:
    """Commas and parentheses in strings and names are text."""
    text = """\\restrict abc
CREATE TABLE public.a (
    b text DEFAULT '),
(' NOT NULL,
    a numeric(8,2)
);
ALTER TABLE public.a OWNER TO x;
"""
    expected = """CREATE TABLE public.a (
    a numeric(8,2),
    b text DEFAULT '),
(' NOT NULL
);
ALTER TABLE public.a OWNER TO x;
"""
    assert expected.strip() == normalised(text).strip()
    assert normalised(expected) == normalised(text)
    assert normalised(text) != normalised(text.replace("(8,2)", "(8,3)"))


def test_a_dump_sees_what_models_do_not_say(desk: Callable[[], Desk]) -> None:
    """It is taken of the database as it is."""
    with closing(desk()) as own:
        target = own.database()
        before = dump(target)
        session = psycopg2.connect(**target.params)
        with closing(session), session, session.cursor() as cursor:
            cursor.execute("CREATE TABLE a (b int); COMMENT ON COLUMN a.b IS 'x'")
        assert "COMMENT ON COLUMN public.a.b IS 'x'" in dump(target)
        assert before != dump(target)


def _names() -> dict[str, object]:
    from foundry.fixtures import besides, designs

    modules = (besides, designs)
    return {name: getattr(module, name) for module in modules for name in module.__all__}
