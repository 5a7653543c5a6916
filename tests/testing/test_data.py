"""The packaged conversations and protocols are values, and rows after one call."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from foundry.database import Database, proxy
from foundry.embedder import HashingEmbedder
from foundry.errors import InvalidValue
from foundry.fixtures.data import load, samples
from foundry.samples import read, store
from foundry.schema import ChainAnalysisResult, Message, Protocol, SafetyLog, Session
from foundry.schema.base import has_column


def test_loading_stores_every_sample_and_returns_the_ids(database: Database) -> None:
    """Each id is that of a row, and the rows are complete."""
    loaded = load(database)
    assert (7, 3) == (len(loaded.sessions), len(loaded.protocols))
    assert set(loaded.sessions.values()) == {s.id for s in Session.select()}
    assert set(loaded.protocols.values()) == {p.id for p in Protocol.select()}
    assert (202, 7, 7) == (
        Message.select().count(),
        ChainAnalysisResult.select().count(),
        SafetyLog.select().count(),
    )


def test_loading_again_adds_no_rows_and_keeps_the_ids(database: Database) -> None:
    """A test suite may load into a database that has them."""
    first = load(database)
    assert first == load(database)
    assert 202 == Message.select().count()


def test_several_may_load_at_once(database: Database) -> None:
    """They take turns; otherwise each would find the samples missing and store them."""
    chosen = read(languages=["de"])

    def run(_: int) -> None:
        with database.connection_context():
            store(database, chosen)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(run, range(6)))
    assert len(chosen.conversations) == Session.select().count()


def test_languages_choose_the_samples(database: Database) -> None:
    """Only those are stored."""
    loaded = load(database, languages=["ja", "es"])
    assert {"ja_late_night_shopping", "es_gritos_en_la_cocina"} == set(loaded.sessions)
    assert {"protocol_es_salud_awaiting"} == set(loaded.protocols)
    assert 2 == Session.select().count()


def test_an_unknown_language_is_refused_and_nothing_is_stored(database: Database) -> None:
    """The message names those there are."""
    with pytest.raises(InvalidValue, match='"xx": there are ar, de, en, es, hi, ja'):
        load(database, languages=["de", "xx"])
    assert 0 == Session.select().count()


def test_messages_get_the_embeddings_of_the_callable(database: Database) -> None:
    """Without one, and without pgvector, they have none."""
    calls: list[int] = []

    def embed(texts: object) -> list[list[float]]:
        calls.append(1)
        return HashingEmbedder().embed(texts)  # type: ignore[arg-type]

    load(database, languages=["ar"], embed=embed)
    if has_column(database, Message.embedding):
        assert 0 == Message.select().where(Message.embedding.is_null()).count()
        assert [1] == calls
        load(database, languages=["ar"])
        assert 0 == Message.select().where(Message.embedding.is_null(False)).count()
    else:
        assert [] == calls


def test_loading_works_on_a_database_the_models_are_not_bound_to(database: Database) -> None:
    """They are bound to it while it loads, and no longer."""
    before = proxy.obj
    proxy.initialize(None)
    try:
        load(database, languages=["hi"])
    finally:
        proxy.initialize(before)
    assert 1 == Session.select().count()
    assert Session._meta.database is proxy


def test_samples_are_frozen_values_in_order() -> None:
    """They can be compared, and read without a database."""
    read = samples()
    names = [c.name for c in read.conversations]
    assert sorted(names) == names
    assert read == samples()
    assert samples(languages="de").conversations == tuple(
        c for c in read.conversations if c.language == "de"
    )
    with pytest.raises(AttributeError):
        read.conversations[0].messages[0].role = "user"  # type: ignore[misc]
