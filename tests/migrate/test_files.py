"""What a directory of files says of itself, before anything of it runs."""

from __future__ import annotations

import hashlib
import os
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


def test_a_directory_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A typing mistake must not look like nothing to do."""
    with pytest.raises(MigrationError, match=r'there is no folder ".*absent": make it'):
        read_directory(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(MigrationError, match="cannot be read: Not a directory"):
        read_directory(tmp_path / "file")


def test_a_python_file_of_another_name_is_refused(directory: Path) -> None:
    """It would never be applied; what begins with an underscore is the author's own."""
    table(directory, "0001_a", "a")
    (directory / "__init__.py").touch()
    (directory / "README.md").touch()
    assert 1 == len(read_directory(directory))
    (directory / "first.py").touch()
    with pytest.raises(MigrationError, match=r'"first.py" is not named NNNN_name\.py'):
        read_directory(directory)


def test_what_is_no_file_is_not_waited_for(directory: Path) -> None:
    """Reading a pipe would never end."""
    os.mkfifo(directory / "0001_a.py")
    with pytest.raises(MigrationError, match="not an ordinary file"):
        read_directory(directory)


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
        ('locks = (("a", "b"),)', '"locks" must be a tuple of triples of strings'),
        ('checks = ("a", "b")', '"checks" must be a tuple of pairs of strings'),
        ("group = 1", '"group" must be a string'),
        ("requires = {[]: 1}", '"requires" must be a literal'),
        ("atomc = False", 'did you mean "atomic"?'),
        ("loses = ()\nloses = ('x',)", '"loses" must be assigned once'),
        ("loses = ()\nloses += ('x',)", '"loses" must be assigned once'),
        ("atomic, loses = False, ('x',)", "must be assigned once"),
        ("if True:\n    atomic = False", '"atomic" must be assigned once'),
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


def test_a_head_may_be_annotated_and_a_function_may_use_the_word(directory: Path) -> None:
    """Only the top level is read."""
    path = write(directory, "0001_one", "SELECT 1", head="atomic: bool = False")
    path.write_text(path.read_text() + "\n\ndef other():\n    atomic = 1\n    return atomic\n")
    (file,) = read_directory(directory)
    assert file.head.atomic is False
