"""The application on rows that Hypothesis makes of its models."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from notes import book
from notes.models import Account, Note, NoteTag, NoteVector, Tag

from foundry.fixtures.strategies import (
    each_example,
    from_model,
    jsonb,
    rows,
    save,
    save_all,
    vectors,
)

# The fixture is one for all examples; each_example undoes what each of them wrote.
examples = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@examples
@given(note=from_model(Note))
def test_every_note_comes_back_as_it_was_stored(foundry_db, note):
    """Its account too, which is stored first."""
    with each_example(foundry_db):
        save(note)
        kept = Note.get_by_id(note.id)
        assert note.__data__ == kept.__data__
        assert note.account.__data__ == kept.account.__data__
        assert 0 <= kept.stars <= 5


@examples
@given(links=rows(NoteTag, min_size=1))
def test_no_account_leaves_a_tag_that_nobody_uses(foundry_db, links):
    """Whatever was tagged, by whomever."""
    with each_example(foundry_db):
        save_all(links)
        book.close_account(links[0].note.account)
        used = {link.tag_id for link in NoteTag.select()}
        assert used == {tag.id for tag in Tag}


@examples
@given(accounts=rows(Account, min_size=2, plan="paid"))
def test_rows_of_one_example_differ_where_they_must(foundry_db, accounts):
    """And have what the test says."""
    with each_example(foundry_db):
        save_all(accounts)
        emails = [account.email for account in Account]
        assert sorted(emails) == sorted({account.email for account in accounts})
        assert {"paid"} == {account.plan for account in Account}


@examples
@given(details=jsonb(), title=st.from_regex(r"[a-z]{1,80}", fullmatch=True))
def test_details_may_be_any_json(foundry_db, details, title):
    """Of whatever depth."""
    with each_example(foundry_db):
        account = Account.create(email="ada@example.com")
        note = book.write(account, title, details=details)
        assert details == Note.get_by_id(note.id).details


@examples
@given(places=st.lists(vectors(3), min_size=1, max_size=5))
def test_the_nearest_note_to_its_place_is_itself(foundry_db, places):
    """Or one at the same place."""
    if not foundry_db.table_exists("notevector"):
        pytest.skip("this server has no pgvector")
    with each_example(foundry_db):
        account = Account.create(email="ada@example.com")
        for number, place in enumerate(places):
            NoteVector.create(note=book.write(account, f"{number}"), place=place)
        found = book.nearest(places[0])
        assert places[0] == list(NoteVector.get_by_id(found.id).place)


def test_the_examples_left_nothing(foundry_db):
    """Neither do they see each other, nor does this test see them."""
    assert 0 == Account.select().count() + Tag.select().count()
