"""Accounts and their notes, in SQL; indexes have the names that Peewee gives them."""

down_loses = ("every account and note",)


def up(migrator, db):
    migrator.migrate(
        migrator.sql(
            """
            CREATE TABLE account (
                id serial PRIMARY KEY,
                email varchar(120) NOT NULL,
                plan varchar(10) NOT NULL,
                joined timestamp NOT NULL
            )
            """
        ),
        migrator.sql(
            """
            CREATE TABLE note (
                id serial PRIMARY KEY,
                account_id integer NOT NULL REFERENCES account (id) ON DELETE CASCADE,
                title varchar(80) NOT NULL CHECK (title <> ''),
                body text,
                pinned boolean NOT NULL
            )
            """
        ),
        migrator.sql("CREATE UNIQUE INDEX account_email ON account (email)"),
        migrator.sql("CREATE INDEX note_account_id ON note (account_id)"),
        migrator.sql("CREATE UNIQUE INDEX note_account_id_title ON note (account_id, title)"),
    )


def down(migrator, db):
    migrator.migrate(migrator.sql("DROP TABLE note"), migrator.sql("DROP TABLE account"))
