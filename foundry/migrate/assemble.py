"""Rows of the catalog queries -> objects; no database is asked here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from foundry.migrate import objects
from foundry.migrate.objects import (
    Column,
    Constraint,
    Enum,
    Extension,
    Function,
    Grant,
    Index,
    Key,
    Namespace,
    Object,
    Other,
    Place,
    Policy,
    Table,
    Trigger,
    View,
)
from foundry.migrate.reading import NOTHING, Number, Reading, Row, called

_KINDS = {"p": "PRIMARY KEY", "u": "UNIQUE", "x": "EXCLUDE", "c": "CHECK", "f": "FOREIGN KEY"}
_ENABLED = {"O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
_IDENTITY = {"a": "ALWAYS", "d": "BY DEFAULT"}
_GENERATED = {"s": "STORED", "v": "VIRTUAL"}
_STORAGE = {"p": "PLAIN", "e": "EXTERNAL", "m": "MAIN", "x": "EXTENDED"}
_COMPRESSION = {"p": "pglz", "l": "lz4"}

# PostgreSQL 15.20 notes the version of every column among its options, where nobody can set it;
# its pg_dump leaves it out.
_BOOKKEEPING = "pg_attver="

# The comment that every database has from the start.
_COMMENT_OF_PUBLIC = "standard public schema"


def assemble(reading: Reading) -> Iterator[Object]:
    """Yield every object the rows tell of."""
    for kind in _ASSEMBLED:
        yield from kind(reading)


def _options(found: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(sorted(found)) if found else ()


def _after(prefix: str, text: str) -> str:
    assert text.startswith(prefix), f"{text!r} does not begin with {prefix!r}"
    return text[len(prefix) :]


def _numbers(vector: str | None) -> tuple[int, ...]:
    return tuple(map(int, vector.split())) if vector else ()


def _together(*names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for some in names for name in some))


def _namespaces(reading: Reading) -> Iterator[Namespace | Extension]:
    for _, _, name, _, _, comment in reading.rows["spaces"]:
        if name == "public" and comment == _COMMENT_OF_PUBLIC:
            comment = None
        yield Namespace(name=name, comment=comment or "")
    for (name,) in reading.rows["extensions"]:
        yield Extension(name=name)


def _enums(reading: Reading) -> Iterator[Enum]:
    for space, name, spelling, comment, labels in reading.rows["enums"]:
        yield Enum(
            namespace=reading.spaces[space],
            name=name,
            labels=tuple(labels or ()),
            comment=comment or "",
            spelling=reading.text(spelling),
        )


def _sequence_options(row: Row) -> str:
    by, low, high, start, cache, cycle = row[4:10]
    return (
        f"INCREMENT BY {by} MINVALUE {low} MAXVALUE {high} START WITH {start}"
        f" CACHE {cache} {'CYCLE' if cycle else 'NO CYCLE'}"
    )


def _sequences(reading: Reading) -> Iterator[objects.Sequence]:
    for row in reading.rows["sequences"]:
        deptype, _, _, namespace, table, column, comment = row[10:]
        if deptype == "i":
            continue
        yield objects.Sequence(
            namespace=reading.spaces[row[1]],
            name=row[2],
            type=row[3],
            options=_sequence_options(row),
            owner=(*reading.place(namespace, table), column) if column else None,
            comment=comment or "",
        )


def _columns(reading: Reading) -> Iterator[Column]:
    volatile = {oid for row in reading.rows["volatile"] for oid in row[0] or ()}
    identities: dict[Number, tuple[str, str]] = {
        (row[11], row[12]): (row[2], _sequence_options(row))
        for row in reading.rows["sequences"]
        if row[10] == "i"
    }
    # A partition has its columns from its parent.
    partitions = {row[0] for row in reading.rows["relations"] if row[8]}
    for oid, rows in groupby(reading.rows["columns"], itemgetter(0)):
        key = reading.relations.get(oid)
        if key is None or key[0] == "view" or oid in partitions:
            continue
        table = (key[1], key[2])
        for position, row in enumerate(rows, 1):
            yield _column(reading, row, table, position, (identities, volatile))


def _column(
    reading: Reading,
    row: Row,
    table: Place,
    position: int,
    more: tuple[dict[Number, tuple[str, str]], set[int]],
) -> Column:
    oid, number, name, type_, not_null, constraint, valid, default, nodes = row[:9]
    identity, generated, collation, storage, compression, statistics, options = row[9:16]
    comment, enum_namespace, enum, checked, base = row[16:]
    identities, volatile = more
    sequence, sequence_options = identities.get((oid, number), ("", "")) if identity else ("", "")
    uses = NOTHING if default is None else reading.uses("default", oid, number)
    return Column(
        table=table,
        name=name,
        type=reading.text(type_),
        not_null=not_null,
        not_null_name=constraint or "",
        not_null_valid=valid is not False,
        default="" if default is None else reading.text(default),
        identity=_IDENTITY[identity] if identity else "",
        identity_options=sequence_options,
        identity_sequence=sequence,
        generated=_GENERATED[generated] if generated else "",
        collation=reading.text(collation) if collation else "",
        storage=_STORAGE[storage] if storage else "",
        compression=_COMPRESSION.get(compression, ""),
        statistics=statistics,
        options=_options(options and [o for o in options if not o.startswith(_BOOKKEEPING)]),
        comment=comment or "",
        position=position,
        volatile=nodes is not None and not volatile.isdisjoint(called(nodes)),
        reads=uses.columns(table) if generated else (),
        enum=reading.place(enum_namespace, enum) if enum else None,
        sequence=None if uses is NOTHING else uses.drawn(),
        functions=tuple(sorted(uses.functions)),
        checked=checked,
        base=reading.text(base) if base else "",
    )


def _relations(reading: Reading) -> Iterator[Table | View]:
    columns = {
        oid: tuple(rows)
        for oid, rows in groupby(reading.rows["columns"], itemgetter(0))
        if oid in reading.relations
    }
    for row in reading.rows["relations"]:
        made = _view if row[3] in "vm" else _table
        yield made(reading, row, columns.get(row[0], ()))


def _table(reading: Reading, row: Row, columns: tuple[Row, ...]) -> Table:
    unlogged, options, partition_by, namespace, parent, bound, row_security, forced = row[4:12]
    replica_identity, _, _, comment, _, entangled, admits = row[12:]
    return Table(
        namespace=reading.spaces[row[1]],
        name=row[2],
        unlogged=unlogged,
        options=_options(options),
        given=tuple(options or ()),
        partition_by=reading.text(partition_by) if partition_by else "",
        partition_of=reading.place(namespace, parent) if parent else None,
        bound=reading.text(bound) if bound else "",
        admits=reading.text(admits) if admits else "",
        required=tuple((c[2], c[5] or "") for c in columns if c[4]) if parent else (),
        row_security=row_security,
        force_row_security=forced,
        # The index of USING INDEX may have been dropped; the server then acts as with NOTHING.
        replica_identity=replica_identity or "NOTHING",
        comment=comment or "",
        entangled=entangled,
    )


def _view(reading: Reading, row: Row, columns: tuple[Row, ...]) -> View:
    uses = reading.uses("relation", row[0])
    return View(
        namespace=reading.spaces[row[1]],
        name=row[2],
        query=reading.text(row[13]).strip().removesuffix(";"),
        materialized=row[3] == "m",
        columns=tuple((c[2], reading.text(c[3])) for c in columns),
        options=_options(row[5]),
        given=tuple(row[5] or ()),
        comment=row[15] or "",
        populated=row[14],
        defaults=tuple((c[2], reading.text(c[7])) for c in columns if c[7] is not None),
        notes=tuple((c[2], c[16]) for c in columns if c[16]),
        rules=tuple(map(reading.text, row[16])),
        depends=tuple(sorted(uses.keys | uses.functions)),
    )


def _constraints(reading: Reading) -> Iterator[Constraint]:
    for row in reading.rows["constraints"]:
        table = reading.relation(row[1])
        if table is not None:
            yield _constraint(reading, row, table)


def _constraint(reading: Reading, row: Row, table: Place) -> Constraint:
    oid, relation, name, kind, definition, valid, comment, numbers, expression = row[:9]
    deferrable, deferred, index_name, index, index_numbers, index_text, prefix, options = row[9:17]
    other_namespace, other, other_oid, other_numbers, other_names = row[17:]
    when = ("", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED")[deferrable + deferred]
    if options:
        # Where pg_dump has it, too: before what says when the key is checked.
        definition = f"{definition.removesuffix(when)} WITH ({options}){when}"
    unchecked = not valid and definition.endswith(" NOT VALID")
    columns = reading.columns(relation, numbers or ())
    uses, of_index = reading.uses("constraint", oid), reading.uses("index", index or 0)
    if kind == "f":
        index_text = index_name
    elif index_text:
        index_text = reading.text(_after(prefix, index_text))
        covered = reading.columns(relation, _numbers(index_numbers))
    return Constraint(
        table=table,
        name=name,
        kind=_KINDS[kind],
        definition=reading.text(definition.removesuffix(" NOT VALID") if unchecked else definition),
        valid=not unchecked,
        comment=comment or "",
        columns=columns,
        reads=columns if kind in "cf" else _together(columns, covered, of_index.columns(table)),
        expression=f"({reading.text(expression)})" if expression else "",
        references=reading.place(other_namespace, other) if other else None,
        referenced=tuple(other_names or reading.columns(other_oid, other_numbers or ())),
        deferrable=when.strip(),
        index=index_text or "",
        functions=tuple(sorted(uses.functions if kind in "cf" else of_index.functions)),
    )


def _indexes(reading: Reading) -> Iterator[Index]:
    for row in reading.rows["indexes"]:
        oid, relation, name, unique, valid, comment, vector, keys, method = row[:9]
        predicate, definition, prefix, terms = row[9:]
        table = reading.relation(relation)
        if table is None:
            continue
        numbers, uses = _numbers(vector), reading.uses("index", oid)
        columns = reading.columns(relation, numbers)
        yield Index(
            table=table,
            name=name,
            definition=reading.text(_after(prefix, definition)),
            unique=unique,
            valid=valid,
            comment=comment or "",
            columns=columns if uses is NOTHING else _together(columns, uses.columns(table)),
            keys=() if 0 in numbers else reading.columns(relation, numbers[:keys]),
            terms=tuple(map(reading.text, terms or ())),
            method=method,
            predicate=reading.text(predicate) if predicate else "",
            functions=tuple(sorted(uses.functions)),
        )


def _functions(reading: Reading) -> Iterator[Function]:
    for row in reading.rows["functions"]:
        oid, space, namespace, name, arguments, definition, prefix, short, returns = row[:9]
        kind, comment = row[9:]
        if namespace == reading.default:
            definition = short + _after(prefix, definition)
        uses = reading.uses("function", oid)
        yield Function(
            namespace=reading.spaces[space],
            name=name,
            arguments=reading.text(arguments),
            definition=reading.text(definition),
            returns=reading.text(returns) if returns else "",
            kind="PROCEDURE" if kind == "p" else "FUNCTION",
            comment=comment or "",
            depends=tuple(sorted(uses.keys | uses.functions)),
        )


def _triggers(reading: Reading) -> Iterator[Trigger]:
    for oid, relation, name, definition, enabled, vector, comment in reading.rows["triggers"]:
        table = reading.relation(relation)
        if table is None:
            continue
        uses = reading.uses("trigger", oid)
        yield Trigger(
            table=table,
            name=name,
            definition=reading.text(definition),
            enabled=_ENABLED[enabled],
            comment=comment or "",
            columns=_together(reading.columns(relation, _numbers(vector)), uses.columns(table)),
            functions=tuple(sorted(uses.functions)),
        )


def _policies(reading: Reading) -> Iterator[Policy]:
    for oid, relation, name, definition, comment in reading.rows["policies"]:
        table = reading.relation(relation)
        if table is None:
            continue
        uses = reading.uses("policy", oid)
        yield Policy(
            table=table,
            name=name,
            definition=reading.text(definition),
            comment=comment or "",
            columns=uses.columns(table),
            depends=tuple(sorted(uses.keys)),
            functions=tuple(sorted(uses.functions)),
        )


def _grants(reading: Reading) -> Iterator[Grant]:
    targets = _targets(reading)
    for kind, oid, number, role, privilege, grantable, revoked in reading.rows["grants"]:
        target: Key | None = targets.get((kind, oid))
        if kind == "column" and oid in reading.relations:
            target = ("column", *reading.relations[oid][1:], reading.names[oid][number])
        if target is not None:
            yield Grant(
                target=target,
                role=role,
                privilege=privilege,
                grantable=grantable,
                revoked=revoked,
            )


def _targets(reading: Reading) -> dict[tuple[str, int], Key]:
    rows, found = reading.rows, {("relation", oid): key for oid, key in reading.relations.items()}
    for row in rows["sequences"]:
        if row[10] != "i":
            found["relation", row[0]] = ("sequence", reading.spaces[row[1]], row[2])
    for row in rows["functions"]:
        place = (reading.spaces[row[1]], row[3])
        found["function", row[0]] = ("function", *place, reading.text(row[4]))
    for row in rows["spaces"]:
        found["namespace", row[0]] = ("namespace", row[2])
    return found


def _others(reading: Reading) -> Iterator[Other]:
    for description, rows in groupby(reading.rows["others"], itemgetter(0)):
        used = [(own, reading.key(*key)) for _, own, *key in rows]
        yield Other(
            description=reading.text(description),
            depends=tuple(sorted({key for own, key in used if not own})),
            owners=tuple(sorted({key for own, key in used if own})),
        )


_ASSEMBLED: tuple[Callable[[Reading], Iterator[Object]], ...] = (
    _namespaces,
    _enums,
    _sequences,
    _relations,
    _columns,
    _constraints,
    _indexes,
    _functions,
    _triggers,
    _policies,
    _grants,
    _others,
)
