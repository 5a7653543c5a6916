"""Everything a declared schema consists of, as statements in the order they can run."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from peewee import ForeignKeyField, Model, sort_models  # type: ignore[attr-defined]

from foundry import requirements
from foundry.created import (
    Created,
    Enum,
    Function,
    Grant,
    MaterializedView,
    Named,
    Partition,
    Policy,
    RowSecurity,
    Trigger,
    View,
    rendered,
)
from foundry.declare import External, Index, Schema, needs
from foundry.errors import DeclarationError
from foundry.migrate import externals as external_tables
from foundry.migrate.declared import (
    Bind,
    Built,
    Naming,
    Writing,
    first_of_each,
    spoken,
)
from foundry.migrate.extensions import used_extensions
from foundry.migrate.objects import Enum as EnumType
from foundry.migrate.objects import Key, Place
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.stubs import anew, copy
from foundry.migrate.wording import is_on, is_one_statement, names_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement, and what it is for when it fails."""

    label: str
    sql: str
    raw: bool = True
    """False where no SQL of the author's is in it."""
    table: Place | None = None
    """The model's table that it makes, or is on."""
    shape: bool = True
    """True where other tables may rest on it; of no table, where it rests on none itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What surrounds the models: the database's namespaces, names, extensions and tables."""

    database: Any
    bind: Bind
    naming: Naming
    used: frozenset[str]
    """Namespaces of the models and objects."""
    path: tuple[str, ...]
    absent: Callable[[object], bool]
    namespaces: frozenset[str]
    extensions: frozenset[str]
    externals: tuple[External, ...] = ()
    """External table sets that are there, or can be."""
    tables: frozenset[Place] = frozenset()
    """Tables that are there now."""
    copied: bool = True
    """True: a table that is not covered is copied; False: written anew from the snapshot."""

    @classmethod
    def of(
        cls,
        schema: Schema,
        *,
        database: Any,
        bind: Bind,
        default: str,
        path: tuple[str, ...],
        token: str,
        externals: Mapping[str, bool],
        options: tuple[str, ...],
        namespaces: frozenset[str],
        extensions: frozenset[str],
    ) -> Setting:
        """Give every namespace of the schema a stand-in that begins with `token`."""
        known: dict[tuple[str, ...], bool] = {}

        def absent(thing: object) -> bool:
            needed = needs(thing)
            if needed and needed not in known:
                lacking = requirements.missing(
                    database, needed, externals=externals, options=options
                )
                known[needed] = bool(lacking)
            return known.get(needed, False)

        used = dict.fromkeys((default, *_namespaces(schema)))
        # SQL without a namespace finds tables of the whole path.
        stood_for = dict.fromkeys((*used, *(name for name in path if name in namespaces)))
        stands_for = {name: f"{token}_{number}" for number, name in enumerate(stood_for)}
        return cls(
            database=database,
            bind=bind,
            naming=Naming(default=default, stands_for=stands_for),
            used=frozenset(used),
            path=path,
            absent=absent,
            namespaces=namespaces,
            extensions=extensions,
            externals=tuple(e for e in schema.externals if externals.get(e.name)),
        )

    def with_real_names(self) -> Setting:
        """Return the setting of a database of its own, where every name is the real one."""
        names = {name: name for name in (*self.naming.stands_for, *sorted(self.namespaces))}
        return replace(self, naming=replace(self.naming, stands_for=names), copied=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The statements, and what they were written from."""

    setting: Setting
    writing: Writing
    statements: tuple[Statement, ...]
    extensions: tuple[Statement, ...]
    needed: Mapping[str, tuple[str, ...]]
    """Extensions the models need."""
    built: tuple[Built, ...]
    objects: tuple[Created | Index, ...]
    declared: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Statements of each object, by its id()."""
    stubs: frozenset[Place] = frozenset()

    @property
    def all_extensions(self) -> frozenset[str]:
        """Those the models need and those that are installed."""
        return frozenset(self.needed) | self.setting.extensions


def write(setting: Setting, schema: Schema, *, live: Snapshot) -> Script:
    """Write everything the schema declares that this server can have."""
    models = [m for m in schema.models if not m._meta.temporary]
    writing = Writing(
        setting.database,
        [*models, *_referred(schema)],
        naming=setting.naming,
        bind=setting.bind,
        absent=setting.absent,
    )
    ordered: list[type[Model]] = sort_models(models)
    built = first_of_each(writing.table(model) for model in ordered)
    before, after = schema.ordered(setting.absent)
    declared = {id(o): writing.declared(o) for o in (*before, *after)}
    middle = _of_one_each(_tables(built))
    covered = {t.place for t in built}
    objects = [
        replace(s, **_place_of(o, declared[id(o)][0], _covered(o, setting, covered)))
        for o in after
        for s in _of_object(o, declared[id(o)])
    ]
    first = [s for o in before for s in _of_object(o, declared[id(o)])]
    texts = [s.sql for s in (*first, *middle, *objects) if s.raw]
    stubs = _stubs(setting, schema, built=built, texts=texts)
    made_first = _made_stubs(setting, stubs, live=live, made=before)
    needed = used_extensions(schema, models, absent=setting.absent)
    return Script(
        setting=setting,
        writing=writing,
        statements=(*made_first, *first, *middle, *objects),
        extensions=tuple(_creating(name) for name in sorted(needed.keys() - setting.extensions)),
        needed=needed,
        built=tuple(built),
        objects=(*before, *after),
        declared=declared,
        stubs=frozenset(stubs),
    )


def _creating(extension: str) -> Statement:
    name = rendered(Named(None, extension))
    return Statement(label=f"extension {name}", sql=f"CREATE EXTENSION {name} CASCADE", raw=False)


def _tables(built: Sequence[Built]) -> Iterable[Statement]:
    # Keys come last: then tables may refer to each other, and to unique indexes.
    for table in built:
        label = spoken(table.model)
        for text in table.sequences:
            yield Statement(label=label, sql=text)
        yield Statement(label=label, sql=table.create, table=table.place)
    for table in built:
        for text in table.indexes:
            own = is_on(text, table.place[1])
            label, place = f"index of {spoken(table.model)}", table.place if own else None
            yield Statement(label=label, sql=text, table=place, shape=own)
    for table in built:
        if table.keys:
            adds = ", ".join(f"ADD {key}" for key in table.keys)
            label, text = (
                f"foreign key of {spoken(table.model)}",
                f"ALTER TABLE {table.table} {adds}",
            )
            yield Statement(label=label, sql=text, table=table.place, shape=False)
        for text in table.comments:
            label = f"comment of {spoken(table.model)}"
            yield Statement(label=label, sql=text, raw=False, table=table.place)


def _of_one_each(statements: Iterable[Statement]) -> list[Statement]:
    found = list(statements)
    for statement in found:
        if not is_one_statement(statement.sql):
            raise DeclarationError(
                f"{statement.label}: its SQL holds a second statement after a semicolon: "
                "declare that as an object of its own"
            )
    return found


def _of_object(thing: Created | Index, texts: Sequence[str]) -> Iterable[Statement]:
    label = label_of(thing)
    for text in texts:
        if isinstance(thing, MaterializedView):
            # Its query must not be run on the tables it reads.
            text = re.sub(r"WITH DATA\Z", "WITH NO DATA", text)
        yield Statement(label=label, sql=text)


def label_of(thing: Created | Index) -> str:
    """Name a declared object in a message."""
    kind = re.sub(r"(?<!^)([A-Z])", r" \1", type(thing).__name__).lower()
    if isinstance(thing, Grant):
        return f"grant to {thing.to}"
    if isinstance(thing, RowSecurity):
        return f"row security of {spoken(thing.model)}"
    name = vars(thing)["_name"] if isinstance(thing, Index) else vars(thing).get("name", "")
    return f'{kind} "{name}"'


def model_of(thing: object) -> type[Model] | None:
    """Return the model whose table a declared object is on."""
    if isinstance(thing, (Index, Trigger, Policy, RowSecurity, Partition)):
        return thing.model
    if isinstance(thing, Grant) and isinstance(thing.on, type):
        return thing.on
    return None


def _place_of(thing: Created | Index, text: str, table: Place | None) -> dict[str, Any]:
    # A trigger is in the author's words, and may be on another table than its model's.
    if table is None or (isinstance(thing, Trigger) and not is_on(text, table[1])):
        return {"table": None, "shape": False}
    return {"table": table, "shape": isinstance(thing, (Index, Partition))}


def _covered(thing: object, setting: Setting, covered: Collection[Place]) -> Place | None:
    model = model_of(thing)
    if model is None:
        return None
    place = setting.naming.place(model._meta.schema, model._meta.table_name)
    return place if place in covered else None


def _referred(schema: Schema) -> list[type[Model]]:
    """Models that others point at, and those declared objects are on."""
    found = [model_of(o) for o in schema.objects]
    for model in schema.models:
        keys = [f for f in model._meta.sorted_fields if isinstance(f, ForeignKeyField)]
        found += [key.rel_model for key in keys]
    listed = set(schema.models)
    return list(dict.fromkeys(m for m in found if m is not None and m not in listed))


def _namespaces(schema: Schema) -> Iterable[str]:
    yield from schema.namespaces
    for model in (*schema.models, *_referred(schema)):
        if model._meta.schema:
            yield model._meta.schema
        for name in (f._sequence_parts()[0] for f in model._meta.sorted_fields if f.sequence):
            if name:
                yield name
    for made in schema.objects:
        namespace = vars(made).get("namespace") if isinstance(made, Created) else None
        if namespace:
            yield namespace
        if isinstance(made, Grant) and isinstance(made.on, str):
            yield made.on


def _stubs(
    setting: Setting, schema: Schema, *, built: Sequence[Built], texts: Sequence[str]
) -> list[Place]:
    """Return the tables that are referred to and not covered; DeclarationError for one nowhere."""
    naming = setting.naming
    covered = {table.place for table in built}
    made = {
        naming.place(vars(o).get("namespace"), o.name)
        for o in schema.objects
        if isinstance(o, (View, MaterializedView, Partition, Enum))
    }
    external = {naming.place(None, t) for e in setting.externals for t in e.tables}
    stubs = set()
    for model in _referred(schema):
        place = naming.place(model._meta.schema, model._meta.table_name)
        if place in setting.tables - covered - made or place in external:
            stubs.add(place)
        elif place not in covered | made and not _only_absent(setting, schema, model):
            raise DeclarationError(
                f"{spoken(model)} is referred to, is not among the models and is not in the "
                "database: add the model"
            )
    others = setting.tables - covered - made
    if others:
        words = {found for text in texts for found in names_in(text)}
        stubs |= {place for place in others if place[1] in words}
    if any(place not in setting.tables for place in stubs):
        stubs |= external
    return sorted(stubs)


def _only_absent(setting: Setting, schema: Schema, model: type[Model]) -> bool:
    users: list[Any] = [o for o in schema.objects if model_of(o) is model]
    fields = [f for other in schema.models for f in other._meta.sorted_fields]
    users += [f for f in fields if isinstance(f, ForeignKeyField) and f.rel_model is model]
    return all(setting.absent(user) for user in users)


def _made_stubs(
    setting: Setting, stubs: Sequence[Place], *, live: Snapshot, made: Sequence[Created | Index]
) -> Iterable[Statement]:
    if not setting.copied:
        yield from _live_types(live, {declared_name(o, setting.naming) for o in made})
    for number, place in enumerate(stubs):
        label = f'table "{place[1]}", which no model covers,'
        if place in setting.tables:
            naming = setting.naming
            copied = setting.copied
            for text in copy(naming, place, number) if copied else anew(naming, place, live):
                yield Statement(label=label, sql=text, raw=False)
    lacking = {place[1] for place in stubs if place not in setting.tables}
    for external in setting.externals:
        if lacking & set(external.tables):
            state = external_tables.progress(setting.database, external)
            for text in external_tables.statements(state):
                yield Statement(label=f"the {external.name} tables", sql=text, raw=False)


def _live_types(live: Snapshot, declared: set[Key | None]) -> Iterable[Statement]:
    for enum in live.kind(EnumType):
        if enum.key not in declared:
            made = Enum(enum.name, enum.labels, namespace=enum.namespace)
            for text in made.statements():
                yield Statement(label=f'enum "{enum.name}"', sql=text, raw=False)


def declared_name(thing: object, naming: Naming) -> Key | None:
    """Kind, namespace and name of a declared object that stands by itself."""
    kinds: tuple[tuple[type[Any], str], ...] = (
        (Enum, "enum"),
        (View, "view"),
        (MaterializedView, "view"),
        (Function, "function"),
    )
    for kind, word in kinds:
        if isinstance(thing, kind):
            return (word, *naming.place(thing.namespace, thing.name))
    return None
