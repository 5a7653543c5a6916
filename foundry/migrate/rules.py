"""What steps do to tables in use, as rules: a condition, and what it means for others.

Measured on PostgreSQL 15 and 18.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from foundry.migrate.modes import Mode, Work
from foundry.migrate.objects import Column, Constraint, Place, Table
from foundry.migrate.retyping import of_columns
from foundry.migrate.spelling import bare, ident, quote
from foundry.migrate.steps import Step
from foundry.migrate.subjects import other_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a rule knows besides the step itself."""

    version: int
    """Of the server, such as 180006."""
    earlier: Sequence[Step] = ()
    """Every step of the plan that comes before."""
    namespace: str = "public"
    """The namespace whose names stand alone."""
    partitioned: frozenset[Place] = frozenset()
    """Tables that were partitioned before the plan."""
    defaults: Mapping[Place, Place] = field(default_factory=dict)
    """Default partitions that were there before the plan, by the tables they belong to."""
    keys: Sequence[Constraint] = ()
    """Foreign keys that were there before the plan."""


Predicate = Callable[[Step, Context], bool]


def _always(step: Step, context: Context) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What some steps do to a table that is in use."""

    id: str
    actions: tuple[str, ...]
    mode: Mode
    work: Work = Work.INSTANT
    other: Mode | None = None
    """Lock on the other table: the one a foreign key references, the parent of a partition."""
    effect: str
    advice: str = ""
    """What to do instead or before; empty where this is the way."""
    online: bool = False
    """True when that is an online form, which partitioned tables do not have."""
    applies: Predicate = _always


def _has(words: str) -> Predicate:
    """Look for words in a step's SQL outside names and strings."""
    return lambda step, context: words in bare(step.sql)


def _kind(*kinds: str) -> Predicate:
    def applies(step: Step, context: Context) -> bool:
        return isinstance(step.subject, Constraint) and step.subject.kind in kinds

    return applies


def _is_rewriting_column(step: Step, context: Context) -> bool:
    column = step.after
    if not isinstance(column, Column):
        return False
    drawn = bool(column.default) and (column.volatile or column.sequence is not None)
    return bool(column.identity) or column.checked or (drawn and not column.generated)


def _is_required_column(step: Step, context: Context) -> bool:
    column = step.after
    if not isinstance(column, Column) or not column.not_null:
        return False
    return not column.default or column.generated == "VIRTUAL"


def _is_proven(step: Step, context: Context) -> bool:
    """True when a check that was validated before says that the column has no NULL."""
    column = step.subject
    return isinstance(column, Column) and any(_proves(e, column) for e in context.earlier)


def _proves(step: Step, column: Column) -> bool:
    if step.action != "validate constraint":
        return False
    if isinstance(found := step.subject, Column):
        return found.key == column.key
    if not isinstance(found, Constraint) or found.table != column.table or found.kind != "CHECK":
        return False
    text = (found.expression or found.definition).removeprefix("CHECK ").strip("() ")
    return text in {f"{name(column.name)} IS NOT NULL" for name in (ident, quote)}


def _is_retyped(work: Work) -> Predicate:
    def applies(step: Step, context: Context) -> bool:
        before, after = step.before, step.after
        if not isinstance(before, Column) or not isinstance(after, Column):
            return work is Work.REWRITE
        found = of_columns(before, after)
        if re.search(r"\bUSING\b", bare(step.sql)):
            found = Work.REWRITE
        if before.collation != after.collation:
            found = max(found, Work.BUILD)
        return found is work

    return applies


def _is_stored(step: Step, context: Context) -> bool:
    return isinstance(step.subject, Column) and step.subject.generated == "STORED"


_CONCURRENTLY = _has("CONCURRENTLY")
_NOT_VALID = _has("NOT VALID")
_ANEW = "the table and its indexes are written anew, and nobody can read it meanwhile"
QUIET = "PostgreSQL has no other way: do it in a quiet hour"
_WAITS = "every statement on the table waits behind it for an instant"

# The first rule that applies is the one.
RULES = (
    Rule(
        id="stored generated column",
        actions=("add column",),
        mode=Mode.ACCESS_EXCLUSIVE,
        work=Work.REWRITE,
        applies=_is_stored,
        effect=_ANEW,
        advice="do it in a quiet hour, or make the column VIRTUAL where the server can",
    ),
    Rule(
        id="column that every row is written for",
        actions=("add column",),
        mode=Mode.ACCESS_EXCLUSIVE,
        work=Work.REWRITE,
        applies=_is_rewriting_column,
        effect=_ANEW,
        advice="add a plain column, fill it in batches, then add the default, identity or check",
    ),
    Rule(
        id="required column",
        actions=("add column",),
        mode=Mode.ACCESS_EXCLUSIVE,
        work=Work.SCAN,
        applies=_is_required_column,
        effect="fails where the table has rows",
        advice="add the column nullable, fill it, then set it NOT NULL",
    ),
    Rule(
        id="generated column written anew",
        actions=("set expression",),
        mode=Mode.ACCESS_EXCLUSIVE,
        work=Work.REWRITE,
        applies=_is_stored,
        effect=_ANEW,
        advice="do it in a quiet hour, or make the column VIRTUAL where the server can",
    ),
    Rule(
        id="change of type that writes every row",
        actions=("retype column", "set collation"),
        mode=Mode.ACCESS_EXCLUSIVE,
        work=Work.REWRITE,
        applies=_is_retyped(Work.REWRITE),
        effect=_ANEW,
        advice="on a large table add a second column, fill it in batches and swap them",
    ),
    Rule(
        id="change of collation",
        actions=("retype column", "set collation"),
        mode=Mode.ACCESS_EXCLUSIVE,
        work=Work.BUILD,
        applies=_is_retyped(Work.BUILD),
        effect="the indexes of the column are built anew, and nobody can read the table meanwhile",
        advice="on a large table add a second column, fill it in batches and swap them",
    ),
    Rule(
        id="NOT NULL",
        actions=("set not null",),
        mode=Mode.ACCESS_EXCLUSIVE,
        work=Work.SCAN,
        applies=lambda step, context: not _is_proven(step, context),
        effect="every row is read, and nobody can read the table meanwhile",
        advice="validate a check of the column first; the rows are then not read again",
        online=True,
    ),
    Rule(
        id="check",
        actions=("add constraint",),
        mode=Mode.ACCESS_EXCLUSIVE,
        work=Work.SCAN,
        applies=lambda s, c: _kind("CHECK")(s, c) and not _NOT_VALID(s, c),
        effect="every row is read, and nobody can read the table meanwhile",
        advice="add it NOT VALID and validate it in another transaction",
        online=True,
    ),
    Rule(
        id="foreign key of a new table",
        actions=("add constraint",),
        mode=Mode.SHARE_ROW_EXCLUSIVE,
        other=Mode.SHARE_ROW_EXCLUSIVE,
        applies=lambda s, c: _kind("FOREIGN KEY")(s, c) and not s.standing,
        effect="writes to the other table wait behind it for an instant",
    ),
    Rule(
        id="foreign key",
        actions=("add constraint",),
        mode=Mode.SHARE_ROW_EXCLUSIVE,
        work=Work.SCAN,
        other=Mode.SHARE_ROW_EXCLUSIVE,
        applies=lambda s, c: _kind("FOREIGN KEY")(s, c) and not _NOT_VALID(s, c),
        effect="every row is looked up, and nobody can write to either table meanwhile",
        advice="add it NOT VALID and validate it in another transaction",
        online=True,
    ),
    Rule(
        id="foreign key not yet valid",
        actions=("add constraint",),
        mode=Mode.SHARE_ROW_EXCLUSIVE,
        other=Mode.SHARE_ROW_EXCLUSIVE,
        applies=_kind("FOREIGN KEY"),
        effect="writes to either table wait behind it for an instant",
    ),
    Rule(
        id="exclusion constraint",
        actions=("add constraint",),
        mode=Mode.ACCESS_EXCLUSIVE,
        work=Work.BUILD,
        applies=_kind("EXCLUDE"),
        effect="an index is built, and nobody can read the table meanwhile",
        advice=QUIET,
    ),
    Rule(
        id="key",
        actions=("add constraint",),
        mode=Mode.ACCESS_EXCLUSIVE,
        work=Work.BUILD,
        applies=lambda s, c: (
            _kind("PRIMARY KEY", "UNIQUE")(s, c) and not _has("USING INDEX")(s, c)
        ),
        effect="an index is built, and nobody can read the table meanwhile",
        advice="build the index CONCURRENTLY and add the constraint USING INDEX",
        online=True,
    ),
    Rule(
        id="validation of a foreign key",
        actions=("validate constraint",),
        mode=Mode.SHARE_UPDATE_EXCLUSIVE,
        work=Work.SCAN,
        other=Mode.ROW_SHARE,
        applies=_kind("FOREIGN KEY"),
        effect="every row is looked up; reads and writes go on",
    ),
    Rule(
        id="validation",
        actions=("validate constraint",),
        mode=Mode.SHARE_UPDATE_EXCLUSIVE,
        work=Work.SCAN,
        effect="every row is read; reads and writes go on",
    ),
    Rule(
        id="foreign key dropped",
        actions=("drop constraint",),
        mode=Mode.ACCESS_EXCLUSIVE,
        other=Mode.ACCESS_EXCLUSIVE,
        applies=_kind("FOREIGN KEY"),
        effect="every statement on either table waits behind it for an instant",
    ),
    Rule(
        id="index built while others write",
        actions=("create index concurrently", "create index"),
        mode=Mode.SHARE_UPDATE_EXCLUSIVE,
        work=Work.BUILD,
        applies=_CONCURRENTLY,
        effect="an index is built; reads and writes go on",
    ),
    Rule(
        id="index",
        actions=("create index",),
        mode=Mode.SHARE,
        work=Work.BUILD,
        effect="an index is built, and nobody can write to the table meanwhile",
        advice="build it CONCURRENTLY in a file of its own",
        online=True,
    ),
    Rule(
        id="index dropped while others write",
        actions=("drop index concurrently", "drop index"),
        mode=Mode.SHARE_UPDATE_EXCLUSIVE,
        applies=_CONCURRENTLY,
        effect="reads and writes go on",
    ),
    Rule(
        id="values for the rows that are there",
        actions=("fill column",),
        mode=Mode.ROW_EXCLUSIVE,
        work=Work.FILL,
        effect="rows are written; writers of the same rows wait for the end of the statement",
    ),
    Rule(
        id="table logged or not",
        actions=("set table logged",),
        mode=Mode.ACCESS_EXCLUSIVE,
        work=Work.REWRITE,
        effect=_ANEW,
        advice="do it in a quiet hour; an unlogged table is empty after a crash",
    ),
    Rule(
        id="partition attached",
        actions=("attach partition",),
        mode=Mode.ACCESS_EXCLUSIVE,
        work=Work.SCAN,
        other=Mode.SHARE_UPDATE_EXCLUSIVE,
        effect="every row of the partition is read, and nobody can read it meanwhile",
        advice="validate a check of the partition's bound first",
    ),
    Rule(
        id="partition beside a default one",
        actions=("create table",),
        mode=Mode.ACCESS_EXCLUSIVE,
        work=Work.SCAN,
        other=Mode.ACCESS_EXCLUSIVE,
        applies=lambda step, context: other_of(step) in context.defaults,
        effect="every row of the default partition is read, and nobody can read the whole table"
        " meanwhile",
        advice="validate a check on the default partition first that none of its rows belong there",
    ),
    Rule(
        id="partition",
        actions=("create table", "drop table", "detach partition"),
        mode=Mode.ACCESS_EXCLUSIVE,
        other=Mode.ACCESS_EXCLUSIVE,
        applies=lambda step, context: other_of(step) is not None,
        effect="every statement on the whole partitioned table waits behind it for an instant",
    ),
    Rule(
        id="options and comments",
        actions=("set table options", "set column options", "set statistics"),
        mode=Mode.SHARE_UPDATE_EXCLUSIVE,
        applies=lambda step, context: "user_catalog_table" not in step.sql,
        effect="reads and writes go on",
    ),
    Rule(
        id="comment",
        actions=("comment",),
        mode=Mode.SHARE_UPDATE_EXCLUSIVE,
        applies=lambda step, context: isinstance(step.subject, (Table, Column)),
        effect="reads and writes go on",
    ),
    Rule(
        id="trigger",
        actions=("create trigger", "set trigger"),
        mode=Mode.SHARE_ROW_EXCLUSIVE,
        effect="writes wait behind it for an instant",
    ),
    Rule(
        id="change of the table itself",
        actions=(
            "drop table", "rename table", "set table options", "set row security",
            "set replica identity", "add column", "drop column", "rename column", "swap column",
            "retype column", "set collation", "set default", "drop default", "set not null",
            "drop not null", "add not null", "rename not null", "add identity",
            "alter identity", "drop identity", "set expression", "drop expression",
            "set storage", "set compression", "add constraint", "rename constraint",
            "drop constraint", "drop index", "drop trigger", "create policy", "drop policy",
        ),
        mode=Mode.ACCESS_EXCLUSIVE,
        effect=_WAITS,
    ),
)  # fmt: skip


def rule_for(step: Step, context: Context) -> Rule | None:
    """Return the rule that says what a step does; None for one that locks no table."""
    for rule in RULES:
        if step.action in rule.actions and rule.applies(step, context):
            return rule
    return None
