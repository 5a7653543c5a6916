"""The models with what comes with Peewee: dictionaries, and types for pydantic."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from peewee import IntegerField, Model, TextField
from playhouse.shortcuts import model_to_dict

from foundry.database import Database
from foundry.fields import ArrayField, VectorField
from foundry.schema import ChainAnalysisResult, Message, Protocol, Session, User
from foundry.schema.base import has_column

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


class Place(Model):
    """A model of somebody else's."""

    at = VectorField(3)
    near = VectorField(null=True)
    words = ArrayField(TextField)
    grid = ArrayField(IntegerField, dimensions=2, null=True)


@pytest.fixture
def message(database: Database) -> Message:
    """A message with all it can have."""
    session = Session.create(user=User.create(name="Ada"), type="x")
    vectors = {"embedding": [0.5] * 384} if has_column(database, Message.embedding) else {}
    new = Message.create(session=session, role="user", content="hi", ts=NOON, **vectors)
    found: Message = Message.select().where(Message.id == new.id).get()
    return found


def schema(model: type[Model], **options: Any) -> Any:
    """The pydantic model of a Peewee model."""
    pytest.importorskip("pydantic")
    from playhouse.pydantic_utils import to_pydantic

    return to_pydantic(model, exclude_autofield=False, **options)


def test_a_message_is_a_dictionary(message: Message) -> None:
    """With those that it belongs to."""
    shown = model_to_dict(message)
    assert (NOON, "hi", "Ada") == (
        shown["ts"],
        shown["content"],
        shown["session"]["user"]["name"],
    )
    if message.embedding is not None:
        assert [0.5] * 384 == shown["embedding"]


def test_a_message_passes_through_pydantic(message: Message) -> None:
    """Into JSON and back."""
    kind = schema(Message)
    if message.embedding is None:
        message.embedding = [0.5] * 384
    shown = kind.model_validate(message)
    assert shown == kind.model_validate_json(shown.model_dump_json())
    assert (NOON, [0.5] * 384) == (shown.ts, shown.embedding)


@pytest.mark.parametrize(
    ("model", "values", "place"),
    [
        (Message, {"embedding": [0.5] * 383}, "embedding"),
        (Message, {"embedding": [float("nan")] * 384}, "embedding"),
        (Message, {"embedding": "0.5"}, "embedding"),
        (Message, {"ts": datetime(2026, 1, 1)}, "ts"),
        (Protocol, {"created_at": datetime(2026, 1, 1)}, "created_at"),
        (Place, {"at": [1.0, 2.0]}, "at"),
        (Place, {"words": "word"}, "words"),
        (Place, {"grid": [1, 2]}, "grid"),
    ],
)
def test_pydantic_refuses_what_the_field_would(
    model: type[Model], values: dict[str, Any], place: str
) -> None:
    """By its place: a vector of another length, a time without a zone, a list that is none."""
    from pydantic import ValidationError

    with pytest.raises(ValidationError) as refused:
        schema(model).model_validate(values)
    assert place in {error["loc"][0] for error in refused.value.errors()} - missing(refused.value)


def missing(error: Any) -> set[Any]:
    """The places of which nothing else is said than that they have no value."""
    return {one["loc"][0] for one in error.errors() if one["type"] == "missing"}


def test_lists_are_lists_in_json_schema() -> None:
    """Of what their elements are."""
    found = schema(Place).model_json_schema()["properties"]
    assert {"type": "number"} == found["at"]["items"]
    assert (3, 3) == (found["at"]["minItems"], found["at"]["maxItems"])
    assert "maxItems" not in found["near"]["anyOf"][0]
    assert {"type": "string"} == found["words"]["items"]
    assert {"type": "array", "items": {"type": "integer"}} == found["grid"]["anyOf"][0]["items"]


def test_json_is_any_json() -> None:
    """An array here, an object there."""
    found = schema(ChainAnalysisResult).model_json_schema()["properties"]
    assert [{}, {"type": "null"}] == found["chain_links"]["anyOf"]
