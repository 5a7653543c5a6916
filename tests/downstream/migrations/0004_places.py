"""Where a note lies among the others; waits on a server that has no pgvector."""

requires = ("extension:vector",)
down_loses = ("the place of every note",)


def up(migrator, db):
    migrator.migrate(
        migrator.sql("CREATE EXTENSION IF NOT EXISTS vector"),
        migrator.sql(
            """
            CREATE TABLE notevector (
                note_id integer PRIMARY KEY REFERENCES note (id) ON DELETE CASCADE,
                place vector(3) NOT NULL
            )
            """
        ),
    )


def down(migrator, db):
    migrator.migrate(migrator.sql("DROP TABLE notevector"))
