"""A user's PG* variables are meant for other servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundry import embedded
from foundry.database import open_connection, resolve
from foundry.errors import EmbeddedError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGREQUIREAUTH", "scram-sha-256"),
        ("PGCHANNELBINDING", "require"),
        ("PGTARGETSESSIONATTRS", "standby"),
        ("PGSSLNEGOTIATION", "direct"),
        ("PGLOADBALANCEHOSTS", "nonsense"),
        ("PGSSLCERTMODE", "require"),
        ("PGSSLMINPROTOCOLVERSION", "nonsense"),
        ("PGREQUIREPEER", "nobody-at-all"),
        ("PGSSLMODE", "verify-full"),
        ("PGHOSTADDR", "127.0.0.1"),
        ("PGOPTIONS", "-c nonsense=1"),
    ],
)
def test_variables_for_other_servers_do_no_harm(
    stopped: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
) -> None:
    """The server is found, joined and asked all the same."""
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("FOUNDRY_DATA", str(stopped))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    connection = open_connection(resolve())
    assert ("foundry", "postgres") == (connection.info.dbname, connection.info.user)
    connection.close()
    embedded.release(stopped)


def test_a_service_is_refused_in_words(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libpq has no parameter that says "no service"."""
    monkeypatch.setenv("PGSERVICE", "other")
    with pytest.raises(EmbeddedError, match="PGSERVICE is set: unset it"):
        embedded.acquire(data)
