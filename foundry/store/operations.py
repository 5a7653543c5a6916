"""What a call of the store wants done, and nothing of how: a transport does it.

A call is a generator that yields operations, receives their answers and returns its result. A
StoreError is raised inside it, at the operation that the server refused.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Generator, Sequence
from operator import itemgetter
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

from foundry.errors import InvalidValue

T = TypeVar("T")

Kind: TypeAlias = Literal["int8", "text", "uuid", "timestamptz", "jsonb", "vector"]
"""How a column travels in binary."""

_PARAMETER = re.compile(r"\$(\d+)")


class Statement:
    """Constant SQL with parameters `$1`, `$2`; built once, when its module is loaded."""

    __slots__ = ("arranged", "pyformat", "text")

    def __init__(self, text: str) -> None:
        self.text = " ".join(text.split())
        self.pyformat = _PARAMETER.sub("%s", self.text.replace("%", "%%"))
        order = [int(number) - 1 for number in _PARAMETER.findall(self.text)]
        # What psycopg2 is given stands in the order of the text, not of the numbers.
        self.arranged = None if order == list(range(len(order))) else itemgetter(*order)

    def __repr__(self) -> str:
        return f"<Statement {self.text}>"


class Target:
    """Columns of a table that rows are written to, and how each travels."""

    __slots__ = ("columns", "copy", "insert", "kinds", "table")

    def __init__(self, table: str, columns: dict[str, Kind]) -> None:
        self.table = table
        self.columns = tuple(columns)
        self.kinds: tuple[Kind, ...] = tuple(columns.values())
        names = ", ".join(columns)
        self.copy = f"COPY {table} ({names}) FROM STDIN (FORMAT BINARY)"
        self.insert = f"INSERT INTO {table} ({names}) VALUES %s"


class Query(NamedTuple):
    """Run a statement; the answer is a list of its rows, which unpack as tuples do."""

    statement: Statement
    args: tuple[Any, ...] = ()


class Recently(NamedTuple):
    """Run a query without arguments, or answer what this connection heard less than a second ago.

    For what changes seldom, and where an old answer costs time and nothing else.
    """

    statement: Statement


class Insert(NamedTuple):
    """Write rows, checked by `foundry.store.strict`, into the columns of a target."""

    target: Target
    rows: Sequence[tuple[Any, ...]]


class Numbered(NamedTuple):
    """Write one row under a number of a sequence, which is its column `id`; answers the number.

    The columns of the target begin with `id`, which the row does not have.
    """

    target: Target
    sequence: str
    row: tuple[Any, ...]
    timed: bool
    """True where the server gives the row a time, which tells its place outside a transaction."""


class Read(NamedTuple):
    """Run a SELECT whose columns are of these kinds; the answer is its rows."""

    statement: Statement
    kinds: tuple[Kind, ...]
    args: tuple[Any, ...] = ()


class Atomic(NamedTuple):
    """Run other steps in a transaction, or a savepoint of an open one; answers their result."""

    steps: Generator[Any, Any, Any]


HAS_ROW_SECURITY = Statement("SELECT row_security_active($1)")
"""Asked of a table before rows go there by COPY, which is refused under row-level security."""


def other_database(database: object, wanted: str) -> InvalidValue:
    """What to say to one that steps of another transport were asked of."""
    kind = type(database)
    got = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    return InvalidValue(f"the database: expected {wanted}, got {got}")


def on_database(steps: Callable[..., Steps[Any]]) -> inspect.Signature:
    """The signature of the function that runs those steps on a database."""
    signature = inspect.signature(steps)
    first = inspect.Parameter("database", inspect.Parameter.POSITIONAL_ONLY, annotation="Database")
    returned = str(signature.return_annotation).removeprefix("Steps[").removesuffix("]")
    parameters = (first, *signature.parameters.values())
    return signature.replace(parameters=parameters, return_annotation=returned)


Operation: TypeAlias = Query | Recently | Insert | Numbered | Read | Atomic
Steps: TypeAlias = Generator[Operation, Any, T]
