"""`verify`: each question has an answer that is not "ok"."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.migrations import Command, url_of
from support.server import Server

from foundry.database import Target, connect, resolve
from foundry.migrate import Check, Level, Runner, load
from foundry.migrate.verify import verify


def write_to(target: Target, statements: str) -> None:
    database = connect(url_of(target), bind=False)
    with database.connection_context():
        database.execute_sql(statements)
    database.close_all()


def asked(target: Target) -> dict[str, Check]:
    with Runner.opened(target, load().settings) as runner:
        return {check.name: check for check in verify(runner, load())}


def bad(target: Target) -> dict[str, str]:
    return {c.name: c.detail for c in asked(target).values() if c.level is Level.BAD}


def test_verify_is_0_for_a_healthy_database_and_1_for_others(
    migrated: Target, command: Command
) -> None:
    """What is wrong is named."""
    healthy = command("verify", "--json", "--database", url_of(migrated), code=0)
    assert json.loads(healthy.out)["healthy"] is True
    write_to(migrated, "DROP INDEX idx_messages_session_ts; DROP TABLE safety_logs")
    sick = command("verify", "--json", "--database", url_of(migrated), code=1)
    found = {c["name"]: c["detail"] for c in json.loads(sick.out)["checks"] if c["level"] == "bad"}
    assert {"tables and views", "declared indexes", "drift"} == set(found)
    assert "safety_logs" in found["tables and views"]
    assert "idx_messages_session_ts" in found["declared indexes"]


def test_verify_finds_an_invalid_index_and_an_unvalidated_constraint(
    migrated: Target, command: Command
) -> None:
    """What a crash or a shortcut left behind."""
    write_to(
        migrated,
        "ALTER TABLE users ADD CONSTRAINT named CHECK (name <> '') NOT VALID;"
        "UPDATE pg_index SET indisvalid = false"
        " WHERE indexrelid = 'idx_messages_session_ts'::regclass",
    )
    sick = command("verify", "--database", url_of(migrated), code=1)
    assert "invalid: idx_messages_session_ts" in sick.out
    assert "not validated: named" in sick.out


def test_verify_without_models_looks_at_every_table(
    empty: Target, command: Command, directory: Path
) -> None:
    """What a run left half made may be anywhere."""
    write_to(
        empty,
        'CREATE SCHEMA "B"; CREATE TABLE "B".c (n int); CREATE INDEX i ON "B".c (n);'
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '\"B\".i'::regclass",
    )
    to = ("--directory", str(directory), "--database", url_of(empty))
    assert 'invalid: "B".i' in command("verify", *to, code=1).out


def test_verify_before_up_is_unhealthy_and_no_traceback(empty: Target, command: Command) -> None:
    """Nothing there yet."""
    ended = command("verify", "--database", url_of(empty), code=1)
    assert "0001_conversations" in ended.out
    assert "Traceback" not in ended.err


def test_verify_counts_threads_that_belong_to_nobody(migrated: Target, command: Command) -> None:
    """A note: another application may keep its threads here."""
    write_to(migrated, "INSERT INTO checkpoints VALUES ('lost', '', '1', NULL, NULL, '{}')")
    ended = command("verify", "--database", url_of(migrated), code=0)
    assert "1 threads of checkpoints belong to no session" in ended.out


def test_an_index_of_the_right_name_on_another_table_does_not_count(migrated: Target) -> None:
    """Names are looked up on the table they were declared for."""
    write_to(
        migrated,
        "DROP INDEX idx_safety_level; CREATE INDEX idx_safety_level ON users (name);"
        "DROP INDEX idx_agent_role; CREATE SCHEMA other; CREATE TABLE other.x (id int);"
        "CREATE INDEX idx_agent_role ON other.x (id)",
    )
    assert {"declared indexes": "missing: idx_agent_role, idx_safety_level"} == bad(migrated)


def test_missing_columns_and_keys_are_named(migrated: Target) -> None:
    """What the documents' \\d would show."""
    write_to(
        migrated,
        "ALTER TABLE users DROP COLUMN email;"
        "ALTER TABLE messages DROP CONSTRAINT messages_session_id_fkey;"
        "ALTER TABLE safety_logs DROP CONSTRAINT safety_logs_pkey",
    )
    found = bad(migrated)
    assert 'missing: "users".email' == found["columns"]
    assert (
        'missing: foreign key "messages".session_id, primary key of "safety_logs"' == found["keys"]
    )


def test_what_this_role_may_not_do_is_named(server: Server, migrated: Target) -> None:
    """A table, the sequence behind a key, the view."""
    with server.role() as name:
        write_to(
            migrated,
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name};"
            f"REVOKE DELETE ON users FROM {name}; REVOKE SELECT ON checkpoint FROM {name}",
        )
        detail = bad(resolve(server.url_as(name, migrated.dbname)))["privileges"]
        assert "use sequence messages_id_seq" in detail
        assert 'read and write "users"' in detail
        assert "read checkpoint" in detail
        assert '"sessions"' not in detail
        write_to(migrated, f"DROP OWNED BY {name}")


def test_a_read_only_session_is_named(migrated: Target) -> None:
    """A standby, or a setting."""
    write_to(migrated, f'ALTER DATABASE "{migrated.dbname}" SET default_transaction_read_only = on')
    assert "write at all: the session is read-only" in bad(migrated)["privileges"]


def test_plaintext_to_another_host_is_unhealthy(
    migrated: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the URL allowed; what counts as another host is tested with the URLs."""
    monkeypatch.setattr("foundry.migrate.verify.is_local", lambda params, environ: False)
    assert "not encrypted: remove sslmode=disable from the URL" == bad(migrated)["connection"]


def test_rows_of_another_tool_are_reported(migrated: Target) -> None:
    """They have no digest to compare."""
    write_to(migrated, "DELETE FROM foundry_migration_step WHERE name = '0003_protocols'")
    with Runner.opened(migrated, load().settings) as runner:
        notes = [c.detail for c in verify(runner, load()) if c.level is Level.NOTE]
    assert "recorded without a digest: 0003_protocols" in notes


def test_langgraph_tables_that_are_behind_are_unhealthy(migrated: Target) -> None:
    """The installed package has steps that this database has not had."""
    write_to(migrated, "DELETE FROM checkpoint_migrations WHERE v > 5")
    assert "at step 5, " in bad(migrated)["langgraph tables"]


def test_models_in_a_namespace_and_of_odd_names_are_found(
    empty: Target, command: Command, tmp_path: Path
) -> None:
    """Names are compared as the server reads them."""
    (tmp_path / "odd.py").write_text(
        "from peewee import *\n"
        "class A(Model):\n"
        "    class Meta:\n        schema = 'app'\n        table_name = 'We\"ird'\n"
    )
    (tmp_path / "migrations").mkdir()
    write_to(empty, 'CREATE SCHEMA app; CREATE TABLE app."We""ird" (id serial PRIMARY KEY)')
    shown = command("verify", "--models", "odd", "--database", url_of(empty), code=0).out
    assert 'app."We""ird" ' in shown


def test_materialised_views_are_listed(empty: Target, command: Command, tmp_path: Path) -> None:
    """As views are; a name that needs quotes is found."""
    (tmp_path / "viewed.py").write_text(
        "from foundry import declare\n"
        "SCHEMA = declare.Schema(models=(), objects=(\n"
        "    declare.MaterializedView('busy', 'SELECT 1 AS n'),\n"
        "    declare.View(name='Odd', create='CREATE VIEW \"Odd\" AS SELECT 1 AS n')))\n"
    )
    to = ("--models", "viewed", "--directory", "m", "--database", url_of(empty))
    command("generate", "first", *to, code=0)
    out = command("up", *to, code=0).out
    lines = [line.split() for line in out.splitlines()]
    assert ["busy", "materialized", "view", "1", "0"] in lines
    assert ['"Odd"', "view", "1", "0"] in lines
    assert "2 of 2 there" in command("verify", *to, code=0).out


def test_a_quiet_verify_still_gives_its_verdict(migrated: Target, command: Command) -> None:
    """It is the result."""
    assert "healthy" in command("verify", "-q", "--database", url_of(migrated), code=0).out
