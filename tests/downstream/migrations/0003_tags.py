"""Tags, by frozen copies of the models."""

from peewee import CharField, Check, CompositeKey, ForeignKeyField, Model

down_loses = ("every tag",)


def up(migrator, db):
    class Note(Model):
        class Meta:
            database = db

    class Tag(Model):
        name = CharField(max_length=30, unique=True, constraints=[Check("char_length(name) >= 2")])

        class Meta:
            database = db

    class NoteTag(Model):
        note = ForeignKeyField(Note, on_delete="CASCADE")
        tag = ForeignKeyField(Tag, on_delete="CASCADE")

        class Meta:
            database = db
            table_name = "notetag"
            primary_key = CompositeKey("note", "tag")

    db.create_tables([Tag, NoteTag])


def down(migrator, db):
    migrator.migrate(migrator.drop_table("notetag"), migrator.drop_table("tag"))
