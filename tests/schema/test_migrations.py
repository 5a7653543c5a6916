"""The packaged migrations make exactly what the models declare."""

from __future__ import annotations

import subprocess

import pytest
from support.migrations import rows, tables

from foundry import embedded
from foundry.database import Target
from foundry.migrate import Runner, load
from foundry.migrate.externals import bring_forward
from foundry.schema import SCHEMA


def dump(target: Target) -> str:
    """Return the schema as pg_dump writes it, without the history tables."""
    ended = subprocess.run(
        [
            embedded.pg_tool("pg_dump"), "--schema-only", "--no-owner",
            "--exclude-table=foundry_migration*", target.dbname,
        ],
        env={
            f"PG{key.upper()}": target.params[key]
            for key in ("host", "port", "user", "password")
            if key in target.params
        },
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    lines = ended.stdout.splitlines()
    # pg_dump writes a random token against injection on restore.
    return "\n".join(line for line in lines if not line.startswith(("\\restrict", "\\unrestrict")))


def migrate(target: Target, options: frozenset[str]) -> None:
    project = load()
    settings = project.settings.__class__(
        directory=project.settings.directory,
        table=project.settings.table,
        externals=project.settings.externals,
        options=options,
    )
    with Runner.opened(target, settings) as runner:
        runner.up()


@pytest.mark.parametrize("options", [frozenset(), frozenset({"jsonb_indexes", "text_index"})])
def test_the_dump_equals_that_of_create_tables_on_the_models(
    empty: Target, server: object, options: frozenset[str]
) -> None:
    """Tables, columns in their order, constraints, indexes, functions, view and comments."""
    from foundry.database import connect

    declared = server.create()  # type: ignore[attr-defined]
    try:
        database = connect(server.url(declared), bind=False)  # type: ignore[attr-defined]
        with database.connection_context(), database.bind_ctx(list(SCHEMA.models)):
            for external in SCHEMA.externals:
                bring_forward(database, external, report=lambda line: None)
            SCHEMA.create_all(database, externals={"langgraph": True}, options=options)
            expected = dump(database.target)
        database.close_all()
        migrate(empty, options)
        assert expected == dump(empty)
        assert ("idx_safety_concerns" in expected) == bool(options)
        assert ("idx_messages_text" in expected) == bool(options)
    finally:
        server.drop(declared)  # type: ignore[attr-defined]


def test_down_takes_everything_away_but_the_tables_of_others(migrated: Target) -> None:
    """LangGraph's tables and the extension stay: they were not the files' to make or drop."""
    before = rows(migrated, "SELECT name FROM foundry_migration ORDER BY name")
    with Runner.opened(migrated, load().settings) as runner:
        runner.down("0001_conversations", allow_data_loss=True)
        assert {"langgraph"} == {e.name for e in SCHEMA.externals}
        assert {
            "checkpoints",
            "checkpoint_blobs",
            "checkpoint_writes",
            "checkpoint_migrations",
            "foundry_migration",
            "foundry_migration_step",
        } == tables(migrated)
        runner.up()
    assert before == rows(migrated, "SELECT name FROM foundry_migration ORDER BY name")
