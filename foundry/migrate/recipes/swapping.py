"""Columns that get another type by way of a second one, while others read and write the table.

A trigger keeps the second column in step with the first, rows that are there get its value in
batches, its indexes are built beside the old ones; then it takes the first one's place in one
transaction, which needs its lock for an instant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from foundry.migrate.casts import NUMBERS, Type, using
from foundry.migrate.compare import Change
from foundry.migrate.objects import Column, Constraint, Index, Key, Place, Trigger
from foundry.migrate.recipes.alone import alone
from foundry.migrate.recipes.columns import as_created, definition, rest, set_not_null
from foundry.migrate.recipes.keys import commented, commented_index, validated
from foundry.migrate.recipes.move import Move, Phase, Planned
from foundry.migrate.snapshot import Snapshot
from foundry.migrate.spelling import chosen, ident, literal, quote, quoted, respelled
from foundry.migrate.steps import Step
from foundry.migrate.tokens import Token, listed, tokens

# What the texts of values depend on, as the session has it that fills the rows: others may
# have set something else.
_SETTINGS = (
    "SET search_path FROM CURRENT SET TimeZone = 'UTC' SET DateStyle = 'ISO' "
    "SET IntervalStyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex' "
)


def touching(side: Snapshot, table: Place, names: set[str]) -> Iterator[Index | Constraint]:
    """Yield the indexes and constraints of a table that have one of these columns in them."""
    for index in side.of_table(Index, table):
        if not names.isdisjoint(index.columns):
            yield index
    for constraint in side.of_table(Constraint, table):
        if not names.isdisjoint(constraint.reads or constraint.columns):
            yield constraint


def carried(move: Move) -> frozenset[Key]:
    """Return what the steps of this module take care of: the columns, and what stays on them."""
    found = set(move.swapped)
    for table, names in _tables(move).items():
        found |= {one.key for one in touching(move.before, table, names) if one.key in move.after}
    return frozenset(found)


def swaps(move: Move) -> Planned:
    """Yield the steps of all columns that are swapped, table by table."""
    for table, names in sorted(_tables(move).items()):
        columns = [c for c in move.after.of_table(Column, table) if c.name in names]
        yield from _Swap.of(move, table, columns).steps()


def _tables(move: Move) -> dict[Place, set[str]]:
    tables: dict[Place, set[str]] = {}
    for _, namespace, table, name in sorted(move.swapped):
        tables.setdefault((namespace, table), set()).add(name)
    return tables


def reworded(text: str, names: Mapping[str, str]) -> str | None:
    """Return the definition of an index with other columns; None where it is not certain.

    It is where each column that is replaced stands by itself, in no expression or condition.
    """
    found = tokens(text)
    opened = [n for n, token in enumerate(found) if token.mark("(") and token.depth == 0]
    if not opened:
        return None
    included = [n for n in opened if n and found[n - 1].word("include")]
    replaced: list[tuple[Token, str]] = []
    for start in (opened[0], *included):
        for item in _items(found, start):
            if len(item) > 1 and (item[1].mark("(") or item[1].mark(".")):
                return None
            if not item[0].identifier:
                return None
            if item[0].text in names:
                replaced.append((item[0], ident(names[item[0].text])))
    condition = [n for n, token in enumerate(found) if token.depth == 0 and token.word("where")]
    if condition and any(t.identifier and t.text in names for t in found[condition[0] :]):
        return None
    for token, name in sorted(replaced, key=lambda pair: pair[0].start, reverse=True):
        text = text[: token.start] + name + text[token.end :]
    return text


def _items(found: Sequence[Token], start: int) -> list[list[Token]]:
    inner = []
    for token in found[start + 1 :]:
        if token.mark(")") and token.depth == 0:
            break
        inner.append(replace(token, depth=token.depth - 1))
    return listed(inner)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Second:
    """A column, and the one that takes its place."""

    before: Column
    after: Column
    beside: Column
    """`after` under a name for a while, as it is added."""

    @property
    def change(self) -> Change:
        return Change(before=self.before, after=self.after)

    @property
    def added(self) -> Change:
        return Change(before=None, after=self.beside)

    def value(self, row: str = "") -> str:
        """Return its value, made of the old one."""
        name = row + quote(self.before.name)
        return using(self.before.type, self.after.type, name) or name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Swap:
    move: Move
    table: Place
    columns: tuple[_Second, ...]
    trigger: str
    """Name of the trigger, and of its function."""

    @classmethod
    def of(cls, move: Move, table: Place, columns: Sequence[Column]) -> _Swap:
        found = tuple(
            _Second(before=move.before.get(c.key), after=c, beside=_beside(move, c))
            for c in columns
        )
        return cls(move=move, table=table, columns=found, trigger=move.spare(table[1], "_in_step"))

    @property
    def names(self) -> dict[str, str]:
        return {c.after.name: c.beside.name for c in self.columns}

    def steps(self) -> Planned:
        for step in self._each():
            yield Phase.TYPES, step
        for check in self.checks():
            if check.valid:
                yield validated(self.move, check, Change(before=check, after=check))

    def _each(self) -> Iterator[Step]:
        for one in self.columns:
            first = replace(one.beside, not_null=False)
            sql = self.alter(f"ADD COLUMN {definition(self.move, first, inline=False)}")
            if one is self.columns[0]:
                sql = f"{self.alone()};\n{sql}"
            yield self.step("add column", sql, replace(one.added, after=first))
        yield self.kept_in_step()
        for one in self.columns:
            yield self.filled(one)
        for one in self.columns:
            if one.after.not_null:
                for _, step in set_not_null(self.move, one.beside, one.added):
                    yield step
        for index in self.indexes():
            yield self.built(index)
        yield self.swapped()

    def alone(self) -> str:
        """Return what asks where it runs whether more is there than either side has."""
        sides = (self.move.before, self.move.after)
        known = {o.name for side in sides for o in touching(side, self.table, set(self.names))}
        return alone(self.move.name(self.table), self.names, known)

    def step(self, action: str, sql: str, change: Change) -> Step:
        return self.move.step(self.table, action, sql, change)

    def alter(self, what: str) -> str:
        return self.move.alter(self.table, what)

    def kept_in_step(self) -> Step:
        name, on = quote(self.trigger), self.move.name(self.table)
        function = self.function()
        values = "".join(
            f"\n    NEW.{quote(c.beside.name)} := {c.value('NEW.')};" for c in self.columns
        )
        body = literal(f"\nBEGIN{values}\n    RETURN NEW;\nEND\n")
        key = self.move.before.primary_key(self.table)
        # A row whose key changes could go past the batches.
        watched = quoted(dict.fromkeys([*(c.before.name for c in self.columns), *key]))
        made = (
            f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql "
            f"{'' if self.plain() else _SETTINGS}AS {body};\n"
            f"CREATE TRIGGER {name} BEFORE INSERT OR UPDATE OF {watched} ON {on} "
            f"FOR EACH ROW EXECUTE FUNCTION {function}();\n"
            # Where triggers of others are off, as in what replication applies, this one is not.
            f"{self.alter(f'ENABLE ALWAYS TRIGGER {name}')}"
        )
        trigger = Trigger(table=self.table, name=self.trigger, definition=made)
        return self.step("create trigger", made, Change(before=None, after=trigger))

    def function(self) -> str:
        return self.move.name((self.table[0], self.trigger))

    def plain(self) -> bool:
        """True where no setting has a say in what the values become."""
        types = {Type.of(t).base for c in self.columns for t in (c.before.type, c.after.type)}
        return types <= {*NUMBERS, "boolean"}

    def filled(self, one: _Second) -> Step:
        name, value = quote(one.beside.name), one.value()
        some = "" if one.before.not_null else f" AND {quote(one.before.name)} IS NOT NULL"
        sql = f"UPDATE {self.move.name(self.table)} SET {name} = {value} WHERE {name} IS NULL{some}"
        return replace(self.step("fill column", sql, one.change), value=value)

    def indexes(self) -> list[Index | Constraint]:
        """Return the indexes to build, and constraints that rest on one."""
        found = touching(self.move.after, self.table, set(self.names))
        stays = (one for one in found if one.key in self.move.before)
        return [o for o in stays if isinstance(o, Index) or o.kind == "UNIQUE"]

    def checks(self) -> list[Constraint]:
        found = touching(self.move.after, self.table, set(self.names))
        stays = (one for one in found if one.key in self.move.before)
        return [o for o in stays if isinstance(o, Constraint) and o.kind == "CHECK"]

    def built(self, one: Index | Constraint) -> Step:
        text = one.definition if isinstance(one, Index) else one.index
        beside = self.move.spare(one.name, "_new")
        on = reworded(text, self.names)
        assert on is not None, text
        unique = "UNIQUE " if isinstance(one, Constraint) or one.unique else ""
        sql = (
            f"CREATE {unique}INDEX CONCURRENTLY {quote(beside)} ON {self.move.name(self.table)} "
            f"{respelled(on)}"
        )
        index = Index(table=self.table, name=beside, definition=on, unique=bool(unique))
        return self.step("create index concurrently", sql, Change(before=None, after=index))

    def swapped(self) -> Step:
        name = quote(self.trigger)
        texts = [
            f"DROP TRIGGER {name} ON {self.move.name(self.table)}",
            f"DROP FUNCTION {self.function()}()",
            self.alone(),
        ]
        for one in self.columns:
            texts.append(self.alter(f"DROP COLUMN {quote(one.before.name)}"))
        for one in self.columns:
            names = f"{quote(one.beside.name)} TO {quote(one.after.name)}"
            texts.append(self.alter(f"RENAME COLUMN {names}"))
            texts += self.dressed(one)
        texts += [text for index in self.indexes() for text in self.named(index)]
        for check in self.checks():
            what = respelled(check.source or check.definition)
            texts.append(self.alter(f"ADD CONSTRAINT {quote(check.name)} {what} NOT VALID"))
            texts += self.noted(check)
        return self.step("swap column", ";\n".join(texts), self.columns[0].change)

    def dressed(self, one: _Second) -> Iterator[str]:
        """Yield what a column has besides its type and values."""
        after = one.after
        if after.not_null and after.not_null_name:
            names = f"{quote(one.beside.not_null_name)} TO {quote(after.not_null_name)}"
            yield self.alter(f"RENAME CONSTRAINT {names}")
        bare = replace(as_created(self.move, after), default="")
        for _, step in rest(self.move, bare, after, replace(one.change, before=bare)):
            yield step.sql

    def named(self, one: Index | Constraint) -> Iterator[str]:
        built = self.move.spare(one.name, "_new")
        if isinstance(one, Index):
            place = self.move.name((self.table[0], built))
            yield f"ALTER INDEX {place} RENAME TO {quote(one.name)}"
        else:
            later = f" {one.deferrable}" if one.deferrable else ""
            what = f"UNIQUE USING INDEX {quote(built)}{later}"
            yield self.alter(f"ADD CONSTRAINT {quote(one.name)} {what}")
        yield from self.noted(one)

    def noted(self, one: Index | Constraint) -> Iterator[str]:
        change = Change(before=None, after=one)
        if isinstance(one, Index):
            found = commented_index(self.move, "", one, change)
        else:
            found = commented(self.move, "", one, change)
        for _, step in found:
            yield step.sql


def _beside(move: Move, after: Column) -> Column:
    name = after.not_null_name or chosen(after.table[1], after.name, "not_null")
    return replace(
        after,
        name=move.spare(after.name, "_new"),
        default="",
        not_null_name=move.spare(name, "_new") if after.not_null else "",
        comment="",
        statistics=-1,
        options=(),
        volatile=False,
        sequence=None,
        functions=(),
    )
