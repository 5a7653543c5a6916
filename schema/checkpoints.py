"""LangGraph's tables (another package's), our indexes on them and the `checkpoint` view."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from importlib.metadata import PackageNotFoundError, distribution

from peewee import (
    BlobField,
    CompositeKey,
    Database,
    IntegerField,
    TextField,
)

from foundry import declare
from foundry.errors import FoundryError
from foundry.fields import JSONField
from foundry.schema.base import ReadOnly

PACKAGE = "langgraph-checkpoint-postgres"
_INSTALL = "pip install 'cerina-foundry[langgraph]'"


class Checkpoint(ReadOnly):
    """A checkpoint as LangGraph stores it: small channel values inline, the rest in blobs."""

    thread_id = TextField()
    checkpoint_ns = TextField()
    checkpoint_id = TextField()
    parent_checkpoint_id = TextField(null=True)
    type = TextField(null=True)
    checkpoint = JSONField()
    metadata = JSONField()

    class Meta:
        table_name = "checkpoints"
        primary_key = CompositeKey("thread_id", "checkpoint_ns", "checkpoint_id")


class CheckpointBlob(ReadOnly):
    """One version of one channel of a thread, serialised."""

    thread_id = TextField()
    checkpoint_ns = TextField()
    channel = TextField()
    version = TextField()
    type = TextField()
    blob = BlobField(null=True)

    class Meta:
        table_name = "checkpoint_blobs"
        primary_key = CompositeKey("thread_id", "checkpoint_ns", "channel", "version")


class CheckpointWrite(ReadOnly):
    """One pending write of a task, serialised."""

    thread_id = TextField()
    checkpoint_ns = TextField()
    checkpoint_id = TextField()
    task_id = TextField()
    idx = IntegerField()
    channel = TextField()
    type = TextField(null=True)
    blob = BlobField()
    task_path = TextField()

    class Meta:
        table_name = "checkpoint_writes"
        primary_key = CompositeKey("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx")


class CheckpointMigration(ReadOnly):
    """A step of LangGraph's own schema that this database has had."""

    v = IntegerField(primary_key=True)

    class Meta:
        table_name = "checkpoint_migrations"


class CheckpointState(Checkpoint):
    """The view `checkpoint`: each checkpoint with its complete state decoded to JSON."""

    class Meta:
        table_name = "checkpoint"


def _installed() -> bool:
    # By its files: find_spec would import the package's parents, and they psycopg, which
    # fails where libpq is missing. The package is there then, and its import says why.
    try:
        return bool(distribution(PACKAGE).files)
    except PackageNotFoundError:
        return False


def _migrations() -> Sequence[Sequence[str]]:
    try:
        from langgraph.checkpoint.postgres.base import MIGRATIONS
    except ImportError as error:
        raise FoundryError(
            f"{PACKAGE} is installed and cannot be imported: {_INSTALL} brings what it needs"
        ) from error
    # The saver's setup() runs a statement and then records its number; so do we.
    return [
        (statement, f"INSERT INTO checkpoint_migrations (v) VALUES ({number})")
        for number, statement in enumerate(MIGRATIONS)
    ]


def _version(database: Database) -> int | None:
    there = database.execute_sql("SELECT to_regclass('checkpoint_migrations')").fetchone()[0]
    if there is None:
        return None
    row = database.execute_sql("SELECT max(v) FROM checkpoint_migrations").fetchone()
    return None if row[0] is None else int(row[0])


LANGGRAPH = declare.External(
    name="langgraph",
    package=PACKAGE,
    install=_INSTALL,
    tables=("checkpoints", "checkpoint_blobs", "checkpoint_writes", "checkpoint_migrations"),
    installed=_installed,
    migrations=_migrations,
    version=_version,
)


_NAME = re.compile(r"^create or replace (?:function|view) (\w+)", re.MULTILINE)


def _created(file: str) -> tuple[declare.Function | declare.View, ...]:
    """Read objects from a file: CREATE statements, each with the comments that follow it."""
    text = resources.files("foundry").joinpath("schema", "sql", file).read_text(encoding="utf-8")
    objects: list[declare.Function | declare.View] = []
    for part in text.split("\n-- ;;\n"):
        statement, name = part.strip(), _NAME.search(part)
        if name is None:
            last = objects.pop()
            objects.append(replace(last, comments=(*last.comments, statement)))
        elif " view " in name.group():
            objects.append(declare.View(name=name.group(1), create=statement))
        else:
            objects.append(declare.Function(name=name.group(1), create=statement))
    return tuple(declare.optional(o, needs=_NEEDS) for o in objects)


_NEEDS = "external:langgraph"

# LangGraph's own checkpoints_thread_id_idx already is an index on (thread_id) alone.
_INDEXES = (
    declare.Index(
        Checkpoint,
        Checkpoint.thread_id,
        Checkpoint.checkpoint_id,
        name="idx_checkpoints_thread_checkpoint",
    ),
    declare.Index(Checkpoint, Checkpoint.parent_checkpoint_id, name="idx_checkpoint_parent_id"),
)
_STATE = declare.Index(Checkpoint, Checkpoint.checkpoint, name="idx_checkpoint_state", using="GIN")

_ORPHANS = declare.Probe(
    name="threads without a session or protocol",
    query="""
        SELECT count(*) FROM (SELECT DISTINCT thread_id FROM checkpoints) AS t
        WHERE NOT EXISTS (SELECT FROM sessions AS s WHERE s.id::text = t.thread_id)
          AND NOT EXISTS (SELECT FROM protocol_history AS p WHERE p.id = t.thread_id)""",
    message="{count} threads of checkpoints belong to no session and no protocol",
)

OBJECTS = (
    LANGGRAPH,
    *(declare.optional(index, needs=_NEEDS) for index in _INDEXES),
    *_created("msgpack.sql"),
    *_created("checkpoint_view.sql"),
    declare.optional(_STATE, needs=(_NEEDS, "option:jsonb_indexes")),
    declare.optional(_ORPHANS, needs=_NEEDS),
)
