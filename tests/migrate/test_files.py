"""What a directory of files says of itself, before anything of it runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from support.migrations import table, write

from foundry.errors import HistoryConflict, MigrationError
from foundry.migrate.files import read_directory


def test_files_come_in_the_order_of_their_numbers(directory: Path) -> None:
    """10 comes after 9, whatever the text says."""
    for name in ("10_ten", "9_nine", "0001_one"):
        table(directory, name, "t")
    assert ["0001_one", "9_nine", "10_ten"] == [f.name for f in read_directory(directory)]


def test_a_directory_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    """Nothing to apply is no error."""
    assert () == read_directory(tmp_path / "absent")


def test_the_digest_is_the_sha256_of_the_bytes(directory: Path) -> None:
    """Anybody can check it with sha256sum."""
    path = table(directory, "0001_one", "t")
    (file,) = read_directory(directory)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == file.digest


def test_heads_are_read_without_running_the_file(directory: Path) -> None:
    """A file that would end the process on import still tells its head."""
    head = 'atomic = False\nrequires = ("extension:vector",)\nloses = ("column a.b",)\n'
    write(directory, "0001_one", "SELECT 1", head=head + "raise SystemExit")
    (file,) = read_directory(directory)
    assert (False, ("extension:vector",), ("column a.b",)) == (
        file.head.atomic,
        file.head.requires,
        file.head.loses,
    )


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("atomic = bool(0)", '"atomic" must be a literal'),
        ("atomic = 0", '"atomic" must be True or False'),
        ('requires = "extension:vector"', '"requires" must be a tuple of strings'),
        ('requires = ("vector",)', "extension:NAME"),
        ("loses = (1,)", '"loses" must be a tuple of strings'),
    ],
)
def test_a_head_that_is_no_such_literal_is_refused(directory: Path, head: str, said: str) -> None:
    """The message names the file and what is wrong with it."""
    write(directory, "0001_one", "SELECT 1", head=head)
    with pytest.raises(MigrationError, match="0001_one") as caught:
        read_directory(directory)
    assert said in str(caught.value)


def test_two_files_of_one_number_are_refused(directory: Path) -> None:
    """Which of them comes first nobody can say."""
    table(directory, "0002_a", "a")
    table(directory, "0002_b", "b")
    with pytest.raises(HistoryConflict, match='"0002_a" and "0002_b" have the same number'):
        read_directory(directory)


def test_a_file_that_is_not_python_is_named_with_its_line(directory: Path) -> None:
    """A syntax error is one line."""
    (directory / "0001_one.py").write_text("x = 1\ndef up(:\n")
    with pytest.raises(MigrationError, match=r'"0001_one.py" is not valid Python at line 2'):
        read_directory(directory)
