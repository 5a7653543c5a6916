"""What the server read back, completed with the models' own words; and what they answer for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from peewee import ForeignKeyField, Model

from foundry.created import Enum, Function, Grant, MaterializedView, Partition, Trigger, several
from foundry.created import View as DeclaredView
from foundry.declare import Index as DeclaredIndex
from foundry.declare import Schema, needs
from foundry.errors import DeclarationError
from foundry.migrate.declared import (
    Built,
    declares_comments,
    spoken,
)
from foundry.migrate.fills import fill
from foundry.migrate.objects import (
    Column,
    Constraint,
    Extension,
    Index,
    Key,
    Namespace,
    Object,
    Place,
    Sequence,
    Table,
    View,
)
from foundry.migrate.objects import Enum as EnumType
from foundry.migrate.objects import Function as FunctionObject
from foundry.migrate.objects import Grant as GrantObject
from foundry.migrate.objects import Policy as PolicyObject
from foundry.migrate.objects import Trigger as TriggerObject
from foundry.migrate.script import Script, declared_name, model_of
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.steps import Managed, Renames
from foundry.migrate.wording import clipped, index_name, stored


def managed_by(script: Script, schema: Schema) -> Managed:
    """Say what the models and objects of a script answer for."""
    naming = script.setting.naming
    tables = {table.place for table in script.built}
    partitions = (o for o in script.objects if isinstance(o, Partition))
    tables |= {naming.place(o.namespace or o.model._meta.schema, o.name) for o in partitions}
    commented = {t.place for t in script.built if declares_comments(t.model)}
    grants = [o for o in script.objects if isinstance(o, Grant)]
    roles = {role for grant in grants for role in several(grant.to)}
    named = [declared_name(o, naming) for o in script.objects]
    return Managed(
        tables=frozenset(tables),
        commented=frozenset(commented),
        whole=schema.whole,
        roles=frozenset("" if role.upper() == "PUBLIC" else role for role in roles),
        names=frozenset({n for n in named if n} | set(_sequences(script))),
        indexes=frozenset(
            ("index", *place, clipped(str(vars(o)["_name"])))
            for o in script.objects
            if isinstance(o, DeclaredIndex) and (place := _place(script, o.model)) not in tables
        ),
        waiting=frozenset(_waiting(script, schema)),
    )


def _place(script: Script, model: type[Model]) -> Place:
    return script.setting.naming.place(model._meta.schema, model._meta.table_name)


def _sequences(script: Script) -> Iterable[Key]:
    for table in script.built:
        for field in table.model._meta.sorted_fields:
            if field.sequence:
                namespace, name = field._sequence_parts()
                yield ("sequence", *script.setting.naming.place(namespace, name))


def _waiting(script: Script, schema: Schema) -> Iterable[Key]:
    for table in script.built:
        for kind, name in table.left_out:
            yield (kind, *table.place, name)
    for made in schema.objects:
        if not script.setting.absent(made):
            continue
        model, key = model_of(made), declared_name(made, script.setting.naming)
        if isinstance(made, DeclaredIndex) and model is not None:
            yield ("index", *_place(script, model), clipped(str(vars(made)["_name"])))
        elif key is not None:
            yield key


def finished(snapshot: Snapshot, script: Script, *, live: Snapshot, managed: Managed) -> Snapshot:
    """Take out what stands in for tables of others, and add the models' own words."""
    words = _Words.of(script, snapshot)
    extensions = {e.key: e for e in live.kind(Extension)}
    extensions.update(
        (e.key, e) for e in (Extension(name=n, needs=needs) for n, needs in script.needed.items())
    )
    kept = (
        _completed(o, words, live, script.stubs)
        for o in snapshot
        if _is_wanted(o, script, managed) and not isinstance(o, Extension)
    )
    return Snapshot.of([*extensions.values(), *kept])


def _is_wanted(o: Object, script: Script, managed: Managed) -> bool:
    if isinstance(o, Namespace):
        return o.name in script.setting.used
    if isinstance(o, EnumType):
        return o.key in managed.names
    if isinstance(o, GrantObject):
        return o.role in managed.roles
    if isinstance(o, Table):
        return o.place not in script.stubs
    if isinstance(o, Sequence):
        return o.owner is None or o.owner[:2] not in script.stubs
    if isinstance(o, Index):
        return o.table not in script.stubs or o.key in managed.indexes
    if isinstance(o, (TriggerObject, PolicyObject)):
        return True
    return not (isinstance(o, (Column, Constraint)) and o.table in script.stubs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """Texts of the models, by the key of what they are the text of."""

    tables: Mapping[Place, str]
    sources: Mapping[Key, str]
    tuned: Mapping[Key, tuple[str, ...]]
    needs: Mapping[Key, tuple[str, ...]]
    models: Mapping[Place, Built]
    empty: frozenset[Key]
    """Materialised views that are declared without their rows."""
    script: Script

    @classmethod
    def of(cls, script: Script, snapshot: Snapshot) -> _Words:
        """Collect them; a table whose own text holds a foreign key gives none."""
        real = script.setting.naming.real
        constraints = snapshot.kind(Constraint)
        keys = Counter(c.table for c in constraints if c.kind == "FOREIGN KEY")
        sources: dict[Key, str] = {}
        tuned: dict[Key, tuple[str, ...]] = {}
        wants: dict[Key, tuple[str, ...]] = {}
        for table in script.built:
            for text in table.indexes:
                name = index_name(text)
                if name:
                    sources[("index", *table.place, name)] = real(text)
            for name, text in table.constraints.items():
                sources[("constraint", *table.place, name)] = real(text)
            for name, options in table.tuned.items():
                tuned[("index", *table.place, name)] = options
            for (kind, name), needed in table.needs.items():
                wants[(kind, *table.place, name)] = needed
        for made in script.objects:
            key = _key(script, made)
            if key is not None:
                wants[key] = needs(made)
                sources[key] = real(script.declared[id(made)][0])
                if isinstance(made, DeclaredIndex):
                    tuned[key] = made.tuned
        return cls(
            tables={
                t.place: real(t.source)
                for t in script.built
                if t.body and keys[t.place] == len(t.keys)
            },
            sources=sources,
            tuned=tuned,
            needs=wants,
            models={t.place: t for t in script.built},
            empty=frozenset(_empty(script)),
            script=script,
        )


def _empty(script: Script) -> Iterable[Key]:
    for made in script.objects:
        key = _key(script, made)
        if isinstance(made, MaterializedView) and not made.data and key is not None:
            yield key


def _key(script: Script, made: Any) -> Key | None:
    model = model_of(made)
    if isinstance(made, DeclaredIndex) and model is not None:
        return ("index", *_place(script, model), clipped(str(vars(made)["_name"])))
    if isinstance(made, Trigger) and model is not None:
        return ("trigger", *_place(script, model), clipped(made.name))
    if isinstance(made, (DeclaredView, MaterializedView, Function)):
        return declared_name(made, script.setting.naming)
    return None


def _completed(o: Object, words: _Words, live: Snapshot, stubs: frozenset[Place]) -> Object:
    if isinstance(o, Namespace):
        # Nobody declares the comment of a namespace.
        return live.get(o.key) or o
    key = o.key[:3] if isinstance(o, FunctionObject) else o.key
    source, needed = words.sources.get(key, ""), words.needs.get(key, ())
    if isinstance(o, Column):
        table = words.models.get(o.table)
        field = table.model._meta.columns.get(o.name) if table else None
        filled, once = fill(field, o.type, words.script) if field is not None else ("", False)
        more = replace(o, fill=filled, fill_once=once, needs=needed)
        return more if filled or needed else o
    if isinstance(o, Table):
        return replace(o, source=words.tables.get(o.place, ""))
    if isinstance(o, Index):
        tuned = words.tuned.get(key, ())
        return replace(o, source=source, tuned=tuned, needs=needed)
    if isinstance(o, Constraint):
        rests = _rests_on(o, live) if o.references in stubs and o.kind == "FOREIGN KEY" else o.index
        return replace(o, source=source, index=rests) if source or rests != o.index else o
    if isinstance(o, View):
        # The shadow leaves all of them empty.
        filled_view = key not in words.empty
        return replace(o, source=source, needs=needed, populated=filled_view)
    if isinstance(o, FunctionObject):
        return replace(o, source=source, needs=needed)
    return replace(o, source=source) if isinstance(o, TriggerObject) else o


def _rests_on(key: Constraint, live: Snapshot) -> str:
    """Name the index of the table itself: the copy's has a name of its own."""
    assert key.references is not None
    wanted = set(key.referenced)
    for found in live.of_table(Constraint, key.references):
        if found.kind in ("PRIMARY KEY", "UNIQUE") and set(found.columns) == wanted:
            return found.name
    for index in live.of_table(Index, key.references):
        if index.unique and set(index.keys) == wanted and not index.predicate:
            return index.name
    return ""


def renames_of(script: Script, schema: Schema, *, live: Snapshot) -> Renames:
    """Read what models and enums say was renamed; DeclarationError where that cannot be."""
    naming = script.setting.naming
    tables: list[tuple[Place, Place]] = []
    columns: list[tuple[Place, str, str]] = []
    for table in script.built:
        old, renamed = stated_renames(table.model)
        if old:
            parts = (table.place[0], old) if isinstance(old, str) else tuple(old)
            if len(parts) != 2:
                raise DeclarationError(
                    f"{spoken(table.model)}: renamed_from is a name or (namespace, name)"
                )
            if naming.place(*parts)[0] != table.place[0]:
                raise DeclarationError(
                    f"{spoken(table.model)}: renamed_from is in another namespace; move the "
                    f"table with ALTER TABLE ... SET SCHEMA in a migration of your own first"
                )
            tables.append((naming.place(*parts), table.place))
        place = tables[-1][0] if old else table.place
        columns += _columns(table, renamed, live=live, places=(place, table.place))
    # One that is renamed to the name it has says nothing.
    tables = [(before, after) for before, after in tables if before != after]
    _refuse_twice((before for before, _ in tables), "tables")
    labels = [
        (naming.place(o.namespace, o.name), old, new)
        for o in script.objects
        if isinstance(o, Enum)
        for new, old in o.renames.items()
        if new != old
    ]
    return Renames(tables=tuple(tables), columns=tuple(columns), labels=tuple(labels))


def _columns(
    table: Built, renamed: Mapping[str, str], *, live: Snapshot, places: tuple[Place, Place]
) -> Iterable[tuple[Place, str, str]]:
    meta = table.model._meta
    seen = set()
    for new, old in renamed.items():
        field = meta.combined.get(new)
        if field is None:
            raise DeclarationError(f'{spoken(table.model)}: renames "{new}", which it has not')
        if isinstance(field, ForeignKeyField):
            old = _key_column(old, live, places)
        old = stored(old)
        if old in seen:
            raise DeclarationError(f'{spoken(table.model)}: two columns are renamed from "{old}"')
        seen.add(old)
        if old != stored(field.column_name):
            yield (table.place, old, stored(field.column_name))


def _key_column(old: str, live: Snapshot, places: tuple[Place, Place]) -> str:
    # Peewee names the column of a foreign key after its field, with "_id" at the end.
    there = {c.name for place in places for c in live.of_table(Column, place)}
    key = f"{old}_id"
    return key if stored(old) not in there and stored(key) in there else old


def _refuse_twice(places: Iterable[Place], what: str) -> None:
    seen = set()
    for place in places:
        if place in seen:
            raise DeclarationError(f'two {what} are renamed from "{place[1]}"')
        seen.add(place)


def stated_renames(model: type[Model]) -> tuple[Any, dict[str, str]]:
    """Return `renamed_from` and `renames` of a model's own Meta.

    Peewee hands Meta on to subclasses: the very same mapping, or an equal old name, of a
    base is the base's.
    """
    meta = vars(model._meta)
    bases = [vars(base._meta) for base in model.__mro__[1:] if hasattr(base, "_meta")]
    old, columns = meta.get("renamed_from"), meta.get("renames")
    if any(base.get("renamed_from") == old for base in bases):
        old = None
    if any(base.get("renames") is columns for base in bases):
        columns = None
    return old, dict(columns or {})
