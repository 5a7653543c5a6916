"""The Docker files, read as files: no engine is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

DOCKER = Path(__file__).parents[2] / "docker"


@pytest.fixture(scope="module")
def database() -> dict[str, Any]:
    """The one service of the compose file."""
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))["services"]
    assert ["database"] == list(services)
    service: dict[str, Any] = services["database"]
    return service


def test_the_image_brings_pgvector_on_postgresql_18(database: dict[str, Any]) -> None:
    """The server is of the major version that the embedded one has."""
    assert "pgvector/pgvector:pg18" == database["image"]


def test_the_port_is_published_on_loopback_only(database: dict[str, Any]) -> None:
    """Nobody on the network reaches the server, whatever port is chosen."""
    assert ["127.0.0.1:${FOUNDRY_PORT:-5432}:5432"] == database["ports"]


def test_the_password_is_required_and_has_no_default(database: dict[str, Any]) -> None:
    """Compose stops with a message when no password is given."""
    password = database["environment"]["POSTGRES_PASSWORD"]
    assert re.fullmatch(r"\$\{POSTGRES_PASSWORD:\?[^}]+\}", password)


def test_no_way_around_the_password_is_configured(database: dict[str, Any]) -> None:
    """No trust authentication, and no variable but the two the image needs."""
    assert {"POSTGRES_DB", "POSTGRES_PASSWORD"} == set(database["environment"])
    assert "cerina_foundry" == database["environment"]["POSTGRES_DB"]


@pytest.mark.parametrize(
    "path", [p for p in DOCKER.rglob("*") if p.is_file()], ids=lambda p: p.name
)
def test_no_url_with_a_password_is_written_down(path: Path) -> None:
    """The URLs in comments show dots where the password goes."""
    passwords = re.findall(r"://[^\s:/@]+:([^\s@]+)@", path.read_text("utf-8"))
    assert set(passwords) <= {"..."}


def test_health_means_that_the_final_server_takes_connections(database: dict[str, Any]) -> None:
    """Asked over TCP, where the server of the init phase does not listen."""
    check = database["healthcheck"]
    assert ["CMD", "pg_isready", "-h", "127.0.0.1"] == check["test"][:4]
    assert "cerina_foundry" == check["test"][-1]
    assert {"interval", "timeout", "retries", "start_period"} < set(check)


def test_data_is_in_a_named_volume_where_the_image_keeps_it(database: dict[str, Any]) -> None:
    """Below /var/lib/postgresql/data an image of version 18 refuses to start."""
    declared = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))["volumes"]
    source, mode = mounts(database)["/var/lib/postgresql"]
    assert source in declared
    assert "" == mode


def test_the_init_files_are_mounted_read_only(database: dict[str, Any]) -> None:
    """And the folder that is mounted exists: Docker would make an empty one."""
    assert ("./init", "ro") == mounts(database)["/docker-entrypoint-initdb.d"]
    assert ["01_extensions.sql"] == [path.name for path in (DOCKER / "init").iterdir()]


def test_the_init_file_repeats_without_harm() -> None:
    """The migrations create the extension as well, and either may come first."""
    text = (DOCKER / "init" / "01_extensions.sql").read_text("utf-8")
    statements = re.sub(r"--.*", "", text).split(";")
    assert ["CREATE EXTENSION IF NOT EXISTS vector"] == [s.strip() for s in statements if s.strip()]


def test_the_server_comes_back_and_has_memory_for_index_builds(database: dict[str, Any]) -> None:
    """A restart policy, and shared memory above Docker's 64 MB."""
    assert "unless-stopped" == database["restart"]
    assert "1gb" == database["shm_size"]


def test_the_image_of_ci_is_pinned_and_does_not_run_as_root() -> None:
    """One release of the base image, and a user other than 0 at the end."""
    lines = (DOCKER / "Dockerfile").read_text("utf-8").splitlines()
    (base,) = (line for line in lines if line.startswith("FROM "))
    users = [line.removeprefix("USER ") for line in lines if line.startswith("USER ")]
    assert re.fullmatch(r"FROM python:3\.11\.\d+-slim-bookworm", base)
    assert "10001:10001" == users[-1]


def test_neither_secrets_nor_environments_enter_the_image() -> None:
    """BuildKit reads the ignore file that is named after the Dockerfile."""
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text("utf-8").split()
    assert {".git", ".tox", ".venv", "**/.env"} <= set(ignored)


@pytest.mark.parametrize(
    "command",
    [
        ("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"),
        ("hadolint", "Dockerfile"),
    ],
    ids=lambda command: command[0],
)
def test_the_checkers_find_nothing(command: tuple[str, ...]) -> None:
    """The compose specification and hadolint's rules are kept."""
    program = shutil.which(command[0], path=sysconfig.get_path("scripts"))
    if program is None:
        pytest.skip(f'"{command[0]}" is not installed; tox installs it')
    done = subprocess.run(
        [program, *command[1:]], cwd=DOCKER, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr


def mounts(service: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Target of each volume in short form, with its source and mode."""
    parts = (volume.split(":") for volume in service["volumes"])
    return {target: (source, "".join(mode)) for source, target, *mode in parts}
