"""The application's migrations, by the command line its operators use."""

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import psycopg2
import pytest

PROJECT = Path(__file__).parents[1]
NUMBERS = ["0001", "0002", "0003", "0004"]


@pytest.fixture
def url(foundry_server):
    """The URL of a database that is not there yet."""
    dbname = f"notes_{uuid4().hex[:12]}"
    yield foundry_server.url(dbname)
    with closing(foundry_server.admin()) as session, session.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {dbname} WITH (FORCE)")


def migrate(url, *arguments, folder=PROJECT, expected=0):
    """What one run of the command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "foundry.migrate", *arguments, "--database", url],
        cwd=folder,
        env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert expected == done.returncode, done.stdout + done.stderr
    return done.stdout


def states(url, *, expected):
    """Each file of the directory and where it stands."""
    shown = json.loads(migrate(url, "status", "--json", expected=expected))
    return {file["name"][:4]: file["state"] for file in shown["migrations"]}


def tables(url):
    """The tables of the application that a database has."""
    with closing(psycopg2.connect(url)) as session, session.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {name for (name,) in cursor} & {"account", "note", "tag", "notetag"}


def test_up_down_and_up_again(url):
    """Each step is seen in the status and in the database."""
    migrate(url, "up", "--create-database", "--to", "0002_stars_and_details")
    assert {"account", "note"} == tables(url)
    assert ["applied", "applied"] == list(states(url, expected=1).values())[:2]
    migrate(url, "up")
    assert {"account", "note", "tag", "notetag"} == tables(url)
    assert NUMBERS == list(states(url, expected=0))
    migrate(url, "verify")
    migrate(url, "down", "--to", "0002_stars_and_details", expected=3)
    migrate(url, "down", "--to", "0002_stars_and_details", "--allow-data-loss")
    assert {"account", "note"} == tables(url)
    assert "pending" == states(url, expected=1)["0002"]
    migrate(url, "up")
    assert {"account", "note", "tag", "notetag"} == tables(url)


def test_verify_sees_a_table_that_is_gone(url):
    """The history says it is there."""
    migrate(url, "up", "--create-database")
    with closing(psycopg2.connect(url)) as session, session, session.cursor() as cursor:
        cursor.execute("DROP TABLE notetag")
    migrate(url, "verify", expected=1)


def test_a_clone_of_the_template_is_up_to_date(foundry_server, foundry_template, url):
    """It was made by these files."""
    dbname = url.partition("?")[0].rpartition("/")[2]
    with closing(foundry_server.admin()) as session, session.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {dbname} TEMPLATE {foundry_template}")
    migrate(url, "status")
    migrate(url, "verify")


@pytest.mark.foundry(commit=True)
def test_foundrys_own_tables_and_data_live_beside_ours(foundry_db, foundry_server, tmp_path):
    """In a folder that has no [foundry] section, `up` makes foundry's tables."""
    from notes.models import Account

    from foundry.fixtures.data import load
    from foundry.schema import Message, User

    target = foundry_server.url(foundry_db.target.dbname)
    migrate(target, "up", folder=tmp_path)
    Account.create(email="ada@example.com")
    loaded = load(foundry_db, languages=["de", "ar"])
    assert loaded.sessions
    with foundry_db.bind_ctx([User, Message]):
        assert 0 < User.select().count() < Message.select().count()
    assert 1 == Account.select().count()
    migrate(target, "verify")
