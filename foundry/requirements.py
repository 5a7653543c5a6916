"""What a server or an installation may lack, and how to find out.

A requirement is written `kind:name`: `extension:vector` (a PostgreSQL extension),
`external:langgraph` (tables of another package) or `option:jsonb_indexes` (a switch
that the project sets).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from peewee import Database

from foundry.errors import DeclarationError

KINDS = ("extension", "external", "option")

_EXTENSION = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = %(name)s)
    OR EXISTS (
        SELECT FROM pg_catalog.pg_available_extensions AS e
        JOIN pg_catalog.pg_available_extension_versions AS v
          ON v.name = e.name AND v.version = e.default_version
        JOIN pg_catalog.pg_roles AS r ON r.rolname = current_user
        WHERE e.name = %(name)s
          AND (r.rolsuper
               OR ((v.trusted OR NOT v.superuser)
                   AND pg_catalog.has_database_privilege(
                       pg_catalog.current_database(), 'CREATE'))))
"""


def parse(requirement: str) -> tuple[str, str]:
    """Split `kind:name`; DeclarationError when it is neither."""
    kind, _, name = requirement.partition(":")
    if kind not in KINDS or not name:
        raise DeclarationError(
            f'requirement "{requirement}" is not one of extension:NAME, external:NAME, option:NAME'
        )
    return kind, name


def extension_available(database: Database, name: str) -> bool:
    """True when the extension is installed, or is there and this role may create it."""
    row = database.execute_sql(_EXTENSION, {"name": name}).fetchone()
    return bool(row[0])


def missing(
    database: Database,
    requirements: Collection[str],
    *,
    externals: Mapping[str, bool] | None = None,
    options: Collection[str] = (),
) -> tuple[str, ...]:
    """Return those of `requirements` that are not met, in their order.

    `externals` says which external table sets are there, by name; one it does not
    name is not there. `options` are the switches that are on.
    """
    met = externals or {}
    absent = []
    for requirement in requirements:
        kind, name = parse(requirement)
        if kind == "extension":
            there = extension_available(database, name)
        elif kind == "external":
            there = bool(met.get(name))
        else:
            there = name in options
        if not there:
            absent.append(requirement)
    return tuple(absent)
