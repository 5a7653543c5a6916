"""What is in the wheel and in the sdist, against the tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

pytest.importorskip("build", reason="tox installs it")
pytest.importorskip("setuptools", minversion="77", reason="tox installs it")

ROOT = Path(__file__).parents[2]
ROOMS = {"foundry": "foundry", "schema": "foundry/schema", "fixtures": "foundry/fixtures"}
LINKS = {"foundry/schema", "foundry/fixtures"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own files: a copy of the checkout without what git ignores."""
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text("utf-8").split()]
    copy = tmp_path_factory.mktemp("tree") / "project"
    ignore = shutil.ignore_patterns(".git", *ignored)
    return Path(shutil.copytree(ROOT, copy, symlinks=True, ignore=ignore))


@pytest.fixture(scope="module")
def built(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was made from it."""
    # From a copy of its own: building leaves files behind.
    source = shutil.copytree(tree, tmp_path_factory.mktemp("source") / "project", symlinks=True)
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source), cwd=out)
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    """The wheel."""
    (path,) = built.glob("*.whl")
    return path


def run(*command: str, cwd: Path, **variables: str) -> str:
    """The output of a program that must succeed."""
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def files(folder: Path) -> set[str]:
    """The regular files below a folder, relative to it; links are not followed."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
        if not LINKS & set(map(str, path.relative_to(folder).parents))
    }


def test_the_wheel_holds_every_file_of_the_three_rooms_and_no_other(
    tree: Path, wheel: Path
) -> None:
    """A sub-package or a kind of data file that setup.cfg does not list is missed here."""
    rooms = {name: name.partition("/") for name in files(tree)}
    expected = {
        f"{ROOMS[room]}/{rest}" for room, _, rest in rooms.values() if room in ROOMS and rest
    }
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    assert expected == {name for name in names if ".dist-info/" not in name}


def test_the_wheel_claims_one_name(wheel: Path) -> None:
    """Packages called schema and fixtures exist; they would overwrite each other."""
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        (top,) = (name for name in names if name.endswith(".dist-info/top_level.txt"))
        assert "foundry" == archive.read(top).decode().strip()
    info = top.partition("/")[0]
    assert {"foundry", info} == {name.partition("/")[0] for name in names}


def test_the_sdist_holds_the_tree_as_it_is(tree: Path, built: Path) -> None:
    """schema/ and fixtures/ stay folders at the top; tests, docker and docs come along."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = [member.name for member in archive if member.isfile()]
    names = {name.partition("/")[2] for name in members}
    made = {name for name in names if name.startswith("cerina_foundry.egg-info/")}
    assert files(tree) == names - made - {"PKG-INFO"}


def test_the_installed_wheel_runs_anywhere(wheel: Path, tmp_path: Path) -> None:
    """Every room imports from the wheel, with the checkout out of sight."""
    site = tmp_path / "site"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    run(*pip, "--no-compile", "--target", str(site), str(wheel), cwd=tmp_path)
    program = "import foundry, foundry.schema as s, foundry.fixtures as f\nprint(s.__file__)"
    shown = run(sys.executable, "-c", program, cwd=tmp_path, PYTHONPATH=str(site))
    assert site / "foundry" / "schema" / "__init__.py" == Path(shown.strip())


@pytest.mark.skipif((ROOT / "PKG-INFO").exists(), reason="an sdist has no links")
@pytest.mark.parametrize(
    ("link", "target"), [("foundry/schema", "../schema"), ("foundry/fixtures", "../fixtures")]
)
def test_a_checkout_runs_uninstalled_because_of_two_links(link: str, target: str) -> None:
    """Python and the type checkers find foundry.schema and foundry.fixtures through them."""
    assert target == os.readlink(ROOT / link)
