"""The tables."""

import datetime

from peewee import (
    SQL,
    BooleanField,
    CharField,
    Check,
    CompositeKey,
    DatabaseProxy,
    DateTimeField,
    ForeignKeyField,
    Model,
    SmallIntegerField,
    TextField,
)
from pgvector.peewee import VectorField
from playhouse.postgres_ext import BinaryJSONField

db = DatabaseProxy()


class Base(Model):
    """What every table has."""

    class Meta:
        database = db


class Account(Base):
    """Who writes notes."""

    email = CharField(max_length=120, unique=True)
    plan = CharField(max_length=10, choices=[("free", "Free"), ("paid", "Paid")], default="free")
    joined = DateTimeField(default=datetime.datetime.now)


class Note(Base):
    """A note of an account; its titles differ within the account."""

    account = ForeignKeyField(Account, backref="notes", on_delete="CASCADE")
    title = CharField(max_length=80, constraints=[Check("title <> ''")])
    body = TextField(null=True)
    stars = SmallIntegerField(
        default=0,
        constraints=[SQL("DEFAULT 0"), Check("stars BETWEEN 0 AND 5", name="note_stars_check")],
    )
    pinned = BooleanField(default=False)
    details = BinaryJSONField(index=False, null=True)

    class Meta:
        indexes = ((("account", "title"), True),)


class Tag(Base):
    """A word that notes are found by."""

    name = CharField(max_length=30, unique=True, constraints=[Check("char_length(name) >= 2")])


class NoteTag(Base):
    """Which note has which tag."""

    note = ForeignKeyField(Note, backref="tags", on_delete="CASCADE")
    tag = ForeignKeyField(Tag, backref="notes", on_delete="CASCADE")

    class Meta:
        primary_key = CompositeKey("note", "tag")


class NoteVector(Base):
    """Where a note lies among the others; there where the server has pgvector."""

    note = ForeignKeyField(Note, primary_key=True, on_delete="CASCADE")
    place = VectorField(dimensions=3)


MODELS = [Account, Note, Tag, NoteTag, NoteVector]
