"""The application on a database with its tables: rolled back, or of the test's own."""

from threading import Thread

import pytest
from notes import book
from notes.models import Account, Note, NoteTag, Tag, db
from peewee import IntegrityError


@pytest.fixture
def ada(foundry_db):
    """An account."""
    return Account.create(email="ada@example.com")


def test_a_note_is_found_by_its_tag(ada):
    """As it was written."""
    book.write(ada, "milk", tags=["shop"])
    book.write(ada, "bread", tags=["shop", "home"])
    assert ["bread", "milk"] == book.tagged(ada, "shop")
    assert ["bread"] == book.tagged(ada, "home")


def test_a_note_that_fails_leaves_no_tag(ada):
    """The application's own transaction is undone, the test's goes on."""
    book.write(ada, "milk")
    with pytest.raises(IntegrityError):
        book.write(ada, "milk", tags=["shop"])
    with pytest.raises(IntegrityError):
        book.write(ada, "bread", tags=["shop", "x"])
    assert (1, 0) == (Note.select().count(), Tag.select().count())


def test_a_closed_account_leaves_nothing(ada):
    """But the tags that others use."""
    ben = Account.create(email="ben@example.com")
    book.write(ada, "milk", tags=["shop", "home"])
    book.write(ben, "tea", tags=["shop"])
    book.close_account(ada)
    assert ["tea"] == [note.title for note in Note]
    assert ["shop"] == [tag.name for tag in Tag]


@pytest.mark.parametrize("stars", [-1, 6])
def test_the_database_knows_how_many_stars_there_are(ada, stars):
    """It has the constraints of the migrations."""
    with pytest.raises(IntegrityError, match="note_stars_check"):
        book.write(ada, "milk", stars=stars)


@pytest.mark.parametrize("turn", [1, 2])
def test_rows_of_one_test_are_not_there_in_the_next(foundry_db, turn):
    """Nothing was committed."""
    assert 0 == Account.select().count() + NoteTag.select().count()
    Account.create(email="same@example.com")


def test_the_database_is_the_one_the_models_use(foundry_db):
    """Also by way of the application's proxy."""
    assert foundry_db is db.obj
    assert "UTC" == foundry_db.execute_sql("SHOW TimeZone").fetchone()[0]


@pytest.mark.foundry(commit=True)
def test_stars_of_two_threads_are_all_counted(ada):
    """Each thread has a connection, and sees what the other one committed."""
    note = book.write(ada, "milk")
    threads = [Thread(target=book.star, args=[note.id]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 4 == Note.get_by_id(note.id).stars


@pytest.mark.foundry(commit=True)
@pytest.mark.parametrize("turn", [1, 2])
def test_what_a_test_commits_stays_in_its_own_database(foundry_db, turn):
    """The next one has another."""
    assert 0 == Account.select().count()
    with foundry_db.atomic():
        Account.create(email="same@example.com")
