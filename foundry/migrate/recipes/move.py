"""The move from one snapshot to the next, as recipes see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from foundry.migrate.compare import Change
from foundry.migrate.objects import Column, Key, Place
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.spelling import quote, relation, spare
from foundry.migrate.steps import Call, Step


class Phase(IntEnum):
    """When in a file a step comes; what depends on a thing goes before it and comes after it."""

    BEFORE_ALL = 0
    VIEWS_OFF = 1
    TRIGGERS_OFF = 2
    FOREIGN_KEYS_OFF = 3
    INDEXES_OFF = 4
    KEYS_OFF = 5
    EXPRESSIONS_OFF = 6
    DEFAULTS_OFF = 7
    FUNCTIONS_REPLACED = 8
    RENAMES = 9
    NAMESPACES = 10
    ENUMS = 11
    FUNCTIONS = 12
    SEQUENCES = 13
    TABLES = 14
    PARTITIONS = 15
    IDENTITIES_OFF = 16
    NULLS = 17
    COLUMNS = 20
    TYPES = 21
    EXPRESSIONS = 22
    DEFAULTS = 23
    OWNERS = 24
    TABLE_OPTIONS = 25
    FILLS = 26
    NOT_NULLS = 27
    IDENTITIES = 28
    KEYS = 30
    CHECKS = 31
    INDEXES = 32
    FOREIGN_KEYS = 33
    VALIDATIONS = 34
    LATER_FUNCTIONS = 39
    VIEWS = 40
    VIEW_INDEXES = 41
    REFRESHES = 42
    TRIGGERS = 43
    SECURITY = 44
    FUNCTIONS_FIRST_OFF = 49
    COLUMNS_OFF = 50
    TABLES_OFF = 51
    SEQUENCES_OFF = 52
    FUNCTIONS_OFF = 53
    ENUMS_OFF = 54
    NAMESPACES_OFF = 55
    COMMENTS = 60
    REVOKES = 61
    GRANTS = 62


Planned = Iterator[tuple[Phase, Step]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """From one snapshot to the next, in one file."""

    before: Snapshot
    after: Snapshot
    online: bool
    """Every statement commits by itself, and may take its time."""
    version: int
    """Of the server, such as 180006."""
    default: str
    """The namespace whose names stand alone."""
    standing: frozenset[Place]
    """Tables that may have rows and users."""
    fills: tuple[Column, ...] = ()
    """Columns whose rows get a value."""
    deferred: frozenset[Key] = frozenset()
    """New columns whose rows get their values in a later file."""
    rebuilt: frozenset[Key] = frozenset()
    """What is the same on both sides and has to be away in between."""
    recast: frozenset[Key] = frozenset()
    """Enumerated types that are made anew under their names, and their columns."""
    swapped: frozenset[Key] = frozenset()
    """Columns that get another type by way of a second one."""
    stale: frozenset[Key] = frozenset()
    """What stays and stores results of a function that returns something else now."""
    replaced: frozenset[Key] = frozenset()
    """Functions that go before tables and columns do; `programs.replaced` says which."""

    def name(self, place: Place) -> str:
        """Return a place in quotes."""
        return relation(place, self.default)

    def spare(self, name: str, suffix: str) -> str:
        """Return a name for a while, one that nothing on either side has."""
        kinds = ("name", "not_null_name", "identity_sequence")
        things = (*self.before, *self.after)
        taken = {getattr(thing, kind, "") for thing in things for kind in kinds}
        return spare(name, suffix, taken)

    def alter(self, table: Place, what: str) -> str:
        """Return an ALTER TABLE statement."""
        return f"ALTER TABLE {self.name(table)} {what}"

    def call(self, table: Place, name: str, *arguments: str, **keywords: bool) -> Call | None:
        """Return playhouse's operation on a table, where it says exactly the same."""
        namespace, bare = table
        if namespace != self.default or "." in bare:
            return None
        return Call(name=name, arguments=(bare, *arguments), keywords=tuple(keywords.items()))

    def busy(self, table: Place) -> bool:
        """True when a statement on the table should not make others wait."""
        return self.online and table in self.standing and not self.partitioned(table)

    def partitioned(self, table: Place) -> bool:
        """True for a table with partitions: it has fewer ways to stay open meanwhile."""
        found = self.after.get(("table", *table)) or self.before.get(("table", *table))
        return bool(found and found.partition_by)

    def step(
        self, table: Place, action: str, sql: str, change: Change, call: Call | None = None
    ) -> Step:
        """Return a step on a table."""
        return Step(
            action=action,
            sql=sql,
            before=change.before,
            after=change.after,
            standing=table in self.standing,
            call=call,
        )


def column(name: str) -> str:
    """Return the part of ALTER TABLE that names a column."""
    return f"ALTER COLUMN {quote(name)}"
