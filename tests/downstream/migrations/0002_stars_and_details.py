"""Two columns, by playhouse's operations."""

from peewee import Check, SmallIntegerField
from playhouse.postgres_ext import BinaryJSONField

down_loses = ("the stars and details of every note",)


def up(migrator, db):
    migrator.migrate(
        migrator.add_column("note", "stars", SmallIntegerField(default=0)),
        migrator.add_column_default("note", "stars", 0),
        migrator.add_constraint("note", "note_stars_check", Check("stars BETWEEN 0 AND 5")),
        migrator.add_column("note", "details", BinaryJSONField(index=False, null=True)),
    )


def down(migrator, db):
    migrator.migrate(
        migrator.drop_column("note", "details"),
        migrator.drop_column("note", "stars"),
    )
