"""Search: as many messages as there are, the nearest ones, whatever is filtered by."""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import crowd
from support.crowd import BEGIN, FAR, FEW, NEAR, ROLES, Said, embedding, nearest, told
from support.server import Server
from support.sessions import ran, session
from support.transports import Looped, search

from foundry.database import Database, connect
from foundry.errors import InvalidValue, StoreError
from foundry.maintaining import lines
from foundry.schema import Message
from foundry.schema.base import has_column
from foundry.store import blocking, choosing, fusing, maintenance, recent, searching, vectors
from foundry.store.choosing import ByIndex, Facts
from foundry.store.filters import Where, where
from foundry.store.operations import Query, Statement
from foundry.store.tuning import Tuning, commented, parsed

ROWS = 12_000
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
HALF = BEGIN + timedelta(minutes=ROWS // 2)
QUERY = [2.0, *([0.1] * 11), *([0.0] * 372)]
_INDEX = "idx_messages_embedding"


class Place:
    """A database, its messages, and whether its index is measured."""

    def __init__(self, database: Database | Looped, said: list[Said]) -> None:
        self.database = database
        self.said = said


def places(server: Server, rows: int, transport: str, *, measured: bool) -> Iterator[Place]:
    """A database of so many messages."""
    name = server.clone()
    pool = connect(server.url(name), bind=False, pool_size=4)
    try:
        with pool.connection_context():
            if not has_column(pool, Message.embedding):
                pytest.skip("this server has no pgvector")
            said = told(pool, rows)
            if measured:
                maintenance.maintain(pool)
            if transport == "psycopg2":
                yield Place(pool, said)
            else:
                looped = Looped(server.url(name), pool_size=2)
                with looped.connection_context():
                    yield Place(looped, said)
                looped.close_all()
    finally:
        pool.close_all()
        server.drop(name)


@pytest.fixture(scope="module", params=["psycopg2", "asyncpg"])
def exact(request: pytest.FixtureRequest, server: Server) -> Iterator[Place]:
    """A small one whose index nobody has measured."""
    yield from places(server, 600, request.param, measured=False)


@pytest.fixture(scope="module", params=["psycopg2", "asyncpg"])
def large(request: pytest.FixtureRequest, server: Server) -> Iterator[Place]:
    """One that is large enough for its index to be used."""
    yield from places(server, ROWS, request.param, measured=True)


@pytest.fixture
def own(server: Server) -> Iterator[Place]:
    """A large one of the test's own."""
    yield from places(server, ROWS, "psycopg2", measured=True)


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[ByIndex | None]:
    """The ways that are chosen, in their order: by the index, where it was measured deep enough.

    Otherwise it depends on what the last training came to whether all rows cost less.
    """
    monkeypatch.setattr(choosing, "_EXACT", 1e6)
    seen: list[ByIndex | None] = []

    def chosen(*args: Any, **kwargs: Any) -> ByIndex | None:
        seen.append(choosing.choose(*args, **kwargs))
        return seen[-1]

    monkeypatch.setattr(searching, "choose", chosen)
    monkeypatch.setattr(fusing, "choose", chosen)
    return seen


def filters(said: list[Said]) -> st.SearchStrategy[dict[str, Any]]:
    """Any filters, of what is there mostly."""
    moments = st.integers(-1, len(said) + 1).map(lambda at: BEGIN + timedelta(minutes=at))
    return st.fixed_dictionaries(
        {},
        optional={
            "user": st.sampled_from([NEAR, FAR, FEW]),
            "session": st.sampled_from(said).map(lambda one: one.session),
            "role": st.sampled_from(ROLES),
            "since": moments,
            "until": moments,
        },
    ).filter(lambda drawn: not {"since", "until"} <= {*drawn} or drawn["since"] < drawn["until"])


@SHARED
@given(data=st.data(), limit=st.integers(1, 700), seed=st.integers(0, 99))
def test_what_is_found_is_what_python_finds(
    exact: Place, data: st.DataObject, limit: int, seed: int
) -> None:
    """The same messages in the same order, with their distances, under any filters."""
    given = data.draw(filters(exact.said))
    query = embedding(random.Random(seed), 1.0 if seed % 2 else -1.0)
    found = search.near(exact.database, query, limit, **given)
    known = {one.id: one for one in crowd.kept(exact.said, **given)}
    assert len(found) == len({one.id for one in found})
    for one in found:
        said = known[one.id]
        seen = (one.session, one.role, one.ts, one.content)
        assert (said.session, said.role, said.ts, said.content) == seen
    # The server reckons in single precision: what is as far to the fifth decimal may change places.
    wanted = [
        crowd.cosine(one.embedding, query) for one in nearest(exact.said, query, limit, **given)
    ]
    assert pytest.approx(wanted, abs=1e-5) == [one.distance for one in found]
    own = [crowd.cosine(known[one.id].embedding, query) for one in found]
    assert pytest.approx(wanted, abs=1e-5) == own
    assert sorted(found, key=lambda one: (one.distance, one.id)) == list(found)


def test_a_message_without_an_embedding_is_not_near(exact: Place) -> None:
    """However few others there are."""
    database = exact.database
    with database.atomic() as transaction:
        database.execute_sql("UPDATE messages SET embedding = NULL WHERE id = 3")
        found = search.near(database, QUERY, user=FEW)
        fused = search.hybrid(database, "nowhere", QUERY, user=FEW)
        transaction.rollback()
    assert {1, 2, 4, 5, 6, 7} == {one.id for one in found} == {one.id for one in fused}


@SHARED
@given(data=st.data(), limit=st.integers(1, 50), seed=st.integers(0, 99))
def test_by_an_index_no_row_is_missing(
    large: Place, data: st.DataObject, limit: int, seed: int
) -> None:
    """Never fewer rows than there are, and none that the filter leaves out."""
    given = data.draw(filters(large.said))
    query = embedding(random.Random(seed), 1.0 if seed % 2 else -1.0)
    found = search.near(large.database, query, limit, **given)
    left = {one.id for one in crowd.kept(large.said, **given)}
    assert min(limit, len(left)) == len({one.id for one in found} & left) == len(found)
    assert sorted(one.distance for one in found) == [one.distance for one in found]


@pytest.mark.parametrize(
    "given",
    [{}, {"role": "user"}, {"since": BEGIN + timedelta(minutes=ROWS // 4)}],
    ids=str,
)
def test_the_index_is_used_and_its_recall_is_what_was_measured(
    large: Place, ways: list[ByIndex | None], given: dict[str, Any]
) -> None:
    """Where the filter leaves much."""
    shares = []
    for seed in range(20):
        query = embedding(random.Random(seed), 1.0)
        found = {one.id for one in search.near(large.database, query, **given)}
        shares.append(len(found & {one.id for one in nearest(large.said, query, 10, **given)}))
    assert 0.97 <= sum(shares) / 200
    assert ways[0] is not None


def test_a_filter_whose_messages_are_elsewhere_loses_none(
    large: Place, ways: list[ByIndex | None]
) -> None:
    """It leaves half of all messages, and none of those is near: the index gives none."""
    found = search.near(large.database, QUERY, since=HALF)
    wanted = nearest(large.said, QUERY, 10, since=HALF)
    assert [one.id for one in wanted] == [one.id for one in found]
    assert ways[0] is not None


def test_a_filter_that_leaves_little_does_not_ask_the_index(
    large: Place, ways: list[ByIndex | None]
) -> None:
    """In vain, that would be; the planner knows of it beforehand."""
    given: tuple[dict[str, Any], ...] = (
        {"since": BEGIN + timedelta(minutes=ROWS * 0.995)},
        {"role": "tool", "until": BEGIN + timedelta(minutes=ROWS // 6)},
    )
    for one in given:
        found = search.near(large.database, QUERY, **one)
        assert [said.id for said in nearest(large.said, QUERY, 10, **one)] == [m.id for m in found]
    assert [None, None] == ways


@pytest.mark.parametrize("large", ["psycopg2"], indirect=True)
def test_how_much_a_filter_leaves_is_known_about(large: Place) -> None:
    """Of roles and times from statistics, of users from some of their sessions."""
    cases: tuple[tuple[dict[str, Any], float], ...] = (
        ({"role": "user"}, 0.9),
        ({"until": HALF}, 0.5),
        ({"role": "user", "until": HALF}, 0.45),
        ({"user": NEAR}, 0.5),
        ({"user": NEAR, "role": "user"}, 0.45),
        ({"user": NEAR, "role": "user", "since": HALF}, 0.225),
    )
    none = dict.fromkeys(("session", "role", "since", "until", "user"))
    for some, wanted in cases:
        facts = blocking.run(large.database, searching.looked(where("near", **{**none, **some})))
        assert pytest.approx(wanted, rel=0.15) == facts.share, some
        of_user = pytest.approx(ROWS / 2, rel=0.15) if "user" in some else None
        assert of_user == facts.left, some


@pytest.mark.parametrize("exact", ["psycopg2"], indirect=True)
@pytest.mark.parametrize("given", [{"role": "user"}, {"user": NEAR}], ids=str)
def test_what_has_no_embedding_makes_no_filter_leave_less(
    exact: Place, given: dict[str, Any]
) -> None:
    """The index has none of it either: the same share of what it gives is kept."""
    kept = where(
        "near", **{**dict.fromkeys(("session", "role", "since", "until", "user")), **given}
    )
    before = blocking.run(exact.database, searching.looked(kept)).share
    with exact.database.atomic() as transaction:
        exact.database.execute_sql("UPDATE messages SET embedding = NULL WHERE mod(id, 10) > 0")
        exact.database.execute_sql("ANALYZE messages")
        after = blocking.run(exact.database, searching.looked(kept)).share
        transaction.rollback()
    assert pytest.approx(before, rel=0.15) == after


@pytest.mark.parametrize("exact", ["psycopg2"], indirect=True)
def test_a_user_of_a_long_session_may_have_half_of_all_messages(exact: Place) -> None:
    """The session is not counted to its end, and the index is asked first."""
    kept = where("near", user=NEAR, session=None, role=None, since=None, until=None)
    with exact.database.atomic() as transaction:
        exact.database.execute_sql(
            "INSERT INTO messages (session_id, role, content)"
            " SELECT s.id, 'user', 'x' FROM generate_series(0, %s),"
            " (SELECT id FROM sessions WHERE user_id = %s LIMIT 1) AS s",
            (searching.FEW, NEAR),
        )
        facts = blocking.run(exact.database, searching.looked(kept))
        transaction.rollback()
    assert (0.5, None) == (facts.share, facts.left)


def test_few_messages_of_a_session_or_user_are_found_by_one_statement(
    large: Place, ways: list[ByIndex | None]
) -> None:
    """Nothing has to be chosen."""
    assert 7 == len(search.near(large.database, QUERY, 10, user=FEW))
    assert 7 == len(search.near(large.database, QUERY, 10, session=large.said[0].session))
    assert [] == search.near(large.database, QUERY, 10, user=crowd.UUID(int=0))
    assert [] == ways


SETTINGS = "SELECT current_setting('enable_sort'), current_setting('ivfflat.probes', true)"


def test_no_setting_is_left_behind(large: Place, ways: list[ByIndex | None]) -> None:
    """Not in the session, and not in a transaction of the caller's, who may have set them too."""
    database = large.database
    search.near(database, QUERY)
    before = database.execute_sql(SETTINGS).fetchone()
    assert "on" == before[0]
    with database.atomic():
        database.execute_sql("SET LOCAL ivfflat.probes = 3")
        search.near(database, QUERY)
        assert ("on", "3") == database.execute_sql(SETTINGS).fetchone()
    assert before == database.execute_sql(SETTINGS).fetchone()
    assert all(isinstance(way, ByIndex) for way in ways)
    assert 2 == len(ways)


def test_a_transaction_finds_what_it_has_written(large: Place) -> None:
    """And what it wrote is there after a search, which rolls back what it has set."""
    with large.database.atomic() as transaction:
        large.database.execute_sql(
            "INSERT INTO messages (session_id, role, content, embedding)"
            " SELECT session_id, 'tool', 'written now', %s FROM messages LIMIT 1",
            (str(QUERY),),
        )
        assert "written now" == search.near(large.database, QUERY, 1)[0].content
        assert "written now" == search.near(large.database, QUERY, 1, role="tool")[0].content
        transaction.rollback()


BAD: tuple[tuple[dict[str, Any], str], ...] = (
    ({"embedding": [1.0] * 383}, "near.embedding: 383 numbers, not 384"),
    ({"embedding": [0.0] * 384}, "near.embedding: zero, which has no direction"),
    ({"embedding": [float("nan")] * 384}, "near.embedding[0]: NaN"),
    ({"limit": 0}, "near.limit: not from 1 to"),
    ({"limit": True}, "near.limit: expected int, got bool"),
    ({"user": "me"}, "near.user: not a UUID"),
    ({"session": 5}, "near.session: expected UUID, got int"),
    ({"role": "robot"}, "near.role: not one of"),
    ({"since": datetime(2026, 1, 1)}, "near.since: a datetime without"),
    ({"since": BEGIN, "until": BEGIN}, "near.until: not after near.since"),
)


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_a_bad_value_is_refused_before_any_sql(
    exact: Place, bad: dict[str, Any], message: str
) -> None:
    """An open transaction goes on."""
    with exact.database.atomic():
        with pytest.raises(InvalidValue) as refused:
            search.near(exact.database, **{"embedding": QUERY, **bad})
        assert 1 == len(search.near(exact.database, QUERY, 1))
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_length_of_what_is_sought_does_not_matter(exact: Place, scale: float) -> None:
    """The server squares it in single precision, where it would be zero or infinite."""
    query = embedding(random.Random(1), 1.0)
    wanted = search.near(exact.database, query, 20)
    found = search.near(exact.database, [number * scale for number in query], 20)
    assert [one.id for one in wanted] == [one.id for one in found]


@pytest.mark.parametrize("sign", [-1, 1])
def test_one_number_may_be_far_larger_than_the_others(exact: Place, sign: int) -> None:
    """It is the direction then."""
    query = [sign * 1e25, *([1.0] * 383)]
    wanted = nearest(exact.said, [float(sign), *([0.0] * 383)], 20)
    found = search.near(exact.database, query, 20)
    assert [one.id for one in wanted] == [one.id for one in found]


def fused(said: list[Said], query: list[float], word: str, limit: int, **given: Any) -> list[Any]:
    """Reciprocal rank fusion in Python; every message has a word once, so words rank by id."""
    depth = max(50, 4 * limit)
    near = [one.id for one in nearest(said, query, depth, **given)]
    return fused_with(near, said, word, limit, **given)


def fused_with(near: list[int], said: list[Said], word: str, limit: int, **given: Any) -> list[Any]:
    """The same of messages that are taken for the nearest."""
    depth = max(50, 4 * limit)
    fits = [one.id for one in crowd.kept(said, **given) if word in one.content.split()]
    fits = sorted(fits, reverse=True)[:depth]
    scores: dict[int, float] = {}
    for ranking in (near, fits):
        for place, id in enumerate(ranking, 1):
            scores[id] = scores.get(id, 0) + 1 / (60 + place)
    return sorted(scores.items(), key=lambda one: (-one[1], one[0]))[:limit]


@SHARED
@given(
    data=st.data(),
    limit=st.integers(1, 40),
    seed=st.integers(0, 99),
    word=st.sampled_from(["sleep", "worry", "day", "missing"]),
)
def test_both_rankings_are_fused(
    exact: Place, data: st.DataObject, limit: int, seed: int, word: str
) -> None:
    """As Python fuses them, under any filters."""
    given = data.draw(filters(exact.said))
    query = embedding(random.Random(seed), 1.0)
    found = search.hybrid(exact.database, word, query, limit, **given)
    wanted = fused(exact.said, query, word, limit, **given)
    assert [id for id, _ in wanted] == [one.id for one in found]
    assert pytest.approx([score for _, score in wanted]) == [one.score for one in found]


def test_hybrid_search_uses_the_index_and_finds_the_same(
    large: Place, ways: list[ByIndex | None]
) -> None:
    """With its transaction, and without when the index gives too few."""
    found = search.hybrid(large.database, "worry", QUERY, 10, role="user")
    assert isinstance(ways[0], ByIndex)
    near = [one.id for one in search.near(large.database, QUERY, 50, role="user")]
    assert ways[0] == ways[1]
    # One that the index does not find moves those behind it: what counts are the fifty.
    exactly = {one.id for one in nearest(large.said, QUERY, 50, role="user")}
    assert 9 * 5 <= len(exactly & {*near})
    wanted = fused_with(near, large.said, "worry", 10, role="user")
    assert [id for id, _ in wanted] == [one.id for one in found]
    far = search.hybrid(large.database, "worry", QUERY, 10, since=HALF)
    wanted = fused(large.said, QUERY, "worry", 10, since=HALF)
    assert [id for id, _ in wanted] == [one.id for one in far]


def test_the_configuration_of_text_search_is_a_parameter(exact: Place) -> None:
    """It is part of the statement, so nothing but a name is one."""
    sought = search.hybrid(exact.database, "sleeping -day", QUERY, configuration="english")
    assert any(one.rank for one in sought)
    assert not any(one.rank for one in search.hybrid(exact.database, "sleeping", QUERY))
    for bad in ("x' OR true --", "", "Simple", "klingon"):
        with pytest.raises(InvalidValue, match=r"^hybrid\.configuration: "):
            search.hybrid(exact.database, "x", QUERY, configuration=bad)
    with pytest.raises(InvalidValue, match=r"^hybrid\.words: U\+0000 at 1$"):
        search.hybrid(exact.database, "x\0", QUERY)


def test_words_that_are_too_many_for_the_server_are_refused_and_not_shown(exact: Place) -> None:
    """It quotes them all, which are what a person said: not in the message, not behind it."""
    words = " ".join(f"canary{number}" for number in range(200_000))
    with pytest.raises(InvalidValue) as caught:
        search.hybrid(exact.database, words, QUERY)
    told = "".join(traceback.format_exception(caught.value))
    assert "hybrid.words: more than PostgreSQL searches for; use fewer" == str(caught.value)
    assert "canary1 " not in told


def test_a_message_of_any_length_can_be_searched(exact: Place) -> None:
    """A tsvector ends at 1 MB."""
    long = " ".join(f"w{number}" for number in range(300_000))
    with exact.database.atomic() as transaction:
        exact.database.execute_sql(
            "INSERT INTO messages (session_id, role, content)"
            " SELECT session_id, 'tool', %s FROM messages LIMIT 1",
            (long,),
        )
        assert any(one.rank for one in search.hybrid(exact.database, "w99", QUERY, role="tool"))
        transaction.rollback()


TUNED = Tuning(recall=0.99, rows=100_000, table=7, lists=100, effort={10: 10, 100: 20})
FACTS = Facts("ivfflat", False, 100, commented(None, TUNED), 7, 100_000.0, share=0.5)


def chosen(facts: Facts, *, filtered: bool = True, indexed: bool = True) -> ByIndex | None:
    """How ten would be looked for."""
    return choosing.choose(facts, 10, filtered=filtered, indexed=indexed)


def test_the_fewer_a_filter_leaves_the_deeper_the_index_is_asked() -> None:
    """Until going through what the filter leaves costs less."""
    assert ByIndex("ivfflat.probes", 10, 10, False) == chosen(FACTS, filtered=False)
    assert ByIndex("ivfflat.probes", 20, 100, False) == chosen(FACTS)
    assert None is chosen(FACTS._replace(share=0.12))
    assert None is chosen(FACTS._replace(share=0.0))
    assert isinstance(chosen(FACTS._replace(share=0.2), indexed=False), ByIndex)


def test_an_index_that_was_not_measured_is_not_used() -> None:
    """Nobody knows what it finds."""
    for comment in (None, "", "of the vectors", "foundry search: {}", "foundry search: {nonsense}"):
        assert None is chosen(FACTS._replace(comment=comment), filtered=False)
    assert None is chosen(FACTS._replace(method=None), filtered=False)


def test_what_was_measured_of_a_table_that_was_emptied_is_not_used() -> None:
    """Other rows may be in it by now."""
    assert None is chosen(FACTS._replace(table=8), filtered=False)
    assert None is chosen(FACTS._replace(table=None), filtered=False)


def test_what_was_measured_of_other_lists_is_not_used() -> None:
    """Somebody else has built the index anew; only maintenance knows what is good for both."""
    assert None is chosen(FACTS._replace(lists=FACTS.lists * 2), filtered=False)
    training = commented(None, TUNED.before(FACTS.lists * 2))
    both = FACTS._replace(comment=training)
    assert None is not chosen(both, filtered=False)
    assert None is not chosen(both._replace(lists=FACTS.lists * 2), filtered=False)


def test_what_the_index_gave_says_how_much_deeper_to_ask() -> None:
    """Of thirty it kept ten less than a filter that leaves half would."""
    tuned = replace(TUNED, effort={30: 10, 60: 20, 150: 30})
    facts = FACTS._replace(comment=commented(None, tuned))
    way = chosen(facts)
    assert ByIndex("ivfflat.probes", 10, 30, False) == way
    assert way is not None
    kept = Where(("role",), ("user",))
    assert ByIndex("ivfflat.probes", 20, 60, False) == searching.deeper(facts, way, 10, 8, kept)
    assert ByIndex("ivfflat.probes", 30, 150, False) == searching.deeper(facts, way, 10, 3, kept)
    assert None is searching.deeper(facts, way, 10, 0, kept)


def test_what_costs_least_of_what_is_deep_enough_is_taken() -> None:
    """What was measured may say that more of the nearest take less."""
    tuned = replace(TUNED, effort={10: 10, 30: 40, 40: 20, 50: 30})
    facts = FACTS._replace(comment=commented(None, tuned))
    assert ByIndex("ivfflat.probes", 20, 40, False) == chosen(facts)


def test_the_deepest_is_tried_where_it_will_nearly_do() -> None:
    """All distances cost a hundred times as much."""
    tuned = replace(TUNED, effort={10: 2, 28: 2})
    facts = FACTS._replace(comment=commented(None, tuned))
    assert ByIndex("ivfflat.probes", 2, 28, False) == chosen(facts)
    assert ByIndex("ivfflat.probes", 2, 28, False) == chosen(facts._replace(share=0.36))
    assert None is chosen(facts._replace(share=0.35))
    assert None is chosen(facts._replace(comment=commented(None, replace(TUNED, effort={}))))


def test_a_search_that_comes_no_further_ends() -> None:
    """Whatever the comment of the index says of an effort."""
    strange = commented(None, replace(TUNED, lists=None, effort={10: 1, 1000: 1}))
    facts = FACTS._replace(method="hnsw", comment=strange)
    way = chosen(facts)
    assert way is not None
    assert 1 == way.depth
    assert None is searching.deeper(facts, way, 10, 1, Where(("role",), ("user",)))


@pytest.mark.parametrize("large", ["psycopg2"], indirect=True)
def test_the_index_is_used_however_much_it_is_asked_for(large: Place) -> None:
    """A plan that sorts all messages is cheaper to the planner's mind, and one without is costly
    enough to be compiled."""
    database = large.database
    statement = searching._statements(("role",)).index
    args = (vectors.vector(QUERY, "query"), 10, "user", ROWS // 2)
    with database.atomic() as transaction:
        database.execute_sql(searching._SET.pyformat, ("ivfflat.probes", "12", *[None] * 3))
        plan = database.execute_sql(
            "EXPLAIN " + statement.pyformat, statement.arranged(args)
        ).fetchall()
        transaction.rollback()
    text = "\n".join(line for (line,) in plan)
    assert "Index Scan using idx_messages_embedding" in text
    assert "JIT" not in text


@pytest.mark.parametrize("effort", ["0", "-1", "32769", "Infinity", "1e999"])
def test_a_comment_that_no_server_would_take_is_none(effort: str) -> None:
    """Whoever owns the index may write anything there, and search goes on exactly."""
    comment = commented(None, TUNED).replace('"10": 10', f'"10": {effort}')
    assert effort in comment
    assert None is parsed(comment)


def test_what_else_the_comment_of_an_index_says_is_kept() -> None:
    """And only the last tuning counts."""
    once = commented("of the vectors", TUNED)
    assert TUNED == parsed(once)
    other = TUNED.before(300)
    assert (300, True, {10: 30, 100: 60}) == (other.lists, other.training, other.effort)
    twice = commented(once, other)
    assert other == parsed(twice)
    assert "of the vectors" == twice.partition("\n")[0]
    assert 1 == twice.count("foundry search")


_OTHER = (
    "CREATE INDEX other_index ON messages USING ivfflat (embedding vector_cosine_ops)"
    " WITH (lists = 40)"
)


def test_an_index_that_took_the_place_of_another_is_not_used(
    own: Place, ways: list[ByIndex | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even by a connection that heard of the other one a moment ago."""
    search.near(own.database, QUERY)
    assert ways.pop() is not None
    monkeypatch.setattr(recent, "SECONDS", 3600)
    search.near(own.database, QUERY)
    with session(own.database.target) as other:
        for statement in ("BEGIN", f"DROP INDEX {_INDEX}", _OTHER, "COMMIT"):
            ran(other, statement)
    asked: list[Statement] = []
    queried = blocking._queried

    def noted(cursor: Any, query: Query) -> list[tuple[Any, ...]]:
        asked.append(query.statement)
        return queried(cursor, query)

    monkeypatch.setattr(blocking, "_queried", noted)
    assert 10 == len(search.near(own.database, QUERY))
    assert ways.pop() is not None
    assert searching._statements(()).exact is asked[-1]
    assert searching._statements(()).index not in asked


def test_of_two_indexes_none_is_used(own: Place, ways: list[ByIndex | None]) -> None:
    """Which of them a search would get is the planner's choice, and one is not measured."""
    with session(own.database.target) as other:
        ran(other, _OTHER)
    search.near(own.database, QUERY)
    assert [None] == ways
    done = maintenance.maintain(own.database)
    assert (2, {}) == (done.alike, done.effort)
    assert "2 of them serve the same order, drop all but one" in lines(done)[-2]


@pytest.mark.parametrize("large", ["psycopg2"], indirect=True)
def test_what_is_known_of_the_index_may_be_a_second_old(
    large: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection asks again after that."""
    now = [time.monotonic() + 10]
    asked: list[Statement] = []
    queried = blocking._queried

    def noted(cursor: Any, query: Query) -> list[tuple[Any, ...]]:
        asked.append(query.statement)
        return queried(cursor, query)

    monkeypatch.setattr(recent, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(blocking, "_queried", noted)
    for seconds, times in ((0.0, 1), (0.9, 1), (0.2, 2)):
        now[0] += seconds
        search.near(large.database, QUERY)
        assert times == asked.count(searching._FACTS)


def test_without_an_embedding_column_it_says_what_to_do(server: Server) -> None:
    """One line, of the kind that the store's other functions raise."""
    name = server.clone()
    pool = connect(server.url(name), bind=False, pool_size=1)
    try:
        with pool.connection_context():
            pool.execute_sql("ALTER TABLE messages DROP COLUMN IF EXISTS embedding")
            with pytest.raises(
                StoreError, match=r'migrate up", which adds embeddings where pgvector is$'
            ):
                search.near(pool, QUERY, user=NEAR)
    finally:
        pool.close_all()
        server.drop(name)


def test_a_role_that_sees_few_rows_is_told_the_nearest_of_these(
    own: Place, server: Server, ways: list[ByIndex | None]
) -> None:
    """What row-level security leaves the index does not know: all of it is looked at."""
    owner = own.database
    ((comment,),) = owner.execute_sql("SELECT obj_description(%s::regclass)", (_INDEX,)).fetchall()
    # What an index with many lists comes to: few of them hold the nearest of all messages.
    few = commented(None, replace(parsed(comment), effort={10: 1}))  # type: ignore[type-var]
    owner.execute_sql(f"COMMENT ON INDEX {_INDEX} IS %s", (few,))
    with server.role() as role:
        owner.execute_sql(f"GRANT SELECT ON messages, sessions TO {role}")
        owner.execute_sql("ALTER TABLE messages ENABLE ROW LEVEL SECURITY")
        owner.execute_sql(f"CREATE POLICY fifth ON messages TO {role} USING (mod(id, 5) = 0)")
        pool = connect(server.url_as(role, owner.target.dbname), bind=False, pool_size=1)
        try:
            drawn = random.Random(7)
            for _ in range(20):
                query = embedding(drawn, drawn.uniform(-0.5, 0.5))
                wanted = nearest([one for one in own.said if one.id % 5 == 0], query, 10)
                assert [one.id for one in wanted] == [one.id for one in search.near(pool, query)]
                fused = search.hybrid(pool, "nowhere", query, depth=10)
                assert [one.id for one in wanted] == [one.id for one in fused]
            assert None not in ways
        finally:
            pool.close_all()
            owner.execute_sql(f"DROP OWNED BY {role}")
