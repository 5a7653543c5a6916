"""Who runs the embedded server in these tests, and where."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from foundry import embedded

# In pytest's importlib mode a folder of tests is on no path, and a conftest cannot be imported.
sys.path.insert(0, str(Path(__file__).parent))

from processes import ROOT, Person, ask, drop_sockets, ordinary_person


@pytest.fixture
def myself() -> Iterator[Person]:
    """This account."""
    person = Person(python=sys.executable)
    yield person
    person.ends_all()


@pytest.fixture(params=["myself", "ordinary"])
def person(request: pytest.FixtureRequest) -> Iterator[Person]:
    """This account, then, when it is root, an ordinary one."""
    found = Person(python=sys.executable) if request.param == "myself" else ordinary_person()
    yield found
    found.ends_all()


@pytest.fixture
def ordinary() -> Iterator[Person]:
    """An account that is not root's."""
    found = ordinary_person() if ROOT else Person(python=sys.executable)
    yield found
    found.ends_all()


@pytest.fixture(scope="session")
def shared() -> Iterator[Path]:
    """One cluster with one row for all tests that leave it whole: a new one costs a second."""
    place = Path(tempfile.mkdtemp(prefix="fdry-", dir="/tmp"))
    place.chmod(0o755)
    server = embedded.acquire(place)
    ask(server.url(), "CREATE TABLE kept AS SELECT 7 AS number")
    embedded.stop(place)
    yield place
    drop_sockets(place)
    shutil.rmtree(place)


@pytest.fixture
def stopped(shared: Path) -> Iterator[Path]:
    """A data folder with a cluster that nobody uses; table kept has one row."""
    yield shared
    embedded.stop(shared)


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder every account may enter and make, gone with its server at the test's end."""
    place = Path(tempfile.mkdtemp(prefix="fdry-", dir="/tmp"))
    place.chmod(0o777)
    try:
        yield place / "data"
    finally:
        for folder in [place / "data", *place.glob("*/")]:
            if folder.exists():
                embedded.stop(folder)
                drop_sockets(folder)
        shutil.rmtree(place)


@pytest.fixture
def small(data: Path) -> Iterator[Path]:
    """A data folder on a file system of 12 MB, where this process may mount one."""
    data.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m,mode=0755", "foundry-small", str(data)]
    if not ROOT or sys.platform != "linux":
        pytest.skip("only root can mount a small file system")
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine mounts no tmpfs for root")
    yield data
    embedded.stop(data)
    subprocess.run(["umount", str(data)], check=True)
