"""A plan as migration files that playhouse can run; nothing in them is code but operations.

Every text in a file is the repr() of a string: a name can neither end a literal nor begin
a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from foundry.errors import DeclarationError
from foundry.migrate.hazards import described, file_locks, file_losses
from foundry.migrate.objects import Column, Extension, Key, Table
from foundry.migrate.rules import Context
from foundry.migrate.spelling import printed
from foundry.migrate.steps import HOLE, Call, Check, Literal, Plan, Stage, Step

_WIDTH = 96

# Operations that run one statement and no other.
OPERATIONS = frozenset(
    {
        "drop_table", "drop_column", "rename_column", "add_not_null", "drop_not_null",
        "drop_column_default", "drop_constraint", "add_index", "drop_index",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedFile:
    """A migration file that was not written yet."""

    name: str
    """With its number and without `.py`: what the history records."""
    content: str

    @property
    def filename(self) -> str:
        """The name it has in the directory."""
        return f"{self.name}.py"


def checked(name: str) -> str:
    """Return the name if files can be called that; DeclarationError where not."""
    if not re.fullmatch(r"[A-Za-z0-9_]{1,100}", name):
        raise DeclarationError(
            f'"{name}" cannot be the name of a migration: use up to 100 ASCII letters, digits '
            f'and "_"'
        )
    return name


def files(
    plan: Plan,
    name: str,
    first_number: int,
    *,
    context: Context,
    replayed: bool = True,
) -> tuple[RenderedFile, ...]:
    """Return a file for each stage, numbered from `first_number`.

    `context` says for which server, and which namespace's names stand alone.
    """
    names = _names(plan, checked(name), first_number)
    constants = _constants([s for stage in plan.stages for s in (*stage.up, *stage.down)])
    asked = [c for stage in plan.stages for c in stage.checks if HOLE in c.query]
    group = f"{first_number:04d}_{name}" if len(names) > 1 else ""
    ways = (_before(plan, context, "up"), _before(plan, context, "down"))
    rendered = []
    for called, stage, *contexts in zip(names, plan.stages, *ways, strict=True):
        heads = _heads(stage, contexts[0], contexts[1])
        questions = tuple(_checks(stage, asked, constants))
        if questions:
            heads.append(("checks", questions))
        if group:
            heads.append(("group", group))
        if not replayed:
            heads.append(("replayed", False))
        rendered.append(
            RenderedFile(name=called, content=_file(stage, heads, contexts[0], constants))
        )
    return tuple(rendered)


def empty(name: str, number: int) -> RenderedFile:
    """Return a file to be written by hand."""
    called = f"{number:04d}_{checked(name)}"
    text = f"{_docstring(name.replace('_', ' '))}\n\n\n{_EMPTY}"
    return RenderedFile(name=called, content=text)


_EMPTY = """def up(migrator, db):
    # migrator.migrate(migrator.sql("..."), ...)
    raise NotImplementedError("write here what the file does")


def down(migrator, db):
    raise NotImplementedError("write the way back here, or take this function out")
"""


def _names(plan: Plan, name: str, number: int) -> list[str]:
    called = []
    for index, stage in enumerate(plan.stages):
        drops = index and all(s.action.startswith("drop ") for s in stage.up)
        suffix = "_online" if stage.online else "_drop" if drops else ""
        called.append(f"{number + index:04d}_{name}{suffix if len(plan.stages) > 1 else ''}")
    return called


def _before(plan: Plan, context: Context, direction: str) -> list[Context]:
    """Return for each stage what its rules know: the steps of the stages run before it."""
    contexts: list[Context] = []
    earlier: tuple[Step, ...] = ()
    stages = plan.stages if direction == "up" else plan.stages[::-1]
    for stage in stages:
        contexts.append(replace(context, earlier=earlier))
        earlier += stage.up if direction == "up" else stage.down
    return contexts if direction == "up" else contexts[::-1]


def _heads(stage: Stage, up: Context, down: Context) -> list[tuple[str, object]]:
    extensions = (s.after for s in stage.up if s.action == "create extension")
    made = tuple(f"extension:{e.name}" for e in extensions if isinstance(e, Extension))
    values: list[tuple[str, object]] = [
        ("requires", tuple(dict.fromkeys((*stage.requires, *made)))),
        ("loses", file_losses(stage.up, up)),
        ("down_loses", file_losses(stage.down, down)),
        ("locks", file_locks(stage.up, up)),
        ("tables", tuple(_tables(stage, up.namespace))),
    ]
    heads: list[tuple[str, object]] = [("atomic", False)] if stage.online else []
    return heads + [(key, value) for key, value in values if value]


def _checks(
    stage: Stage, asked: Sequence[Check], constants: dict[Key, str]
) -> Iterator[tuple[str, str]]:
    """Yield the questions of a file; those about a constant stand in the file that has it."""
    written = {s.subject.key for s in stage.up if HOLE in s.sql}
    for check in stage.checks:
        if HOLE not in check.query:
            yield check.name, check.query
    for check in asked:
        if check.column in written:
            yield check.name, check.query.replace(HOLE, f"{{{constants[check.column]}}}")


def _tables(stage: Stage, namespace: str) -> Iterator[tuple[str, str]]:
    """Yield the tables a file makes, renames and drops, by the names they had and have."""
    for step in stage.up:
        if step.action in ("create table", "rename table", "drop table"):
            before, after = step.before, step.after
            old = printed(before.place, namespace) if isinstance(before, Table) else ""
            yield old, printed(after.place, namespace) if isinstance(after, Table) else ""


def _file(
    stage: Stage,
    heads: Sequence[tuple[str, object]],
    context: Context,
    constants: dict[Key, str],
) -> str:
    _refuse_surrogates(stage)
    used = {s.subject.key for s in (*stage.up, *stage.down) if HOLE in s.sql}
    here = [name for key, name in constants.items() if key in used]
    parts = [_docstring(_told(stage, context))]
    if heads:
        parts.append("\n".join(_assigned(key, value) for key, value in heads))
    if here:
        parts.append("\n".join(f'{name} = "NULL"  {_FILL}' for name in here))
    top = "\n\n".join(parts)
    ways = (_function("up", stage.up, constants), _function("down", stage.down, constants))
    return "\n\n\n".join((top, *ways)) + "\n"


def _refuse_surrogates(stage: Stage) -> None:
    texts = [step.sql for step in (*stage.up, *stage.down)]
    texts += [text for check in stage.checks for text in (check.name, check.query)]
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        raise DeclarationError("a name or text holds half of a surrogate pair") from None


_FILL = "# write the SQL expression for the rows that are there; % as %%"


def _docstring(text: str) -> str:
    """Return a docstring: in three quotes where nothing in it could end it."""
    if re.fullmatch(r"[\w ,.;:()-]+", text, re.ASCII):
        return f'"""{text}"""'
    return f"(\n{_lines(text, 1)}\n)" if len(repr(text)) > _WIDTH else repr(text)


def _told(stage: Stage, context: Context) -> str:
    # What it is all for comes last in the file and first in what is said of it.
    ordered = sorted(stage.up, key=lambda step: step.action != "swap column")
    found = list(dict.fromkeys(described(s, context.namespace) for s in ordered))
    shown = "; ".join(found[:4]) + (f"; and {len(found) - 4} more" if len(found) > 4 else "")
    return shown[:1].upper() + shown[1:] + "."


def _assigned(key: str, value: object) -> str:
    if key == "checks" and isinstance(value, tuple):
        pairs = "".join(
            f"    (\n        {name!r},\n{_lines(query, 2)},\n    ),\n" for name, query in value
        )
        return f"{key} = (\n{pairs})"
    line = f"{key} = {value!r}"
    if len(line) <= _WIDTH or not isinstance(value, tuple):
        return line
    return f"{key} = (\n" + "".join(f"    {item!r},\n" for item in value) + ")"


def _function(name: str, steps: Sequence[Step], constants: dict[Key, str]) -> str:
    if not steps:
        return f"def {name}(migrator, db):\n    pass"
    lines = "\n".join(f"{_operation(step, constants)}," for step in steps)
    return f"def {name}(migrator, db):\n    migrator.migrate(\n{lines}\n    )"


def _operation(step: Step, constants: dict[Key, str]) -> str:
    if step.call and _is_plain(step.call):
        keywords = [f"{key}={value!r}" for key, value in step.call.keywords]
        arguments = ", ".join([*map(repr, step.call.arguments), *keywords])
        return f"        migrator.{step.call.name}({arguments})"
    # playhouse hands every statement to psycopg2 with parameters, be there none.
    texts = step.sql.replace("%", "%%").split(HOLE)
    short = f"        migrator.sql({texts[0]!r})"
    if len(texts) == 1 and len(short) < _WIDTH and "\n" not in texts[0]:
        return short
    name = constants.get(step.subject.key, "")
    joint = f"\n            + {name}\n            + "
    written = joint.join(_lines(text, 3).lstrip() for text in texts)
    return f"        migrator.sql(\n            {written}\n        )"


def _is_plain(call: Call) -> bool:
    """True for an operation whose names playhouse writes as they are."""
    values: list[Literal] = [*call.arguments, *(value for _, value in call.keywords)]
    texts = [t for v in values for t in (v if isinstance(v, tuple) else (v,))]
    odd = any(isinstance(text, str) and ("%" in text or "." in text) for text in texts)
    known = {"cascade", "unique", "name"} >= {key for key, _ in call.keywords}
    cascades = call.name == "drop_column" and ("cascade", False) not in call.keywords
    return call.name in OPERATIONS and known and not odd and not cascades


def _lines(text: str, depth: int) -> str:
    """Return a string as literals below each other, one for each of its lines."""
    indent = "    " * depth
    pieces = [piece for line in text.split("\n") for piece in _pieces(line + "\n")]
    # The text ends where its last line ends.
    pieces[-1] = pieces[-1][:-1]
    return "\n".join(f"{indent}{piece!r}" for piece in pieces if piece or len(pieces) == 1)


def _pieces(line: str) -> Iterator[str]:
    """Cut a line behind spaces so that its parts fit on the page."""
    while len(line) > _WIDTH - 16:
        cut = line.rfind(" ", 20, _WIDTH - 16) + 1
        if not cut:
            break
        yield line[:cut]
        line = line[cut:]
    yield line


def _constants(steps: Sequence[Step]) -> dict[Key, str]:
    """Return a name for each expression that the author has to write, by column."""
    names: dict[Key, str] = {}
    for step in steps:
        column = step.subject
        if HOLE in step.sql and isinstance(column, Column) and column.key not in names:
            words = re.sub(r"[^A-Za-z0-9]+", "_", f"{column.table[1]}_{column.name}").strip("_")
            name = f"FILL_{words}".upper()[:60]
            while name in names.values():
                name += "_"
            names[column.key] = name
    return names
