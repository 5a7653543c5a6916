"""An UPDATE as its text has it, and whether running it in parts is the same as whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from foundry.migrate.tokens import Name, Reader, Token, listed, tokens

# Each reads rows, which parts that were run before may have changed; TABLE and VALUES can
# stand for a SELECT, and without quotes two of them are no names.
_QUERIES = ("select", "table", "values")
# Each runs a query that it is given as a string.
_RUNNERS = ("ts_rewrite", "ts_stat")
_RUNNER_ENDINGS = ("_to_xml", "_to_xmlschema", "_to_xml_and_xmlschema")
# What stays the same for one transaction, or one statement: functions and reserved words.
_MOMENT_FUNCTIONS = (
    *("now", "transaction_timestamp", "statement_timestamp", "age"),
    *("txid_current", "pg_current_xact_id"),
)
_MOMENTS = ("current_timestamp", "current_date", "current_time", "localtime", "localtimestamp")
# Words that a parenthesis may follow without a function being called.
_NO_CALL = ("and", "or", "not", "in", "is", "any", "all", "some", "like", "ilike", "between")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """`column = value`."""

    column: str
    value: str
    """Text of an expression, or DEFAULT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """`UPDATE relation SET changes WHERE where`; no text ends in an open comment."""

    table: Name
    only: bool
    reference: str
    """The alias, or the table's name without its namespace: what qualifies columns."""
    relation: str
    changes: str
    where: str
    """Empty where all rows are meant."""
    assignments: tuple[Assignment, ...]
    obstacle: str
    """Why it cannot be run in parts, as far as the text says; empty if it can."""
    filled: frozenset[str]
    """Columns it sets where they are NULL and nowhere else."""
    repeats: bool
    """Running it again changes no row that it has changed: it fills, and reads no result of it."""


def read_update(sql: str, found: Sequence[Token]) -> Update | None:
    """Read the tokens of an UPDATE; None where it is written in no way known here."""
    r = Reader(found)
    r.take("update")
    only = found[1:2] != [] and found[1].word("only")
    table = r.relation()
    alias = table[-1:]
    if not r.coming("set"):
        r.take("as")
        alias = r.name()
    relation = found[1 : r.at]
    if not table or len(alias) != 1 or not r.take("set"):
        return None
    clauses = _clauses(r.rest())
    return _update(sql, clauses, relation, (table, only, alias[0]))


def is_momentary(text: str) -> bool:
    """True when an expression has another value in another transaction, by the clock."""
    found = tokens(text)
    calls = (a.text for a, b in pairwise(found) if a.identifier and b.mark("("))
    return any(t.word(*_MOMENTS) for t in found) or any(c in _MOMENT_FUNCTIONS for c in calls)


def _update(
    sql: str,
    clauses: Mapping[str, Sequence[Token]],
    relation: Sequence[Token],
    named: tuple[Name, bool, str],
) -> Update:
    table, only, reference = named
    items = listed(clauses["set"])
    assignments = tuple(
        Assignment(column=item[0].text, value=_text(sql, item[2:]))
        for item in items
        if _is_plain(item)
    )
    where = clauses.get("where", ())
    filled = frozenset(_null_tests(where)) & {a.column for a in assignments}
    changed = {a.column for a in assignments} - filled
    read_back = _reads(clauses["set"], changed, {reference, table[-1]})
    return Update(
        table=table,
        only=only,
        reference=reference,
        relation=_text(sql, relation),
        changes=_text(sql, clauses["set"]),
        where=_text(sql, where),
        assignments=assignments,
        obstacle=_obstacle(clauses, plain=len(assignments) == len(items)),
        filled=filled,
        repeats=bool(filled) and not read_back and not _calls(where),
    )


def _clauses(found: Sequence[Token]) -> dict[str, list[Token]]:
    """Return the tokens of SET, FROM, WHERE and RETURNING by the word they begin with."""
    clauses: dict[str, list[Token]] = {"set": []}
    inside = "set"
    for number, token in enumerate(found):
        begins = token.depth == 0 and token.word("from", "where", "returning")
        if begins and not (number and found[number - 1].word("distinct")):
            inside = token.text
            clauses[inside] = []
        else:
            clauses[inside].append(token)
    return clauses


def _is_plain(item: Sequence[Token]) -> bool:
    return len(item) > 2 and item[0].identifier and item[1].mark("=")


def _text(sql: str, found: Sequence[Token]) -> str:
    return sql[found[0].start : found[-1].end] if found else ""


def _obstacle(clauses: Mapping[str, Sequence[Token]], *, plain: bool) -> str:
    found = [*clauses["set"], *clauses.get("where", ())]
    if "returning" in clauses:
        return "it has RETURNING"
    if "from" in clauses:
        return "it reads other tables"
    if any(t.word(*_QUERIES) for t in found):
        return "it has a sub-SELECT"
    if any(a.word("current") and b.word("of") for a, b in pairwise(found)):
        return "it is about the row of a cursor"
    if any(_runs_query(t) for t in found):
        return "it runs a query that is written as a string"
    return "" if plain else "it sets several columns at once, or a part of one"


def _runs_query(token: Token) -> bool:
    return token.identifier and (token.text in _RUNNERS or token.text.endswith(_RUNNER_ENDINGS))


def _null_tests(where: Sequence[Token]) -> Iterator[str]:
    """Yield the columns that are NULL in every row that is meant."""
    for conjunct in _conjuncts(where):
        column, test = conjunct[:-2], conjunct[-2:]
        if [t.text for t in test if t.word()] != ["is", "null"]:
            continue
        qualified = len(column) == 3 and column[0].identifier and column[1].mark(".")
        if (qualified or len(column) == 1) and column[-1].identifier:
            yield column[-1].text


def _conjuncts(found: Sequence[Token]) -> Iterator[Sequence[Token]]:
    if not found:
        return
    depth = found[0].depth
    inner = found[1:-1]
    if found[0].mark("(") and found[-1].mark(")") and all(t.depth > depth for t in inner):
        yield from _conjuncts(inner)
        return
    # The AND of a BETWEEN joins nothing.
    outer = [t for t in found if t.depth == depth]
    ands = [n for n, t in enumerate(found) if t.depth == depth and t.word("and")]
    if not ands or any(t.word("or", "between") for t in outer):
        yield found
        return
    for start, end in pairwise([-1, *ands, len(found)]):
        yield from _conjuncts(found[start + 1 : end])


def _calls(found: Sequence[Token]) -> bool:
    return any(a.identifier and b.mark("(") and not a.word(*_NO_CALL) for a, b in pairwise(found))


def _reads(found: Sequence[Token], columns: set[str], tables: set[str]) -> bool:
    """True when the values of a SET use one of the columns, or the row as a whole."""
    for item in listed(found):
        names = [t.identifier for t in item]
        for number, token in enumerate(item[2:], start=2):
            dotted = item[number + 1 : number + 2] and item[number + 1].mark(".")
            column = dotted and names[number + 2 : number + 3] == [True]
            if token.identifier and (
                token.text in columns or (token.text in tables and not column)
            ):
                return True
    return False
