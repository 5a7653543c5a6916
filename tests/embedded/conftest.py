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

from processes import HERE, ROOT, Person, ask, drop_sockets, ordinary_person


@pytest.fixture
def myself() -> Iterator[Person]:
    """This account."""
    person = Person(python=sys.executable, path=str(HERE))
    yield person
    person.ends_all()


@pytest.fixture(params=["myself", "ordinary"])
def person(request: pytest.FixtureRequest) -> Iterator[Person]:
    """This account, then, when it is root, an ordinary one."""
    if request.param == "myself":
        found = Person(python=sys.executable, path=str(HERE))
    else:
        found = ordinary_person()
    yield found
    found.ends_all()


@pytest.fixture
def ordinary() -> Iterator[Person]:
    """An account that is not root's."""
    found = ordinary_person() if ROOT else Person(python=sys.executable, path=str(HERE))
    yield found
    found.ends_all()


@pytest.fixture(scope="session")
def seed() -> Iterator[Path]:
    """A cluster with one row, ended in order: copying it costs less than another initdb."""
    place = Path(tempfile.mkdtemp(prefix="fdry-", dir="/tmp"))
    place.chmod(0o755)
    server = embedded.acquire(place)
    ask(server.url(), "CREATE TABLE kept AS SELECT 7 AS number")
    embedded.stop(place)
    drop_sockets(place)
    yield server.cluster
    shutil.rmtree(place)


@pytest.fixture
def stopped(data: Path, seed: Path) -> Path:
    """A data folder with a cluster that nobody uses; table kept has one row."""
    data.mkdir()
    data.chmod(0o755)
    subprocess.run(["cp", "-a", seed, data / seed.name], check=True)
    return data


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
