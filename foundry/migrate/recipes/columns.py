"""Columns: added, dropped, retyped, and everything ALTER COLUMN can say."""

from __future__ import annotations

from dataclasses import replace

from foundry.migrate.calls import calls
from foundry.migrate.casts import Type, using
from foundry.migrate.compare import Change
from foundry.migrate.objects import Column, Place, Sequence
from foundry.migrate.recipes.move import Move, Phase, Planned, column
from foundry.migrate.recipes.serials import LARGEST, serial, usual_options
from foundry.migrate.recipes.values import comment, parameters
from foundry.migrate.spelling import chosen, literal, quote, relation, respelled
from foundry.migrate.steps import HOLE, Step


def columns(move: Move, change: Change) -> Planned:
    """Yield the steps of a column that comes, goes or changes."""
    match change:
        case Change(before=None, after=Column() as after):
            yield from _added(move, after, change)
        case Change(before=Column() as before, after=None):
            yield from _gone(move, before, change)
        case Change(before=Column() as before, after=Column() as after):
            again = after.generated and change.key in move.rebuilt
            if remade(move.version, before, after) or again:
                _, step = _dropped(move, before, Change(before=before, after=None))
                yield Phase.EXPRESSIONS_OFF, step
                yield from _added(move, after, Change(before=None, after=after))
            else:
                yield from _altered(move, before, after, change)


def remade(version: int, before: Column, after: Column) -> bool:
    """True for a generated column that no ALTER COLUMN leads to."""
    if before.generated == after.generated:
        other = bool(after.generated) and before.default != after.default
        return other and (version < 170000 or before.type != after.type)
    return not (before.generated == "STORED" and not after.generated)


def definition(move: Move, found: Column, *, inline: bool) -> str:
    """Return a column as CREATE TABLE and ADD COLUMN have it; `inline` allows `serial`."""
    word = serial(move.after, found) if inline else None
    parts = [quote(found.name), word or found.type]
    if found.storage and move.version >= 160000:
        parts.append(f"STORAGE {found.storage}")
    if found.compression:
        parts.append(f"COMPRESSION {found.compression}")
    if found.collation:
        parts.append(f"COLLATE {found.collation}")
    if found.generated:
        parts.append(f"GENERATED ALWAYS AS ({respelled(found.default)}) {found.generated}")
    elif found.identity:
        parts.append(f"GENERATED {found.identity} AS IDENTITY{identity_options(move, found)}")
    elif found.default and not word:
        parts.append(f"DEFAULT {respelled(found.default)}")
    if found.not_null:
        parts.append(f"{_not_null_name(found)}NOT NULL")
    return " ".join(parts)


def _not_null_name(found: Column) -> str:
    usual = chosen(found.table[1], found.name, "not_null")
    if found.not_null_name in ("", usual):
        return ""
    return f"CONSTRAINT {quote(found.not_null_name)} "


def identity_options(move: Move, found: Column) -> str:
    """Return the options of an identity in parentheses; nothing when all are the usual ones."""
    parts = []
    usual = chosen(found.table[1], found.name, "seq")
    if found.identity_sequence and found.identity_sequence != usual:
        place = (found.table[0], found.identity_sequence)
        parts.append(f"SEQUENCE NAME {relation(place, move.default)}")
    if found.identity_options and found.identity_options != usual_options(found.type):
        parts.append(found.identity_options)
    return f" ({' '.join(parts)})" if parts else ""


def _added(move: Move, after: Column, change: Change) -> Planned:
    table = after.table
    if ("table", *table) not in move.before:
        yield from rest(move, as_created(move, after), after, change)
        return
    first, phase = after, Phase.EXPRESSIONS if after.generated else Phase.COLUMNS
    late = after.key in move.deferred
    if late:
        first = replace(first, default="", not_null=False)
    bare = not (after.default or after.identity or after.generated)
    needy = after.not_null and bare and table in move.standing
    filled = needy and not after.fill_once
    if needy and after.fill_once:
        # Kept beside the table: no row is written, and no trigger fires.
        first = replace(first, default=after.fill)
    if filled:
        first = replace(first, not_null=False)
    sql = move.alter(table, f"ADD COLUMN {definition(move, first, inline=False)}")
    yield phase, move.step(table, "add column", sql, replace(change, after=first))
    if filled:
        yield from fill(move, after)
        yield from _nulls(move, replace(after, not_null=False), after, change)
    if first.default and not after.default:
        sql = move.alter(table, f"{column(after.name)} DROP DEFAULT")
        call = move.call(table, "drop_column_default", after.name)
        made = replace(change, before=first)
        yield Phase.DEFAULTS, move.step(table, "drop default", sql, made, call)
        first = replace(first, default="")
    yield from rest(move, as_created(move, first), after, change)


def as_created(move: Move, made: Column) -> Column:
    """Return the column as its definition alone makes it."""
    storage = made.storage if move.version >= 160000 else ""
    return replace(made, storage=storage, comment="", statistics=-1, options=())


def _gone(move: Move, before: Column, change: Change) -> Planned:
    if calls(before, move.replaced) and not before.generated:
        sql = move.alter(before.table, f"{column(before.name)} DROP DEFAULT")
        call = move.call(before.table, "drop_column_default", before.name)
        yield Phase.DEFAULTS_OFF, move.step(before.table, "drop default", sql, change, call)
    if before.generated or ("table", *before.table) in move.after:
        yield _dropped(move, before, change)


def _dropped(move: Move, before: Column, change: Change) -> tuple[Phase, Step]:
    sql = move.alter(before.table, f"DROP COLUMN {quote(before.name)}")
    call = move.call(before.table, "drop_column", before.name, cascade=False)
    phase = Phase.EXPRESSIONS_OFF if before.generated else Phase.COLUMNS_OFF
    return phase, move.step(before.table, "drop column", sql, change, call)


def fill(move: Move, found: Column) -> Planned:
    """Yield the step that gives a value to the rows that are there already."""
    value = found.default if found.volatile and found.default else found.fill
    name = quote(found.name)
    sql = f"UPDATE {move.name(found.table)} SET {name} = {value or HOLE} WHERE {name} IS NULL"
    step = Step(action="fill column", sql=sql, after=found, value=value)
    yield Phase.FILLS, step


def _altered(move: Move, before: Column, after: Column, change: Change) -> Planned:
    yield from _retyped(move, before, after, change)
    yield from _nulls(move, before, after, change)
    yield from _identity(move, before, after, change)
    yield from rest(move, before, after, change)


def retyped(before: Column, after: Column) -> bool:
    """True when the values are written or ordered in another way."""
    return (before.type, before.collation) != (after.type, after.collation)


def _retyped(move: Move, before: Column, after: Column, change: Change) -> Planned:
    if not retyped(before, after) and change.key not in move.recast:
        return
    name = quote(after.name)
    cast = "" if after.generated else using(before.type, after.type, name)
    if change.key in move.recast:
        # Its enumerated type was made anew under the same name.
        cast = f"{name}::text{'[]' if after.type.endswith('[]') else ''}::{after.type}"
    what = f"{column(after.name)} TYPE {after.type}"
    if after.collation:
        what += f" COLLATE {after.collation}"
    sql = move.alter(after.table, what + (f" USING {cast}" if cast else ""))
    yield Phase.TYPES, move.step(after.table, "retype column", sql, change)


def _nulls(move: Move, before: Column, after: Column, change: Change) -> Planned:
    table = after.table
    if before.not_null and not after.not_null:
        sql = move.alter(table, f"{column(after.name)} DROP NOT NULL")
        call = move.call(table, "drop_not_null", after.name)
        yield Phase.NULLS, move.step(table, "drop not null", sql, change, call)
    elif after.not_null and not before.not_null:
        yield from set_not_null(move, after, change)
    elif after.not_null and before.not_null_name != after.not_null_name:
        yield from _renamed_not_null(move, before.not_null_name, after, change)
    if after.not_null and before.not_null and after.not_null_valid != before.not_null_valid:
        yield from _proof(move, after, change)


def _proof(move: Move, after: Column, change: Change) -> Planned:
    """Yield what makes a NOT NULL that was not validated a valid one, and the other way."""
    table, name = after.table, quote(after.not_null_name)
    if after.not_null_valid:
        yield from _validated(move, after.not_null_name, after, change)
        return
    sql = move.alter(table, f"DROP CONSTRAINT {name}")
    yield Phase.NULLS, move.step(table, "drop not null", sql, change)
    sql = move.alter(table, f"ADD CONSTRAINT {name} NOT NULL {quote(after.name)} NOT VALID")
    yield Phase.NOT_NULLS, move.step(table, "add not null", sql, change)


def set_not_null(move: Move, after: Column, change: Change) -> Planned:
    """Yield what makes a column NOT NULL, in steps where others use its table."""
    table, name = after.table, quote(after.name)
    if not move.busy(table):
        sql = move.alter(table, f"{column(after.name)} SET NOT NULL")
        call = move.call(table, "add_not_null", after.name)
        yield Phase.NOT_NULLS, move.step(table, "set not null", sql, change, call)
        if _not_null_name(after):
            usual = chosen(table[1], after.name, "not_null")
            yield from _renamed_not_null(move, usual, after, change)
    elif move.version >= 180000:
        # SET NOT NULL over a NOT VALID constraint would scan under the strongest lock.
        sql = move.alter(
            table, f"ADD CONSTRAINT {quote(after.not_null_name)} NOT NULL {name} NOT VALID"
        )
        yield Phase.NOT_NULLS, move.step(table, "add not null", sql, change)
        yield from _validated(move, after.not_null_name, after, change)
    else:
        yield from _proven_not_null(move, after, change)


def _proven_not_null(move: Move, after: Column, change: Change) -> Planned:
    """Let a check that is validated without a strong lock spare SET NOT NULL its scan."""
    table, proof = after.table, quote("foundry_not_null_proof")
    check = f"ADD CONSTRAINT {proof} CHECK ({quote(after.name)} IS NOT NULL) NOT VALID"
    for action, what in (
        ("add constraint", check),
        ("validate constraint", f"VALIDATE CONSTRAINT {proof}"),
        ("set not null", f"{column(after.name)} SET NOT NULL"),
        ("drop constraint", f"DROP CONSTRAINT {proof}"),
    ):
        yield Phase.NOT_NULLS, move.step(table, action, move.alter(table, what), change)


def _validated(move: Move, name: str, after: Column, change: Change) -> Planned:
    sql = move.alter(after.table, f"VALIDATE CONSTRAINT {quote(name)}")
    yield Phase.NOT_NULLS, move.step(after.table, "validate constraint", sql, change)


def _renamed_not_null(move: Move, old: str, after: Column, change: Change) -> Planned:
    if not old or not after.not_null_name:
        return
    others, phase = move.before.of_table(Column, after.table), Phase.NOT_NULLS
    if any(c.not_null_name == after.not_null_name for c in others):
        aside = set_aside(move, (after.table[0], old))[1]
        sql = move.alter(after.table, f"RENAME CONSTRAINT {quote(old)} TO {quote(aside)}")
        yield Phase.RENAMES, move.step(after.table, "rename not null", sql, change)
        old, phase = aside, Phase.KEYS  # the name is free by then
    names = f"{quote(old)} TO {quote(after.not_null_name)}"
    sql = move.alter(after.table, f"RENAME CONSTRAINT {names}")
    yield phase, move.step(after.table, "rename not null", sql, change)


def _identity(move: Move, before: Column, after: Column, change: Change) -> Planned:
    table, place = after.table, (after.table[0], after.identity_sequence)
    if before.identity and not after.identity:
        sql = move.alter(table, f"{column(after.name)} DROP IDENTITY")
        yield Phase.IDENTITIES_OFF, move.step(table, "drop identity", sql, change)
    elif after.identity and not before.identity:
        options = identity_options(move, after)
        what = f"{column(after.name)} ADD GENERATED {after.identity} AS IDENTITY{options}"
        sql = move.alter(table, what)
        yield Phase.IDENTITIES, move.step(table, "add identity", sql, change)
        yield from continued(move, place, before, change)
    elif after.identity:
        if before.identity != after.identity:
            sql = move.alter(table, f"{column(after.name)} SET GENERATED {after.identity}")
            yield Phase.IDENTITIES, move.step(table, "alter identity", sql, change)
        if before.identity_sequence != after.identity_sequence:
            old = move.name((table[0], before.identity_sequence))
            sql = f"ALTER SEQUENCE {old} RENAME TO {quote(after.identity_sequence)}"
            yield Phase.RENAMES, move.step(table, "rename sequence", sql, change)
        if before.identity_options != after.identity_options:
            sql = f"ALTER SEQUENCE {move.name(place)} {after.identity_options}"
            yield Phase.IDENTITIES, move.step(table, "alter identity", sql, change)


def continued(move: Move, place: Place, before: Column, change: Change) -> Planned:
    """Yield the step that lets a new sequence go on where the old one, or the column, is."""
    name, table = move.name(place), before.table
    new = f"pg_catalog.setval({literal(name)}, "
    old = before.sequence or (
        (table[0], before.identity_sequence) if before.identity_sequence else None
    )
    if old is not None:
        where = move.name(set_aside(move, old) if old == place else old)
        sql = f"SELECT {new}last_value, is_called) FROM {where}"
    elif before.type not in LARGEST:
        return  # what does not count cannot be gone on with
    else:
        value = quote(before.name)
        sql = f"SELECT {new}max({value})) FROM {move.name(table)} HAVING max({value}) > 0"
    phase = Phase.IDENTITIES if isinstance(change.after, Column) else Phase.SEQUENCES
    yield phase, move.step(table, "set sequence", sql, change)


def set_aside(move: Move, place: Place) -> Place:
    """Return where something waits while something else takes its name."""
    namespace, name = place
    return (namespace, move.spare(name, "_before"))


def rest(move: Move, before: Column, after: Column, change: Change) -> Planned:
    """Yield what ALTER COLUMN says besides type, NOT NULL and identity, and the comment."""
    table, which = after.table, column(after.name)
    if not after.generated and not before.generated:
        yield from _default(move, before, after, change)
    elif before.generated and after.generated and before.default != after.default:
        sql = move.alter(table, f"{which} SET EXPRESSION AS ({respelled(after.default)})")
        yield Phase.EXPRESSIONS, move.step(table, "set expression", sql, change)
    elif before.generated and not after.generated:
        sql = move.alter(table, f"{which} DROP EXPRESSION")
        yield Phase.EXPRESSIONS_OFF, move.step(table, "drop expression", sql, change)
        yield from _default(move, replace(before, default=""), after, change)
    for action, what in _plain(move, before, after):
        sql = move.alter(table, f"{which} {what}")
        yield Phase.TABLE_OPTIONS, move.step(table, action, sql, change)
    if before.comment != after.comment:
        name = f"{move.name(table)}.{quote(after.name)}"
        sql = f"COMMENT ON COLUMN {name} IS {comment(after.comment)}"
        yield Phase.COMMENTS, move.step(table, "comment", sql, change)


# What types have that do not have EXTENDED; PostgreSQL 15 has no word for "the type's own".
_STORAGE = {"numeric": "MAIN", "inet": "MAIN", "cidr": "MAIN", "vector": "EXTERNAL"}


def _plain(move: Move, before: Column, after: Column) -> list[tuple[str, str]]:
    found = []
    if before.storage != after.storage:
        usual = "DEFAULT" if move.version >= 160000 else _own_storage(after.type)
        found.append(("set storage", f"SET STORAGE {after.storage or usual}"))
    if before.compression != after.compression:
        found.append(("set compression", f"SET COMPRESSION {after.compression or 'default'}"))
    if before.statistics != after.statistics:
        found.append(("set statistics", f"SET STATISTICS {after.statistics}"))
    changes = parameters(before.options, after.options)
    return found + [("set column options", what) for what in changes]


def _own_storage(type_name: str) -> str:
    return _STORAGE.get(Type.of(type_name).base, "EXTENDED")


def _default(move: Move, before: Column, after: Column, change: Change) -> Planned:
    table = after.table
    again = retyped(before, after) or change.key in move.recast | move.rebuilt
    same = before.default == after.default and not (again and before.default and after.default)
    if same and not _new_sequence(move, before, after):
        return
    if before.default:
        sql = move.alter(table, f"{column(after.name)} DROP DEFAULT")
        call = move.call(table, "drop_column_default", after.name)
        if not after.default or again:
            yield Phase.DEFAULTS_OFF, move.step(table, "drop default", sql, change, call)
    if after.default:
        sql = move.alter(table, f"{column(after.name)} SET DEFAULT {respelled(after.default)}")
        yield Phase.DEFAULTS, move.step(table, "set default", sql, change)


def _new_sequence(move: Move, before: Column, after: Column) -> bool:
    """True when the sequence of an unchanged default is made anew."""
    if after.sequence is None or after.key not in move.before:
        return False
    key = ("sequence", *after.sequence)
    made = key in move.after and key not in move.before
    return made and isinstance(move.after.get(key), Sequence)
