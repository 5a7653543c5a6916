"""What a statement of a migration needs of whoever runs it, read off its text.

The text is as the server gets it: with values filled in, and a literal % not doubled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from foundry.migrate.tokens import Name, Reader, Token, inside, listed, tokens
from foundry.migrate.updates import Update, read_update


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatesIndex:
    """CREATE INDEX CONCURRENTLY."""

    name: str | None
    """None where the server chooses it."""
    table: Name
    unique: bool
    if_not_exists: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DropsIndex:
    """DROP INDEX CONCURRENTLY."""

    name: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Reindexes:
    """REINDEX CONCURRENTLY."""

    kind: str
    """index, table, schema, database or system."""
    name: Name
    """Empty for the database one is in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detaches:
    """ALTER TABLE ... DETACH PARTITION ... CONCURRENTLY; half of it ends with FINALIZE."""

    table: Name
    partition: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What makes or ends something that no transaction of this database holds."""

    kind: str
    """database, tablespace, subscription or prepared transaction."""
    name: str
    there: bool
    """Whether it is there when the statement has come to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One text of a migration.

    For a text of several statements only the first three fields and `patient` say something:
    the server runs it as one transaction.
    """

    count: int = 1
    """How many statements the text has."""
    transactional: bool = True
    """False when the server refuses it in a transaction block.

    By the text alone: REINDEX and CLUSTER of a partitioned table, and CALL of a procedure that
    commits, are refused too, with SQLSTATE 25001 and 2D000.
    """
    control: bool = False
    """It begins or ends a transaction or a savepoint."""
    commits: bool = False
    """It may commit a part of its work, and nobody can tell which: CALL, DO."""
    patient: bool = False
    """It may wait and work for long, and nobody who reads or writes waits for it meanwhile."""
    creates_index: CreatesIndex | None = None
    drops_index: DropsIndex | None = None
    reindexes: Reindexes | None = None
    detaches: Detaches | None = None
    outside: Outside | None = None
    update: Update | None = None
    """Of an UPDATE without WITH."""


_PLAIN = Statement()
_ALONE = Statement(transactional=False)
_PATIENT = Statement(patient=True)
_CONTROL = Statement(control=True)


def read(sql: str) -> Statement:
    """Return what kind of statement a text is; one that PostgreSQL cannot parse may be any."""
    found = [_read_one(sql, part) for part in _split(tokens(sql))]
    if len(found) == 1:
        return found[0]
    return Statement(
        count=len(found),
        transactional=all(s.transactional for s in found),
        control=any(s.control for s in found),
        patient=bool(found) and all(s.patient for s in found),
    )


def parts(sql: str) -> tuple[str, ...]:
    """Return the statements of a text one by one."""
    found = _split(tokens(sql))
    ends = [part[0].start for part in found[1:]] + [len(sql)]
    return tuple(sql[part[0].start : end] for part, end in zip(found, ends, strict=True))


def _split(found: Sequence[Token]) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    begun = 0
    for token in found:
        if token.mark(";") and token.depth == 0 and not begun:
            parts.append([])
            continue
        begun = _begun(begun, parts[-1], token)
        parts[-1].append(token)
    return [part for part in parts if part]


def _begun(begun: int, part: Sequence[Token], token: Token) -> int:
    """Return how many BEGIN ATOMIC and CASE are open: a body of SQL has semicolons of its own."""
    if token.depth or not (token.word("atomic") or begun):
        return begun
    if token.word("atomic"):
        routine = part[:1] and part[0].word("create") and part[-1].word("begin")
        named = any(t.word("function", "procedure") for t in part[1:4])
        return begun + bool(routine and named)
    return begun + token.word("case") - token.word("end")


def _read_one(sql: str, part: Sequence[Token]) -> Statement:
    first = part[0].text if part[0].word() else ""
    if first == "update":
        return Statement(update=read_update(sql, part))
    reading = _KINDS.get(first)
    return reading(Reader(part[1:])) if reading else _PLAIN


def _create(r: Reader) -> Statement:
    if kind := r.one_of("database", "tablespace", "subscription"):
        made = Outside(kind=kind, name="".join(r.name()[-1:]), there=True)
        given = _with(r) if kind == "subscription" else {}
        slot = given.get("create_slot", True) and given.get("connect", True)
        return Statement(transactional=not slot, outside=made)
    unique = r.take("unique")
    if not r.take("index", "concurrently"):
        return _PLAIN
    spared = r.take("if", "not", "exists")
    name = None if r.take("on") else (r.name() or ("",))[-1]
    if name is not None and not r.take("on"):
        return _PLAIN  # the server will say so
    index = CreatesIndex(name=name, table=r.relation(), unique=unique, if_not_exists=spared)
    return Statement(transactional=False, patient=True, creates_index=index)


def _with(r: Reader) -> dict[str, bool]:
    """Return the options that stand at the end, behind WITH."""
    while r.peek() and not r.take("with"):
        r.at += 1
    return r.options()


def _drop(r: Reader) -> Statement:
    if kind := r.one_of("database", "tablespace", "subscription"):
        r.take("if", "exists")
        gone = Outside(kind=kind, name="".join(r.name()[-1:]), there=False)
        return Statement(transactional=False, outside=gone)
    if not r.take("index", "concurrently"):
        return _PLAIN
    r.take("if", "exists")
    dropped = DropsIndex(name=r.name())
    return Statement(transactional=False, patient=True, drops_index=dropped)


def _reindex(r: Reader) -> Statement:
    concurrently = r.options().get("concurrently", False)
    kind = r.one_of("index", "table", "schema", "database", "system")
    concurrently |= r.take("concurrently")
    if concurrently:
        rebuilt = Reindexes(kind=kind, name=r.name())
        return Statement(transactional=False, patient=True, reindexes=rebuilt)
    return Statement(transactional=kind in ("index", "table"))


def _alter(r: Reader) -> Statement:
    if r.take("system"):
        return _ALONE
    if r.take("database"):
        r.name()
        return Statement(transactional=not r.take("set", "tablespace"))
    if r.take("subscription"):
        return Statement(transactional=_keeps_tables(r))
    if not r.take("table"):
        return _PLAIN
    r.take("if", "exists")
    table = r.relation()
    if r.take("detach", "partition"):
        partition = r.name()
        if r.take("concurrently"):
            detached = Detaches(table=table, partition=partition)
            return Statement(transactional=False, detaches=detached)
        return _PLAIN
    actions = listed(r.rest())
    validating = all(Reader(a).take("validate", "constraint") for a in actions)
    return Statement(patient=bool(actions) and validating)


def _keeps_tables(r: Reader) -> bool:
    """True when ALTER SUBSCRIPTION asks the other server for nothing."""
    r.name()
    if r.take("refresh"):
        return False
    changed = r.one_of("set", "add", "drop")
    if changed and r.take("publication"):
        return not _with(r).get("refresh", True)
    return not (changed and {"failover", "two_phase"} & set(r.options()))


def _vacuum(r: Reader) -> Statement:
    full = r.options().get("full", False) or r.take("full")
    return Statement(transactional=False, patient=not full)


def _cluster(r: Reader) -> Statement:
    r.take("verbose")
    r.options()
    return Statement(transactional=r.peek() is not None)


def _refresh(r: Reader) -> Statement:
    return Statement(patient=r.take("materialized", "view", "concurrently"))


def _discard(r: Reader) -> Statement:
    return Statement(transactional=not r.take("all"))


def _ending(r: Reader) -> Statement:
    if not r.take("prepared"):
        return _CONTROL
    given = r.peek()
    name = inside(given) if given is not None and given.kind == "string" else ""
    ended = Outside(kind="prepared transaction", name=name, there=False)
    return Statement(transactional=False, outside=ended)


def _prepare(r: Reader) -> Statement:
    return Statement(control=r.take("transaction"))


def _code(r: Reader) -> Statement:
    """Read a DO, which cannot COMMIT where others have begun."""
    for token in r.rest():
        if token.kind == "string":
            body = tokens(inside(token))
            ends = (t for t in body if t.word("commit", "rollback"))
            if any(not _on_commit(body, t) for t in ends):
                return Statement(transactional=False, commits=True)
    return Statement(commits=True)


def _call(_: Reader) -> Statement:
    return Statement(commits=True)


def _on_commit(body: Sequence[Token], token: Token) -> bool:
    at = body.index(token)
    return at > 0 and body[at - 1].word("on")


def _control(_: Reader) -> Statement:
    return _CONTROL


def _analyze(_: Reader) -> Statement:
    return _PATIENT


# What PreventInTransactionBlock() stands in, in the sources of PostgreSQL 15 to 18.
_KINDS: dict[str, Callable[[Reader], Statement]] = {
    "abort": _control,
    "alter": _alter,
    "analyse": _analyze,
    "analyze": _analyze,
    "begin": _control,
    "call": _call,
    "cluster": _cluster,
    "commit": _ending,
    "create": _create,
    "discard": _discard,
    "do": _code,
    "drop": _drop,
    "end": _control,
    "prepare": _prepare,
    "refresh": _refresh,
    "reindex": _reindex,
    "release": _control,
    "rollback": _ending,
    "savepoint": _control,
    "start": _control,
    "vacuum": _vacuum,
}
